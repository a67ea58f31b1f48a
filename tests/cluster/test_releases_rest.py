"""Flux rests while a Restore works and goes on as it was before, whatever the end; the whole stack, without Flux."""

import json
from collections.abc import Iterator

import pytest
from support.engine import Engine
from support.flux import HelmReleases, helm_release, helm_releases_known
from support.kube import Kubectl, Operations, backup, restore
from support.world import config_map

from local_cluster.cluster import LocalCluster


@pytest.fixture(scope="module")
def releases(kubectl: Kubectl, cluster: LocalCluster) -> Iterator[HelmReleases]:
    with helm_releases_known(kubectl, cluster):
        yield HelmReleases(kubectl)


@pytest.fixture(scope="module")
def backed_up_too(cluster: LocalCluster, releases: HelmReleases) -> None:
    """Velero takes notice of a new kind every five minutes, and when it starts."""
    cluster.stop("velero")
    cluster.start("velero")


@pytest.fixture
def lost(engine: Engine, kubectl: Kubectl, operations: Operations, namespace: str) -> str:
    """A namespace that was backed up and has lost something since."""
    kubectl.apply(config_map(namespace, "settings"), config_map(namespace, "stays"))
    kubectl.apply(backup(namespace, "nightly"))
    assert operations.await_end(namespace, "nightly")["status"]["phase"] == "Succeeded"
    kubectl("delete", "configmap", "settings", "-n", namespace)
    return namespace


@pytest.mark.parametrize("before", [None, False, True])
def test_after_a_success_a_release_is_as_it_was(
    kubectl: Kubectl, operations: Operations, releases: HelmReleases, lost: str, before: bool | None
) -> None:
    kubectl.apply(helm_release(lost, **({} if before is None else {"suspend": before})))
    kubectl.apply(restore(lost, "nightly"))
    status = operations.await_end(lost, "restore")["status"]
    assert status["phase"] == "Succeeded", status["message"]
    states = {step["name"]: (step["state"], step.get("message", "")) for step in status["steps"]}
    assert states["SuspendReleases"] == ("Succeeded", f"Suspended: {lost}/web.")
    assert states["ResumeReleases"][0] == "Succeeded"
    assert states["SafetyBackup"][0] == "Succeeded", "what stays could have been lost"
    assert releases.suspend(lost) is before
    assert releases.marks(lost) == {}


def test_it_rests_for_as_long_as_a_person_decides_and_no_longer(
    kubectl: Kubectl, operations: Operations, releases: HelmReleases, lost: str
) -> None:
    kubectl.apply(helm_release(lost))
    kubectl.apply(restore(lost, "nightly", parameters={"verify": {"minItems": 1000}}))
    operations.await_path(lost, "restore", "{.status.reason}", "AwaitingDecision")
    assert releases.suspend(lost) is True
    kubectl("annotate", "operation", "restore", "-n", lost, "ops.vworkspace.io/abort=1")
    status = operations.await_end(lost, "restore")["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "AbortedByUser")
    assert releases.suspend(lost) is None
    assert releases.marks(lost) == {}


@pytest.mark.parametrize("then", [None, False, True], ids=lambda then: f"backed-up-{then}")
@pytest.mark.parametrize("exists", [True, False], ids=["over-it", "made-anew"])
def test_one_that_comes_out_of_the_backup_rests_too_until_the_end(
    engine: Engine,
    kubectl: Kubectl,
    operations: Operations,
    releases: HelmReleases,
    backed_up_too: None,
    namespace: str,
    then: bool | None,
    exists: bool,
) -> None:
    """Velero writes over what exists what was backed up, `suspend` and all."""
    backed_up = helm_release(namespace, values={"replicas": 1}, **({} if then is None else {"suspend": then}))
    kubectl.apply(backed_up, config_map(namespace, "settings"), backup(namespace, "nightly"))
    assert operations.await_end(namespace, "nightly")["status"]["phase"] == "Succeeded"
    if exists:
        releases.patch('{"spec":{"suspend":null,"values":{"replicas":2}}}', namespace)
    else:
        kubectl("delete", "helmrelease", "web", "-n", namespace)
    kubectl("delete", "configmap", "settings", "-n", namespace)
    parameters = {"existingResourcePolicy": "update", "verify": {"minItems": 1000}}
    kubectl.apply(restore(namespace, "nightly", parameters=parameters))
    operations.await_path(namespace, "restore", "{.status.reason}", "AwaitingDecision")
    assert releases.get(namespace)["spec"]["values"] == {"replicas": 1}, "it came out of the backup"
    assert releases.suspend(namespace) is True
    kubectl("annotate", "operation", "restore", "-n", namespace, "ops.vworkspace.io/abort=1")
    operations.await_end(namespace, "restore")
    assert releases.suspend(namespace) is (None if exists else then)
    assert releases.marks(namespace) == {}


def test_one_that_was_backed_up_while_an_operation_had_it_suspended_comes_back_as_it_was_before(
    engine: Engine,
    kubectl: Kubectl,
    operations: Operations,
    releases: HelmReleases,
    backed_up_too: None,
    namespace: str,
) -> None:
    """As in each safety backup. The other one has no annotation at all."""
    rested, plain = helm_release(namespace, suspend=True), helm_release(namespace, "plain")
    rested["metadata"]["annotations"] = {
        "ops.vworkspace.io/suspended-by": "another",
        "ops.vworkspace.io/suspend-was": "false",
    }
    for one in (rested, plain):
        kubectl("create", "-f", "-", input=json.dumps(one))
    kubectl.apply(backup(namespace, "nightly"))
    assert operations.await_end(namespace, "nightly")["status"]["phase"] == "Succeeded"
    kubectl("delete", "helmrelease", "web", "plain", "-n", namespace)
    kubectl.apply(restore(namespace, "nightly"))
    status = operations.await_end(namespace, "restore")["status"]
    assert status["phase"] == "Succeeded", status["message"]
    assert (releases.suspend(namespace), releases.suspend(namespace, "plain")) == (False, None)
    assert releases.marks(namespace) == releases.marks(namespace, "plain") == {}

"""Flux rests while a Restore works and goes on as it was before, whatever the end; the whole stack, without Flux."""

from collections.abc import Iterator

import pytest
from support.engine import Engine
from support.flux import HelmReleases, helm_release, helm_releases_known
from support.kube import Kubectl, Operations, backup, restore
from support.world import config_map


@pytest.fixture(scope="module")
def releases(kubectl: Kubectl) -> Iterator[HelmReleases]:
    with helm_releases_known(kubectl):
        yield HelmReleases(kubectl)


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

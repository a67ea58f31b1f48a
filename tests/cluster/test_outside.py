"""Workflows that end without a word: Terminate, a lost history, a lost write. The Operation tells its end all the same.

Each row of the outside reconciler's table, on the real server, with rounds of a second.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support import endings
from support.engine import Engine
from support.flux import HelmReleases, helm_release, helm_releases_known
from support.kube import Kubectl, Operations, backup, restore
from support.temporal import Temporal, workflow_id
from support.world import config_map

from local_cluster.cluster import LocalCluster

Json = dict[str, Any]
UNMEETABLE = {"verify": {"minItems": 1000}}
CONTROLLERS = ("controller", "controller-2")
WITHIN_S = 60


@pytest.fixture(scope="module")
def releases(kubectl: Kubectl, cluster: LocalCluster) -> Iterator[HelmReleases]:
    with helm_releases_known(kubectl, cluster):
        yield HelmReleases(kubectl)


@pytest.fixture(scope="module")
def two_controllers(engine_processes: Engine) -> Iterator[Engine]:
    """Two controllers that look every second, for the module's length."""
    if engine_processes.running("controller"):
        engine_processes.stop("controller")
    yield engine_processes
    for name in CONTROLLERS:
        if engine_processes.running(name):
            engine_processes.stop(name)


@pytest.fixture
def watched(two_controllers: Engine) -> Engine:
    """All of it running, whatever the test before has stopped."""
    two_controllers.start("worker", "worker")
    look(two_controllers)
    return two_controllers


def look(engine: Engine) -> None:
    for name in CONTROLLERS:
        engine.start(name, "controller", VOP_RECONCILE_SECONDS="1")


def look_away(engine: Engine) -> None:
    for name in CONTROLLERS:
        engine.stop(name)


@pytest.fixture
def lost(watched: Engine, kubectl: Kubectl, operations: Operations, namespace: str) -> str:
    """A namespace that was backed up and has lost something since."""
    kubectl.apply(config_map(namespace, "settings"), config_map(namespace, "stays"))
    kubectl.apply(backup(namespace, "nightly"))
    assert operations.await_end(namespace, "nightly")["status"]["phase"] == "Succeeded"
    kubectl("delete", "configmap", "settings", "-n", namespace)
    return namespace


@pytest.fixture
def nobody_works(watched: Engine) -> Engine:
    watched.stop("worker")
    return watched


def told_once(operations: Operations, operation: Json, reason: str) -> Json:
    """The one Event of that reason."""
    meta = operation["metadata"]
    found = [e for e in operations.events(meta["namespace"], meta["uid"]) if e["reason"] == reason]
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize("before", [None, False, True])
def test_a_terminated_restore_is_failed_and_its_release_is_as_it_was(
    kubectl: Kubectl, operations: Operations, temporal: Temporal, releases: HelmReleases, lost: str, before: bool | None
) -> None:
    kubectl.apply(helm_release(lost, **({} if before is None else {"suspend": before})))
    kubectl.apply(restore(lost, "nightly", parameters=UNMEETABLE))
    asked = operations.await_path(lost, "restore", "{.status.reason}", "AwaitingDecision")
    assert releases.suspend(lost) is True
    temporal.terminate(workflow_id(asked), "the shop is sold")

    operation = operations.await_end(lost, "restore", WITHIN_S)
    status = operation["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "AbortedByUser")
    assert "terminated in Temporal" in status["message"]
    assert "the shop is sold" in status["message"]
    assert operation["metadata"]["uid"] in status["message"], "how to find what Velero had begun"
    assert releases.suspend(lost) is before
    assert releases.marks(lost) == {}
    steps = {step["name"]: (step["state"], step.get("message", "")) for step in status["steps"]}
    assert steps["ResumeReleases"] == ("Succeeded", f"As before: {lost}/web.")
    assert not {"Running", "Waiting", "Pending"} & {state for state, _ in steps.values()}
    told_once(operations, operation, "OperationFailed")


def test_terminated_while_velero_works_what_goes_on_is_named(
    watched: Engine, cluster: LocalCluster, kubectl: Kubectl, operations: Operations, temporal: Temporal, app: str
) -> None:
    cluster.stop("velero")
    try:
        kubectl.apply(backup(app))
        operation = operations.await_path(app, "backup", "{.status.engineRef.name}")
        temporal.terminate(workflow_id(operation))
        ended = operations.await_end(app, within_s=WITHIN_S)
    finally:
        cluster.start("velero")
    assert (ended["status"]["phase"], ended["status"]["reason"]) == ("Failed", "AbortedByUser")
    assert ended["status"]["attempts"][0]["outcome"] == "Failed"
    command = ended["status"]["message"].partition("by itself: kubectl ")[2].split()
    assert operation["status"]["engineRef"]["name"] in kubectl(*command).stdout


def test_terminated_before_any_worker_took_it_up(
    nobody_works: Engine, kubectl: Kubectl, operations: Operations, temporal: Temporal, namespace: str
) -> None:
    kubectl.apply(backup(namespace))
    operation = operations.get(namespace)
    temporal.await_start(workflow_id(operation))
    temporal.terminate(workflow_id(operation))
    ended = operations.await_end(namespace, within_s=WITHIN_S)
    assert (ended["status"]["phase"], ended["status"]["reason"]) == ("Failed", "AbortedByUser")
    assert "goes on by itself" not in ended["status"]["message"]


def test_a_history_that_was_deleted_is_told_and_nothing_is_made_anew(
    kubectl: Kubectl, operations: Operations, temporal: Temporal, releases: HelmReleases, lost: str
) -> None:
    kubectl.apply(helm_release(lost))
    kubectl.apply(restore(lost, "nightly", parameters=UNMEETABLE))
    asked = operations.await_path(lost, "restore", "{.status.reason}", "AwaitingDecision")
    temporal.delete(workflow_id(asked))
    operation = operations.await_end(lost, "restore", WITHIN_S)
    # Terminated first and deleted then: which of the two was seen is a matter of moments.
    assert operation["status"]["phase"] == "Failed"
    assert operation["status"]["reason"] in ("HistoryLost", "AbortedByUser")
    assert releases.suspend(lost) is None
    assert releases.marks(lost) == {}
    assert operation["status"]["attempt"] == 1
    told_once(operations, operation, "OperationFailed")


def test_a_history_that_was_lost_while_no_controller_looked(
    watched: Engine, kubectl: Kubectl, operations: Operations, temporal: Temporal, releases: HelmReleases, lost: str
) -> None:
    kubectl.apply(helm_release(lost))
    kubectl.apply(restore(lost, "nightly", parameters=UNMEETABLE))
    asked = operations.await_path(lost, "restore", "{.status.reason}", "AwaitingDecision")
    look_away(watched)
    temporal.delete(workflow_id(asked))
    temporal.await_gone(workflow_id(asked))
    look(watched)
    operation = operations.await_end(lost, "restore", WITHIN_S)
    assert (operation["status"]["phase"], operation["status"]["reason"]) == ("Failed", "HistoryLost")
    assert temporal.run(workflow_id(asked)) is None, "nothing was started in its place"
    assert releases.suspend(lost) is None


@pytest.mark.parametrize(
    ("end", "phase", "reason", "words"),
    [
        (endings.failed("Timeout", "the bucket was too slow"), "Failed", "Timeout", "the bucket was too slow"),
        (endings.failed("KeyError", "a bug"), "Failed", "EngineUnavailable", "a bug"),
        (endings.CANCELLED, "Cancelled", "CancelledByUser", "could not write its end"),
        (None, "Failed", "Timeout", "time-out of its own"),
    ],
    ids=["failed", "failed by a bug", "cancelled", "timed out"],
)
def test_an_end_that_was_not_written_is_written_from_outside(
    nobody_works: Engine,
    cluster: LocalCluster,
    kubectl: Kubectl,
    operations: Operations,
    namespace: str,
    end: Any,
    phase: str,
    reason: str,
    words: str,
) -> None:
    look_away(nobody_works)
    kubectl.apply(backup(namespace))
    id_ = workflow_id(operations.get(namespace))
    endings.run_that_ends(cluster.env(), id_, end, after_s=60 if end else 1)
    look(nobody_works)
    operation = operations.await_end(namespace, within_s=WITHIN_S)
    status = operation["status"]
    assert (status["phase"], status["reason"]) == (phase, reason)
    assert words in status["message"]
    told_once(operations, operation, f"Operation{phase}")


def test_a_result_that_was_lost_is_written_again(
    watched: Engine, kubectl: Kubectl, operations: Operations, temporal: Temporal, app: str
) -> None:
    kubectl.apply(backup(app))
    before = operations.await_end(app)
    temporal.await_end(workflow_id(before))
    look_away(watched)
    lost = {"phase": "Running", "reason": "VeleroBackupInProgress", "finishedAt": None, "outputs": None}
    patch = json.dumps({"status": lost})
    kubectl("patch", "operation", "backup", "-n", app, "--subresource=status", "--type=merge", "-p", patch)
    look(watched)
    again = operations.await_end(app, within_s=WITHIN_S)["status"]
    assert (again["phase"], again["reason"]) == ("Succeeded", "VeleroBackupSucceeded")
    assert again["outputs"] == before["status"]["outputs"]
    assert again["attempts"] == before["status"]["attempts"]


def test_a_reset_that_no_worker_takes_up_yet_is_pointed_to(
    watched: Engine, kubectl: Kubectl, operations: Operations, temporal: Temporal, namespace: str
) -> None:
    wanted = {"labelSelector": {"matchLabels": {"tier": "front"}}}
    kubectl.apply(config_map(namespace, "settings", tier="back"), backup(namespace, parameters=wanted))
    failed = operations.await_end(namespace)
    claim = failed["status"]["workflow"]
    temporal.await_end(claim["id"])
    kubectl("label", "configmap", "settings", "-n", namespace, "tier=front", "--overwrite")
    watched.stop("worker")
    first = temporal.task_that_called("claim_operation", claim["id"])
    run_id = temporal.reset(claim["id"], claim["runId"], first)

    pointed = operations.await_path(namespace, "backup", "{.status.workflow.runId}", run_id, WITHIN_S)["status"]
    assert pointed["phase"] == "Failed", "its next activity opens it again"
    assert run_id in pointed["workflow"]["url"]
    assert pointed["workflow"]["firstRunId"] == claim["firstRunId"]

    watched.start("worker", "worker")
    operations.await_path(namespace, "backup", "{.status.phase}", "Succeeded")
    ended = operations.get(namespace)["status"]
    assert [(a["number"], a["cause"], a["outcome"]) for a in ended["attempts"]] == [
        (1, "Initial", "Failed"),
        (2, "Reset", "Succeeded"),
    ]


def test_after_a_terminate_a_reset_goes_on_with_it(
    watched: Engine, kubectl: Kubectl, operations: Operations, temporal: Temporal, releases: HelmReleases, lost: str
) -> None:
    kubectl.apply(helm_release(lost))
    kubectl.apply(restore(lost, "nightly", parameters={"verify": {"minItems": 1}}, policy={"decisionTimeout": "1h"}))
    done = operations.await_end(lost, "restore")
    assert done["status"]["phase"] == "Succeeded"
    kubectl.apply(restore(lost, "nightly", "again", parameters=UNMEETABLE))
    asked = operations.await_path(lost, "again", "{.status.reason}", "AwaitingDecision")
    claim = asked["status"]["workflow"]
    temporal.terminate(claim["id"])
    operations.await_end(lost, "again", WITHIN_S)
    assert releases.suspend(lost) is None
    to = temporal.task_that_called("find_backup", claim["id"])
    run_id = temporal.reset(claim["id"], claim["runId"], to)
    operations.await_path(lost, "again", "{.status.workflow.runId}", run_id)
    open_again = operations.await_path(lost, "again", "{.status.reason}", "AwaitingDecision")["status"]
    assert open_again["attempt"] == 2
    assert "closed" not in open_again["workflow"]
    assert releases.suspend(lost) is True
    kubectl("annotate", "operation", "again", "-n", lost, "ops.vworkspace.io/abort=2")
    assert operations.await_end(lost, "again")["status"]["reason"] == "AbortedByUser"
    assert releases.suspend(lost) is None


def test_a_release_whose_operation_is_gone_goes_on_again(
    watched: Engine, kubectl: Kubectl, releases: HelmReleases, namespace: str
) -> None:
    left = helm_release(namespace, suspend=True)
    left["metadata"]["annotations"] = {
        "ops.vworkspace.io/suspended-by": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "ops.vworkspace.io/suspend-was": "false",
    }
    kubectl.apply(left)
    kubectl("wait", "helmrelease/web", "-n", namespace, "--for=jsonpath={.spec.suspend}=false", "--timeout=60s")
    assert releases.marks(namespace) == {}


def test_an_operation_deleted_at_work_leaves_no_release_suspended(
    watched: Engine, kubectl: Kubectl, operations: Operations, temporal: Temporal, releases: HelmReleases, lost: str
) -> None:
    kubectl.apply(helm_release(lost))
    kubectl.apply(restore(lost, "nightly", parameters=UNMEETABLE))
    asked = operations.await_path(lost, "restore", "{.status.reason}", "AwaitingDecision")
    kubectl("delete", "operation", "restore", "-n", lost)
    temporal.await_end(workflow_id(asked))
    assert releases.suspend(lost) is None
    assert releases.marks(lost) == {}

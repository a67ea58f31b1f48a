"""Cancel on the whole stack: by spec, in Temporal, by deletion; with parts that are down; and what Velero is told."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.engine import Engine
from support.flux import HelmReleases, helm_release, helm_releases_known
from support.kube import Kubectl, Operations, backup, restore
from support.movers import DATA_UPLOAD, POD_VOLUME_BACKUP, DataMovers
from support.temporal import Temporal, workflow_id
from support.world import VELERO, VeleroBackups, config_map

from local_cluster.cluster import LocalCluster

Json = dict[str, Any]
UNMEETABLE = {"verify": {"minItems": 1000}}


@pytest.fixture(scope="module")
def releases(kubectl: Kubectl, cluster: LocalCluster) -> Iterator[HelmReleases]:
    with helm_releases_known(kubectl, cluster):
        yield HelmReleases(kubectl)


@pytest.fixture
def lost(engine: Engine, kubectl: Kubectl, operations: Operations, namespace: str) -> str:
    """A namespace that was backed up and has lost something since."""
    kubectl.apply(config_map(namespace, "settings"), config_map(namespace, "stays"))
    kubectl.apply(backup(namespace, "nightly"))
    assert operations.await_end(namespace, "nightly")["status"]["phase"] == "Succeeded"
    kubectl("delete", "configmap", "settings", "-n", namespace)
    return namespace


def cancel(kubectl: Kubectl, namespace: str, name: str = "backup") -> None:
    kubectl("patch", "operation", name, "-n", namespace, "--type=merge", "-p", '{"spec":{"cancel":true}}')


def ended_cancelled(operations: Operations, temporal: Temporal, namespace: str, name: str = "backup") -> Json:
    """The Operation, seen as cancelled from every side."""
    operation = operations.await_end(namespace, name)
    status = operation["status"]
    assert (status["phase"], status["reason"]) == ("Cancelled", "CancelledByUser"), status["message"]
    conditions = {c["type"]: c["status"] for c in status["conditions"]}
    assert conditions.items() >= {"Cancelled": "True", "Succeeded": "False", "Failed": "False"}.items()
    assert status["observedGeneration"] == operation["metadata"]["generation"]
    temporal.await_end(workflow_id(operation))
    run = temporal.run(workflow_id(operation))
    assert run is not None
    assert run.status == "Canceled"
    events = operations.events(namespace, operation["metadata"]["uid"])
    assert [e["reason"] for e in events].count("OperationCancelled") == 1
    return operation


def cancel_requests(temporal: Temporal, operation: Json) -> int:
    kinds = [event["eventType"] for event in temporal.events(workflow_id(operation))]
    return kinds.count("EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED")


def test_a_backup_that_completes_while_it_is_drained_stays_and_is_named(
    engine: Engine,
    stopped: Callable[[str], None],
    kubectl: Kubectl,
    operations: Operations,
    temporal: Temporal,
    backups: VeleroBackups,
    app: str,
) -> None:
    stopped("velero")
    kubectl.apply(backup(app))
    operations.await_path(app, "backup", "{.status.step}", "FollowBackup")
    cancel(kubectl, app)
    draining = operations.await_path(app, "backup", "{.status.steps[?(@.name=='FollowBackup')].state}", "Skipped")
    assert "Cancel was asked for" in draining["status"]["message"]
    name = draining["status"]["outputs"]["backupName"]
    backups.say(name, phase="Completed")
    operation = ended_cancelled(operations, temporal, app)
    assert operation["status"]["outputs"]["backupName"] == name
    assert f"{name} is Completed, was not checked, and stays" in operation["status"]["message"]
    assert backups.get(name)["status"]["phase"] == "Completed"
    assert operation["status"]["attempts"][0]["outcome"] == "Cancelled"
    assert cancel_requests(temporal, operation) == 1


@pytest.mark.parametrize("before", [None, False, True])
def test_a_restore_that_velero_has_not_begun_is_withdrawn_and_flux_goes_on_as_before(
    cluster: LocalCluster,
    kubectl: Kubectl,
    operations: Operations,
    temporal: Temporal,
    releases: HelmReleases,
    lost: str,
    before: bool | None,
) -> None:
    kubectl.apply(helm_release(lost, **({} if before is None else {"suspend": before})))
    cluster.stop("velero")
    try:
        kubectl.apply(restore(lost, "nightly", "held", parameters={"safetyBackup": False}))
        held = operations.await_path(lost, "held", "{.status.step}", "FollowRestore")
        assert releases.suspend(lost) is True
        temporal.cancel(workflow_id(held))
        operation = ended_cancelled(operations, temporal, lost, "held")
    finally:
        cluster.start("velero")
    name = held["status"]["engineRef"]["name"]
    assert f"{name} had not begun and was deleted" in operation["status"]["message"]
    assert name not in kubectl("get", "restores.velero.io", "-n", VELERO, "-o", "name").stdout
    assert releases.suspend(lost) is before
    assert releases.marks(lost) == {}


@pytest.mark.parametrize("how", ["spec", "temporal"])
def test_awaiting_a_decision_it_ends_at_once_and_tells_what_is_left(
    kubectl: Kubectl, operations: Operations, temporal: Temporal, releases: HelmReleases, lost: str, how: str
) -> None:
    kubectl.apply(helm_release(lost, suspend=False))
    kubectl.apply(restore(lost, "nightly", parameters=UNMEETABLE))
    asked = operations.await_path(lost, "restore", "{.status.reason}", "AwaitingDecision")
    if how == "spec":
        cancel(kubectl, lost, "restore")
    else:
        temporal.cancel(workflow_id(asked))
    status = ended_cancelled(operations, temporal, lost, "restore")["status"]
    name = asked["status"]["engineRef"]["name"]
    assert f"velero.io/restore-name={name}" in status["message"]
    assert status["attempts"][0]["outcome"] == "Failed", "the attempt had failed before anybody cancelled"
    assert releases.suspend(lost) is False
    assert releases.marks(lost) == {}


def test_cancelled_from_the_start_nothing_is_made(
    engine: Engine, kubectl: Kubectl, operations: Operations, temporal: Temporal, backups: VeleroBackups, app: str
) -> None:
    kubectl.apply(backup(app, cancel=True))
    operation = ended_cancelled(operations, temporal, app)
    assert operation["status"]["message"] == "Cancelled before anything was done."
    assert backups.of(operation) == []


def test_a_cancel_is_not_lost_though_worker_and_controller_are_down(
    engine: Engine, kubectl: Kubectl, operations: Operations, temporal: Temporal, app: str
) -> None:
    kubectl.apply(backup(app, parameters={"storageLocation": "nowhere"}, approvals={"required": True}))
    operations.await_path(app, "backup", "{.status.reason}", "AwaitingApproval")
    engine.kill("worker")
    engine.kill("controller")
    cancel(kubectl, app)
    engine.start("controller", "controller")
    id_ = workflow_id(operations.get(app))
    temporal.await_event(id_, "EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED")
    engine.kill("controller")
    engine.start("controller", "controller")
    engine.start("worker", "worker")
    operation = ended_cancelled(operations, temporal, app)
    assert cancel_requests(temporal, operation) == 1


def test_a_cancel_that_temporal_could_not_hear_is_repeated(
    engine: Engine,
    cluster: LocalCluster,
    stopped: Callable[[str], None],
    kubectl: Kubectl,
    operations: Operations,
    temporal: Temporal,
    app: str,
) -> None:
    kubectl.apply(backup(app, approvals={"required": True}))
    operations.await_path(app, "backup", "{.status.reason}", "AwaitingApproval")
    stopped("temporal")
    cancel(kubectl, app)
    cluster.start("temporal")
    ended_cancelled(operations, temporal, app)


@pytest.mark.parametrize("kind", [POD_VOLUME_BACKUP, DATA_UPLOAD])
def test_movers_at_work_are_told_to_stop_and_velero_is_waited_for(
    engine: Engine,
    stopped: Callable[[str], None],
    kubectl: Kubectl,
    operations: Operations,
    temporal: Temporal,
    backups: VeleroBackups,
    app: str,
    kind: str,
) -> None:
    stopped("velero")
    movers = DataMovers(kubectl)
    kubectl.apply(backup(app))
    name = operations.await_path(app, "backup", "{.status.engineRef.name}")["status"]["engineRef"]["name"]
    backups.say(name, phase="InProgress")
    moving = movers.make(kind, f"{name}-a", backups.get(name))
    done = movers.make(kind, f"{name}-b", backups.get(name))
    try:
        movers.say(moving, "InProgress", 1, 2)
        movers.say(done, "Completed", 2, 2)
        cancel(kubectl, app)
        kubectl("wait", moving, "-n", VELERO, "--for=jsonpath={.spec.cancel}=true", "--timeout=60s")
        assert operations.get(app)["status"]["phase"] == "Running", "Velero is not done yet"
        backups.say(name, phase="PartiallyFailed", errors=1)
        operation = ended_cancelled(operations, temporal, app)
        assert f"{name} is PartiallyFailed" in operation["status"]["message"]
        assert "cancel" not in kubectl.json("get", done, "-n", VELERO)["spec"], "it had ended"
    finally:
        movers.delete(moving)
        movers.delete(done)


def test_of_a_deleted_operation_velero_is_told_to_stop(
    engine: Engine,
    stopped: Callable[[str], None],
    kubectl: Kubectl,
    operations: Operations,
    temporal: Temporal,
    backups: VeleroBackups,
    app: str,
) -> None:
    stopped("velero")
    movers = DataMovers(kubectl)
    kubectl.apply(backup(app))
    operation = operations.await_path(app, "backup", "{.status.engineRef.name}")
    name = operation["status"]["engineRef"]["name"]
    backups.say(name, phase="InProgress")
    moving = movers.make(POD_VOLUME_BACKUP, f"{name}-a", backups.get(name))
    try:
        movers.say(moving, "InProgress", 1, 2)
        kubectl("delete", "operation", "backup", "-n", app, "--timeout=30s")
        kubectl("wait", moving, "-n", VELERO, "--for=jsonpath={.spec.cancel}=true", "--timeout=90s")
        backups.say(name, phase="PartiallyFailed", errors=1)
        temporal.await_end(workflow_id(operation))
        run = temporal.run(workflow_id(operation))
        assert run is not None
        assert run.status in ("Canceled", "Failed"), "as it was told first: by the controller, or at its own next write"
        assert backups.get(name)["status"]["phase"] == "PartiallyFailed", "a backup is never deleted with its Operation"
    finally:
        movers.delete(moving)


def test_a_cancel_that_comes_after_the_end_is_refused_and_changes_nothing(
    engine: Engine, kubectl: Kubectl, operations: Operations, temporal: Temporal, app: str
) -> None:
    kubectl.apply(backup(app))
    before = operations.await_end(app)
    temporal.await_end(workflow_id(before))
    patch = '{"spec":{"cancel":true}}'
    done = kubectl("patch", "operation", "backup", "-n", app, "--type=merge", "-p", patch, check=False)
    assert done.returncode != 0, "the spec of what has ended cannot change"
    assert operations.get(app)["status"] == before["status"]

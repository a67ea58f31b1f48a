"""Reset and "Start Workflow Like This One" of the Temporal UI: what they may change, and what they never do."""

from typing import Any

import pytest
from support.engine import Engine
from support.history import History, conditions
from support.kube import Kubectl, Operations, backup
from support.temporal import Temporal, workflow_id
from support.world import VeleroBackups, config_map, taken_up

from local_cluster.cluster import LocalCluster

NOT_YET = {"labelSelector": {"matchLabels": {"tier": "front"}}}


def fenced(temporal: Temporal, id_: str, run_id: str) -> bool:
    failure = temporal.failure(id_, run_id)
    return failure is not None and failure.type == "Fenced"


def unchanged(operations: Operations, before: dict[str, Any]) -> bool:
    meta = before["metadata"]
    after = operations.get(meta["namespace"], meta["name"])
    # The claim apart: seeing a Reset's run that is open for a moment, the controller points to it.
    return {**after["status"], "workflow": {}} == {**before["status"], "workflow": {}}


@pytest.fixture(scope="module")
def succeeded(
    running_engine: Engine, kubectl: Kubectl, operations: Operations, temporal: Temporal, shared_namespace: str
) -> dict[str, Any]:
    kubectl.apply(config_map(shared_namespace, "settings"), backup(shared_namespace))
    operation = operations.await_end(shared_namespace)
    assert operation["status"]["phase"] == "Succeeded"
    temporal.await_end(workflow_id(operation))
    return operation


@pytest.fixture
def failed(
    engine: Engine, kubectl: Kubectl, operations: Operations, temporal: Temporal, namespace: str
) -> dict[str, Any]:
    """A backup that found nothing; what it looks for is there by now."""
    kubectl.apply(config_map(namespace, "settings", tier="back"), backup(namespace, parameters=NOT_YET))
    operation = operations.await_end(namespace)
    assert operation["status"]["reason"] == "VerificationFailed"
    temporal.await_end(workflow_id(operation))
    kubectl("label", "configmap", "settings", "-n", namespace, "tier=front", "--overwrite")
    return operation


def test_start_like_this_one_under_another_id_changes_nothing(
    engine: Engine, succeeded: dict[str, Any], operations: Operations, temporal: Temporal
) -> None:
    other = workflow_id(succeeded) + "-again"
    assert fenced(temporal, other, temporal.start_like(succeeded, other))
    assert unchanged(operations, succeeded)


def test_start_like_this_one_under_the_same_id_changes_nothing(
    engine: Engine, succeeded: dict[str, Any], failed: dict[str, Any], operations: Operations, temporal: Temporal
) -> None:
    for operation in (succeeded, failed):
        id_ = workflow_id(operation)
        assert fenced(temporal, id_, temporal.start_like(operation, id_))
        assert unchanged(operations, operation)


@pytest.mark.parametrize("activity", ["claim_operation", "create_backup", "verify_backup"])
def test_a_reset_of_a_success_changes_nothing(
    engine: Engine,
    succeeded: dict[str, Any],
    operations: Operations,
    temporal: Temporal,
    backups: VeleroBackups,
    activity: str,
) -> None:
    claim = succeeded["status"]["workflow"]
    to = temporal.task_that_called(activity, claim["id"], claim["runId"])
    assert fenced(temporal, claim["id"], temporal.reset(claim["id"], claim["runId"], to))
    assert unchanged(operations, succeeded)
    assert len(backups.of(succeeded)) == 1


def test_a_reset_of_a_failure_to_its_last_moment_changes_nothing(
    engine: Engine, failed: dict[str, Any], operations: Operations, temporal: Temporal
) -> None:
    claim = failed["status"]["workflow"]
    run_id = temporal.reset(claim["id"], claim["runId"], temporal.task_ends(claim["id"])[-1])
    failure = temporal.failure(claim["id"], run_id)
    assert failure is not None
    assert failure.type == "VerificationFailed"
    assert unchanged(operations, failed)


@pytest.mark.parametrize("activity", ["claim_operation", "admit_operation", "check_storage_location", "create_backup"])
def test_a_reset_of_a_failure_opens_the_operation_again_and_tries_anew(
    engine: Engine,
    failed: dict[str, Any],
    kubectl: Kubectl,
    operations: Operations,
    temporal: Temporal,
    backups: VeleroBackups,
    activity: str,
) -> None:
    namespace, claim = failed["metadata"]["namespace"], failed["status"]["workflow"]
    history = History(kubectl, namespace)
    run_id = temporal.reset(
        claim["id"], claim["runId"], temporal.task_that_called(activity, claim["id"], claim["runId"])
    )
    operations.await_path(namespace, "backup", "{.status.phase}", "Succeeded")

    opened = next(status for status in history.statuses("backup") if "finishedAt" not in status)
    assert opened["phase"] in ("Pending", "Running")
    assert "finishedAt" not in opened
    found = conditions(opened)
    assert found.items() >= {"Failed": "False", "Succeeded": "Unknown", "Reconciling": "True"}.items()
    assert "Stalled" not in found
    assert opened["workflow"]["runId"] == run_id
    assert opened["workflow"]["firstRunId"] == claim["firstRunId"]
    assert opened["seq"] > failed["status"]["seq"]
    assert (opened["attempts"][0]["outcome"], opened["attempts"][0]["reason"]) == ("Failed", "VerificationFailed")

    ended = operations.get(namespace)
    status = ended["status"]
    told = [(a["number"], a["cause"], a["outcome"], a["runId"]) for a in status["attempts"]]
    assert told == [(1, "Initial", "Failed", claim["runId"]), (2, "Reset", "Succeeded", run_id)]
    assert len(backups.of(ended)) == 2
    assert conditions(status).items() >= {"Succeeded": "True", "Verified": "True", "Failed": "False"}.items()
    temporal.await_end(claim["id"], run_id)
    events = operations.events(namespace, ended["metadata"]["uid"])
    numbers = [int(event["metadata"]["name"].rpartition(".")[2]) for event in events]
    assert len(numbers) == len(set(numbers))
    assert max(numbers) <= status["seq"]


def test_a_reset_of_a_run_at_work_goes_on_with_the_same_velero_backup(
    engine: Engine,
    cluster: LocalCluster,
    kubectl: Kubectl,
    operations: Operations,
    temporal: Temporal,
    backups: VeleroBackups,
    app: str,
) -> None:
    cluster.stop("velero")
    try:
        kubectl.apply(backup(app))
        claim = operations.await_path(app, "backup", "{.status.engineRef.name}")["status"]["workflow"]
        to = temporal.task_that_called("follow_backup", claim["id"])
        run_id = temporal.reset(claim["id"], claim["runId"], to)
        operations.await_path(app, "backup", "{.status.workflow.runId}", run_id)
    finally:
        cluster.start("velero")
    ended = operations.await_end(app)
    assert ended["status"]["phase"] == "Succeeded", ended["status"]["message"]
    assert len(taken_up(ended)) == 1
    assert backups.names(ended) == sorted(attempt["veleroName"] for attempt in ended["status"]["attempts"])
    old = temporal.run(claim["id"], claim["runId"])
    assert old is not None
    assert old.status == "Terminated"

"""An Operation is parsed leniently and written as Kubernetes names it."""

from typing import Any

import pytest
from pydantic import ValidationError

from operation_engine.domain.resources.application_instance import ApplicationInstance
from operation_engine.domain.resources.cluster import Cluster, ClusterPhase
from operation_engine.domain.resources.conditions import ConditionStatus
from operation_engine.domain.resources.operation import Operation
from operation_engine.domain.resources.operation_spec import Engine, OperationSpec, OperationType
from operation_engine.domain.resources.operation_status import (
    REASONS,
    AttemptCause,
    OperationStatus,
    Phase,
    Reason,
    StepState,
)

TARGET = {"apiVersion": "v1", "kind": "Namespace", "name": "shop"}


def live(**parts: Any) -> dict[str, Any]:
    """A manifest as the API server hands it out."""
    return {
        "apiVersion": "ops.vworkspace.io/v1alpha1",
        "kind": "Operation",
        "metadata": {"name": "backup-shop", "namespace": "shop", "uid": "u1", "generation": 1},
        "spec": {"targetRef": TARGET, "type": "Backup"},
    } | parts


def test_an_operation_nobody_has_looked_at_is_pending_and_unobserved() -> None:
    status = Operation.from_api(live()).status
    assert (status.phase, status.observed_generation, status.workflow) == (Phase.PENDING, -1, None)


def test_keys_of_a_newer_version_are_passed_over() -> None:
    operation = Operation.from_api(live(status={"phase": "Running", "forecast": {"sunny": True}}, extra=1))
    assert operation.status.phase is Phase.RUNNING


def test_values_of_a_newer_version_in_a_status_are_read_as_still_at_work() -> None:
    status = OperationStatus.from_api(
        {
            "phase": "Paused",
            "steps": [{"name": "create", "state": "Hibernating"}],
            "attempts": [{"number": 1, "cause": "Moon"}],
            "conditions": [
                {"type": "Sunny", "status": "Maybe", "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "Weather"}
            ],
        }
    )
    assert status.phase is Phase.RUNNING
    assert not status.phase.terminal
    assert status.steps[0].state is StepState.RUNNING
    assert status.attempts[0].cause is AttemptCause.AUTOMATIC
    assert (status.conditions[0].type, status.conditions[0].status) == ("Sunny", ConditionStatus.UNKNOWN)


def test_null_is_read_as_absent() -> None:
    manifest = live(status=None)
    manifest["metadata"]["labels"] = None
    manifest["spec"] |= {"policy": None, "parameters": None, "approvals": None, "cancel": None}
    operation = Operation.from_api(manifest)
    assert operation.metadata.labels == {}
    assert (operation.spec.cancel, operation.spec.policy.timeout) == (False, None)


def test_null_stays_null_in_a_values_patch_where_it_removes_a_value() -> None:
    patch = {"ingress": None, "web": {"replicas": None}}
    spec = OperationSpec.from_api({"targetRef": TARGET, "type": "Upgrade", "parameters": {"valuesPatch": patch}})
    assert spec.parameters.values_patch == patch
    assert spec.to_api()["parameters"]["valuesPatch"] == patch


def test_python_names_of_fields_mean_nothing_in_a_manifest() -> None:
    spec = OperationSpec.from_api({"targetRef": TARGET, "type": "Backup", "parameters": {"storage_location": "x"}})
    assert spec.parameters.storage_location is None


def test_an_operation_survives_a_trip_through_the_api_server() -> None:
    manifest = live(
        status={
            "observedGeneration": 1,
            "phase": "Running",
            "reason": "AwaitingDecision",
            "workflow": {"id": "operation/shop/backup-shop/u1", "runId": "r1", "firstRunId": "r1", "specDigest": "d"},
            "steps": [{"name": "create", "state": "Succeeded", "startedAt": "2026-01-01T00:00:00.250Z"}],
            "progress": {"percent": 40, "itemsDone": 4, "itemsTotal": 10},
            "decision": {"attempt": 1, "by": "anna", "at": "2026-01-01T00:00:00.000Z", "verb": "retry"},
        }
    )
    operation = Operation.from_api(manifest)
    assert Operation.from_api(operation.to_api()) == operation
    assert Operation.model_validate_json(operation.model_dump_json()) == operation
    assert operation.to_api()["status"]["steps"] == manifest["status"]["steps"]


def test_nothing_that_is_absent_is_written() -> None:
    written = OperationStatus(phase=Phase.RUNNING).to_api()
    assert "reason" not in written
    assert None not in written.values()


@pytest.mark.parametrize(
    ("phase", "terminal"),
    [("Pending", False), ("Running", False), ("Succeeded", True), ("Failed", True), ("Cancelled", True)],
)
def test_a_phase_knows_whether_it_is_an_end(phase: str, terminal: bool) -> None:
    assert Phase(phase).terminal is terminal


@pytest.mark.parametrize(
    ("operation_type", "named", "expected"),
    [
        ("Backup", None, Engine.VELERO),
        ("Restore", None, Engine.VELERO),
        ("Upgrade", None, Engine.HELM),
        ("Upgrade", "job", Engine.JOB),
        ("Runbook", None, None),
    ],
)
def test_an_engine_that_is_not_named_follows_from_the_type(
    operation_type: str, named: str | None, expected: Engine | None
) -> None:
    spec = OperationSpec.from_api({"targetRef": TARGET, "type": operation_type, "engine": named})
    assert spec.effective_engine == expected
    assert ("engine" in spec.to_api()) is (named is not None)


def test_every_reason_is_documented_in_one_sentence() -> None:
    assert set(REASONS) == set(Reason)
    for reason, sentence in REASONS.items():
        assert str(reason).isidentifier(), reason
        assert sentence.endswith("."), reason


def test_a_value_is_never_changed_in_place() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Operation.from_api(live()).spec.type = OperationType.RESTORE  # type: ignore[misc]


@pytest.mark.parametrize("key", ["controlPlaneEndpoint", "controlPlaneBaseUrl", "odooBaseUrl"])
def test_a_cluster_finds_odoo_under_each_of_its_three_names(key: str) -> None:
    cluster = Cluster.from_api({"metadata": {"name": "here"}, "spec": {key: "https://workspace.example.org"}})
    assert cluster.spec.endpoint == "https://workspace.example.org"


def test_a_cluster_parses_and_writes_its_counts_as_the_api_names_them() -> None:
    status = {"phase": "Asleep", "operations": {"running": 1, "failed24h": 2}}
    cluster = Cluster.from_api({"metadata": {"name": "here"}, "spec": {}, "status": status})
    assert cluster.status.phase is ClusterPhase.PENDING
    assert cluster.to_api()["status"]["operations"] == {"running": 1, "failed24h": 2}


def test_a_placeholder_application_needs_neither_chart_nor_release() -> None:
    instance = ApplicationInstance.from_api(
        {"metadata": {"name": "shop"}, "spec": {"appRef": {"catalogId": "shop"}, "mode": "placeholder"}}
    )
    assert (instance.spec.chart, instance.spec.release) == (None, None)

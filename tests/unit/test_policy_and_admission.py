"""Whether an Operation may run, and how patient it is."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import operation

from operation_engine.domain.admission import Answer, Facts, admit
from operation_engine.domain.policy import clocks_of
from operation_engine.domain.resources.reasons import Reason

MANAGED = {"app.vworkspace.io/managed-by": "vworkspace"}
SERVED = Facts(namespace_labels=MANAGED)
HOURS = {"Backup": (4, 72, 0), "Restore": (4, 72, 72), "Upgrade": (1, 72, 72)}


@pytest.mark.parametrize("type_", HOURS)
def test_the_clocks_of_each_type(type_: str) -> None:
    clocks = clocks_of(operation(type=type_).spec)
    found = (clocks.timeout, clocks.wait_timeout, clocks.decision_timeout)
    assert found == tuple(timedelta(hours=hours) for hours in HOURS[type_])


def test_the_policy_s_own_clocks_come_first() -> None:
    clocks = clocks_of(operation(policy={"timeout": "1h30m", "waitTimeout": "2d", "decisionTimeout": "5m"}).spec)
    assert clocks.timeout == timedelta(hours=1, minutes=30)
    assert (clocks.wait_timeout, clocks.decision_timeout) == (timedelta(days=2), timedelta(minutes=5))


def test_zero_means_zero_and_not_the_default() -> None:
    assert clocks_of(operation(type="Restore", policy={"decisionTimeout": "0s"}).spec).decision_timeout == timedelta(0)


FINE: list[dict[str, Any]] = [
    {},
    {"engine": "velero"},
    {"policy": {"decisionTimeout": "0s", "timeout": "1s", "partialFailure": "Accept", "requireReady": False}},
    {"parameters": {"retention": "30d", "snapshotClassName": "fast"}},
    {"approvals": {"required": False, "approvedBy": "ann"}},
    {"approvals": {"required": True}},
    {"policy": {"dryRun": True}},
]


@pytest.mark.parametrize("spec", FINE)
def test_what_is_in_order_may_run(spec: dict[str, Any]) -> None:
    assert admit(operation(**spec), SERVED).answer == Answer.PASS


WRONG: list[tuple[dict[str, Any], Reason, str]] = [
    ({"type": "Upgrade"}, Reason.UNSUPPORTED_OPERATION, "spec.type Upgrade is not built yet"),
    ({"engine": "helm"}, Reason.UNSUPPORTED_OPERATION, "set it to velero"),
    ({"policy": {"requireReady": True}}, Reason.UNSUPPORTED_OPERATION, "spec.policy.requireReady"),
    ({"policy": {"ttlAfterFinished": "30d"}}, Reason.UNSUPPORTED_OPERATION, "spec.policy.ttlAfterFinished"),
    ({"policy": {"waitTimeout": "3 weeks"}}, Reason.VALIDATION_FAILED, "spec.policy.waitTimeout"),
    ({"policy": {"decisionTimeout": "soon"}}, Reason.VALIDATION_FAILED, "spec.policy.decisionTimeout"),
    ({"policy": {"timeout": "0s"}}, Reason.VALIDATION_FAILED, "above zero"),
    ({"parameters": {"retention": "0"}}, Reason.VALIDATION_FAILED, "spec.parameters.retention is 0"),
    ({"parameters": {"itemOperationTimeout": "x"}}, Reason.VALIDATION_FAILED, "spec.parameters.itemOperationTimeout"),
    ({"parameters": {"snapshotVolume": True}}, Reason.VALIDATION_FAILED, "did you mean snapshotVolumes?"),
    ({"parameters": {"zzz": 1}}, Reason.VALIDATION_FAILED, "is not a parameter of a Backup."),
]


@pytest.mark.parametrize(("spec", "reason", "says"), WRONG)
def test_what_is_wrong_is_refused_by_name(spec: dict[str, Any], reason: Reason, says: str) -> None:
    gate = admit(operation(**spec), SERVED)
    assert (gate.answer, gate.reason) == (Answer.REFUSE, reason)
    assert says in gate.message


def test_a_copy_that_velero_brought_back_is_refused_before_anything_else() -> None:
    copy = operation(labels={"velero.io/restore-name": "r"}, type="Runbook", policy={"timeout": "x"})
    assert admit(copy, Facts()).reason == Reason.RESTORED_COPY


@pytest.mark.parametrize(
    ("labels", "required", "answer"),
    [
        (MANAGED, True, Answer.PASS),
        ({"managed-by": "vworkspace"}, True, Answer.PASS),
        ({"managed-by": "somebody"}, True, Answer.REFUSE),
        ({}, True, Answer.REFUSE),
        ({}, False, Answer.PASS),
    ],
)
def test_only_namespaces_that_are_given_to_the_engine_are_served(
    labels: dict[str, str], required: bool, answer: Answer
) -> None:
    facts = Facts(namespace_labels=labels, require_managed_namespace=required)
    assert admit(operation(), facts).answer == answer


TARGET = {"apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance", "name": "web"}


def test_a_target_that_is_not_there_is_waited_for() -> None:
    gate = admit(operation(targetRef=TARGET), SERVED.model_copy(update={"target_found": False}))
    assert (gate.answer, gate.reason) == (Answer.WAIT, Reason.TARGET_NOT_FOUND)


@pytest.mark.parametrize(("releases_into", "answer"), [(None, "pass"), ("", "pass"), ("shop", "pass"), ("x", "refuse")])
def test_an_application_is_reached_only_in_its_operation_s_own_namespace(releases_into: str, answer: str) -> None:
    facts = SERVED.model_copy(update={"target_release_namespace": releases_into})
    assert admit(operation(targetRef=TARGET), facts).answer == answer


@given(st.sampled_from(["Namespace", "ApplicationInstance", "Deployment", "Secret"]), st.sampled_from(["shop", "till"]))
def test_no_operation_reaches_another_namespace(kind: str, name: str) -> None:
    version = "apps.vworkspace.io/v1alpha1" if kind == "ApplicationInstance" else "v1"
    target = {"apiVersion": version, "kind": kind, "name": name}
    passes = admit(operation(targetRef=target), SERVED).answer == Answer.PASS
    assert passes == (kind == "ApplicationInstance" or (kind, name) == ("Namespace", "shop"))


@pytest.mark.parametrize(
    ("version", "kind"), [("apps/v1", "Namespace"), ("v1", "ApplicationInstance"), ("apps/v1", "ApplicationInstance")]
)
def test_a_target_of_another_api_group_is_refused_by_the_field(version: str, kind: str) -> None:
    gate = admit(operation(targetRef={"apiVersion": version, "kind": kind, "name": "shop"}), SERVED)
    assert (gate.answer, gate.reason) == (Answer.REFUSE, Reason.VALIDATION_FAILED)
    assert "spec.targetRef.apiVersion" in gate.message

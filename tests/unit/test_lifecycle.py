"""The states of an Operation as `kubectl wait`, Flux, Helm and Argo CD read them."""

import json
import unicodedata
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.values import NOW, REF, conditions_of, later

from operation_engine.domain import attempts, lifecycle, steps
from operation_engine.domain.artefacts import bounded_warnings
from operation_engine.domain.lifecycle import Life, both_ends, bounded, enter
from operation_engine.domain.resources.conditions import ConditionType
from operation_engine.domain.resources.operation_status import (
    AttemptCause,
    OperationStatus,
    Outputs,
    StepState,
    WorkflowClaim,
)
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.steps import BackupStep

C = ConditionType
COLUMNS = (C.BLOCKED, C.RUNNING, C.SUCCEEDED, C.FAILED, C.CANCELLED, C.READY, C.RECONCILING, C.STALLED)
# The table of the API, row for row; "-" = absent.
TABLE = {
    Life.CLAIMED: "False False Unknown False False Unknown True -",
    Life.WAITING: "True False Unknown False False False True -",
    Life.RUNNING: "False True Unknown False False Unknown True -",
    Life.DECIDING: "True True Unknown False False False True -",
    Life.SUCCEEDED: "False False True False False True - -",
    Life.FAILED: "False False False True False False - True",
    Life.CANCELLED: "False False False False True False - True",
}
ENDS = (Life.SUCCEEDED, Life.FAILED, Life.CANCELLED)


def at(life: Life, before: OperationStatus | None = None) -> OperationStatus:
    accepted = lifecycle.accept(before or OperationStatus(), "in order", NOW)
    return enter(accepted, life, Reason.VALIDATION_FAILED, "because", NOW)


@pytest.mark.parametrize(("before", "life"), list(product([None, *Life], Life)))
def test_conditions_are_those_of_the_table_from_wherever_an_operation_comes(before: Life | None, life: Life) -> None:
    found = conditions_of(at(life, at(before) if before else None))
    row = [found.get(column, "-") for column in COLUMNS]
    assert row == TABLE[life].split()


def test_it_is_accepted_for_good_once_it_passed_admission_and_never_when_it_was_refused() -> None:
    for life in (Life.WAITING, Life.RUNNING, *ENDS):
        assert conditions_of(at(life))["Accepted"] == "True"
    refused = lifecycle.refuse(OperationStatus(), Reason.CONSENT_MISSING, "no consent", NOW)
    assert conditions_of(refused) | {"Accepted": "False", "Failed": "True"} == conditions_of(refused)
    assert conditions_of(enter(OperationStatus(), Life.CLAIMED, Reason.PENDING, "", NOW))["Accepted"] == "Unknown"


@pytest.mark.parametrize("life", Life)
def test_every_condition_carries_a_reason_that_the_api_server_takes(life: Life) -> None:
    for condition in at(life).conditions:
        assert condition.reason.isalnum(), condition
        assert condition.last_transition_time == NOW


@pytest.mark.parametrize("life", ENDS)
def test_every_end_has_a_time_and_every_beginning_keeps_its_own(life: Life) -> None:
    ended = enter(at(Life.RUNNING), life, Reason.TIMEOUT, "", later(60))
    assert (ended.started_at, ended.finished_at) == (NOW, later(60))
    assert ended.phase.terminal


def test_an_operation_that_is_reopened_has_no_end_any_more() -> None:
    reopened = enter(at(Life.FAILED), Life.CLAIMED, Reason.PENDING, "", later(60))
    assert reopened.finished_at is None
    assert "Stalled" not in conditions_of(reopened)
    assert conditions_of(reopened)["Failed"] == "False"


def test_a_condition_s_transition_time_moves_only_when_its_status_does() -> None:
    once = lifecycle.find_condition(at(Life.RUNNING), C.RUNNING)
    again = enter(at(Life.RUNNING), Life.RUNNING, Reason.TIMEOUT, "still", later(60))
    assert once is not None
    moved = {c.type: c.last_transition_time for c in enter(again, Life.FAILED, "Timeout", "", later(90)).conditions}
    found = lifecycle.find_condition(again, C.RUNNING)
    assert found is not None
    assert found.last_transition_time == once.last_transition_time
    assert (moved["Failed"], moved["Running"], moved["Cancelled"]) == (later(90), later(90), NOW)


def test_conditions_speak_of_the_generation_that_was_observed() -> None:
    observed = lifecycle.observe_generation(at(Life.RUNNING), 7)
    assert observed.observed_generation == 7
    assert {c.observed_generation for c in observed.conditions} == {7}


@given(st.text(max_size=3000), st.integers(min_value=3, max_value=1024))
def test_a_bounded_text_never_has_more_bytes_and_is_a_beginning(text: str, limit: int) -> None:
    cut = bounded(text, limit)
    assert len(cut.encode()) <= limit
    assert bounded(text, 10_000).startswith(cut.removesuffix("…"))
    assert bounded(text, 10_000) == "".join(" " if is_control(c) else c for c in text)


@given(st.text(), st.integers(16, 300))
def test_a_text_with_both_ends_never_has_more_bytes_and_loses_only_its_middle(text: str, limit: int) -> None:
    cut, whole = both_ends(text, limit), both_ends(text, 10_000)
    assert len(cut.encode()) <= limit
    head, _, tail = cut.rpartition(" … ")
    assert whole == cut or (whole.startswith(head) and whole.endswith(tail))


def test_the_cause_at_the_end_of_a_chain_of_errors_is_not_lost() -> None:
    assert both_ends(f"restore failed: {'copy file: ' * 99}connection refused", 60).endswith(
        "copy file: connection refused"
    )


def is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc" and character != "\n"


# Quotes and backslashes take two bytes in JSON; nobody writes a message of nothing else.
words = st.text(st.characters(min_codepoint=32, exclude_categories=["C"], exclude_characters='"\\'), min_size=1)


@settings(max_examples=20)
@given(words)
@example('found a backup with status "InProgress" during the server starting; ')
def test_a_status_with_everything_at_its_longest_fits_into_32_kib(text: str) -> None:
    status = largest_status(text * 4000)
    assert len(json.dumps(status.to_api(), ensure_ascii=False).encode()) <= 32 * 1024


def largest_status(text: str) -> OperationStatus:
    """Every field as long as the engine lets it become, and a thousand attempts."""
    status = steps.plan(OperationStatus(), list(BackupStep))
    for number in range(1000):
        status = attempts.allocate(status, REF, "r" * 36, number, AttemptCause.AUTOMATIC, NOW)
        status = attempts.conclude(status, "Cancelled", str(Reason.VELERO_BACKUP_VALIDATION_FAILED), NOW)
    for step in BackupStep:
        status = steps.end(steps.begin(status, step, NOW, text), step, StepState.FAILED, NOW, text)
    status = lifecycle.accept(status, bounded(text), NOW)
    status = lifecycle.degraded(status, Reason.PARTIAL_FAILURE, text, NOW)
    status = lifecycle.verified(status, False, Reason.VERIFICATION_FAILED, text, NOW)
    status = enter(status, Life.FAILED, Reason.VERIFICATION_FAILED, text, NOW)
    name = text[:1] * 253
    outputs = Outputs(backup_name="b" * 63, storage_location="l" * 253, warnings=bounded_warnings([text] * 100))
    claim = WorkflowClaim(id=f"operation/{'n' * 63}/{'o' * 63}/{'u' * 36}", run_id="r" * 36, url="u" * 500)
    return status.model_copy(update={"outputs": outputs, "workflow": claim, "step": name[:63]})

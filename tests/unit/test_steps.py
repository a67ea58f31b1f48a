"""The plan of an attempt, as kubectl and the Temporal UI show it."""

from typing import Any

import pytest
from support.values import NOW, later, operation

from operation_engine.domain import steps
from operation_engine.domain.details import MAX_DETAILS, current_details
from operation_engine.domain.lifecycle import Life, enter
from operation_engine.domain.resources.operation_status import OperationStatus, Outputs, StepState
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.steps import BackupStep, RestoreStep

PLANNED = steps.plan(OperationStatus(), list(BackupStep))


def states(status: OperationStatus) -> list[str]:
    return [str(step.state) for step in status.steps]


def test_the_steps_are_those_of_the_plan_in_its_order_whatever_happens_to_them() -> None:
    status = steps.begin(PLANNED, BackupStep.CREATE, NOW)
    status = steps.end(status, BackupStep.CREATE, StepState.SUCCEEDED, later(1), "done")
    assert [step.name for step in status.steps] == list(BackupStep)
    assert status.step == BackupStep.CREATE


def test_a_step_that_waited_keeps_the_time_of_its_beginning() -> None:
    status = steps.begin(PLANNED, BackupStep.ADMIT, NOW)
    waiting = steps.wait(status, BackupStep.ADMIT, later(5), "for a target")
    ended = steps.end(waiting, BackupStep.ADMIT, StepState.SUCCEEDED, later(9), "there")
    step = steps.find_step(ended, BackupStep.ADMIT)
    assert step is not None
    assert (step.started_at, step.finished_at, step.message) == (NOW, later(9), "there")
    still = steps.find_step(waiting, BackupStep.ADMIT)
    assert still is not None
    assert (still.state, still.finished_at) == (StepState.WAITING, None)


def test_what_was_under_way_failed_and_what_did_not_begin_never_will() -> None:
    status = steps.end(PLANNED, BackupStep.ADMIT, StepState.SUCCEEDED, NOW, "")
    status = steps.begin(status, BackupStep.APPROVE, NOW)
    failed = steps.skip_rest(steps.fail_current(status, later(1), "gone"))
    assert states(failed) == ["Succeeded", "Failed", *["Skipped"] * 4]


def test_a_failure_between_steps_changes_no_step_that_ended() -> None:
    begun = steps.begin(PLANNED, BackupStep.ADMIT, NOW)
    ended = steps.end(begun, BackupStep.ADMIT, StepState.SUCCEEDED, later(1), "done")
    assert steps.fail_current(ended, later(2), "no") == ended
    assert steps.fail_current(PLANNED, NOW, "no") == PLANNED


def test_another_attempt_shows_its_steps_as_still_to_come_and_keeps_the_gates() -> None:
    status = PLANNED
    for step in BackupStep:
        status = steps.end(status, step, StepState.SUCCEEDED, NOW, "done")
    again = steps.plan_again(status, [BackupStep.CREATE, BackupStep.FOLLOW, BackupStep.VERIFY])
    assert states(again) == [*["Succeeded"] * 3, *["Pending"] * 3]
    assert [step.name for step in again.steps] == list(BackupStep)


def test_a_step_s_message_is_bounded_in_bytes() -> None:
    step = steps.find_step(steps.begin(PLANNED, BackupStep.ADMIT, NOW, "ü" * 5000), BackupStep.ADMIT)
    assert step is not None
    assert len((step.message or "").encode()) <= 512


def test_the_ui_reads_phase_reason_message_outputs_and_every_step() -> None:
    status = steps.end(PLANNED, BackupStep.ADMIT, StepState.SUCCEEDED, later(2), "in order")
    status = enter(status, Life.RUNNING, Reason.VELERO_BACKUP_IN_PROGRESS, "at work", NOW)
    text = current_details(status.model_copy(update={"outputs": Outputs(backup_name="b1"), "attempt": 2}))
    assert text.startswith("**Running** · `VeleroBackupInProgress` · attempt 2")
    for part in ("`at work`", "- backupName: `b1`", *BackupStep):
        assert part in text


def test_what_others_wrote_is_not_taken_for_markup() -> None:
    nasty = "<b>`x`</b>\n# title | cell\r\n"
    text = current_details(enter(PLANNED, Life.FAILED, Reason.TIMEOUT, nasty, NOW))
    assert "`<b>'x'</b> # title / cell" in text


def test_the_ui_s_page_stays_small() -> None:
    status = PLANNED
    for step in BackupStep:
        status = steps.end(status, step, StepState.FAILED, NOW, "x" * 5000)
    outputs = Outputs(backup_name="n" * 256, storage_location="s" * 256)
    full = enter(status, Life.FAILED, Reason.TIMEOUT, "m" * 5000, NOW).model_copy(update={"outputs": outputs})
    assert len(current_details(full)) <= MAX_DETAILS


@pytest.mark.parametrize(
    ("spec", "waits"),
    [
        ({}, False),
        ({"approvals": {"required": False}}, False),
        ({"approvals": {"required": True}}, True),
        ({"type": "Restore"}, True),
    ],
)
def test_a_backup_waits_for_an_approval_only_where_it_says_so(spec: dict[str, Any], waits: bool) -> None:
    kind = RestoreStep if spec.get("type") == "Restore" else BackupStep
    names = steps.applicable(list(kind), operation(**spec).spec)
    assert ("AwaitApproval" in names) == waits
    assert set(kind) - set(names) <= {"AwaitApproval"}

"""What a cancelled Operation leaves, as people are told, and what is still to be stopped."""

from typing import Any

import pytest
from support.values import NOW

from operation_engine.domain import steps
from operation_engine.domain.cancelling import Remnant, told
from operation_engine.domain.lifecycle import MAX_MESSAGE, bounded
from operation_engine.domain.resources.operation_status import OperationStatus, StepState
from operation_engine.domain.steps import RestoreStep, stop_current
from operation_engine.domain.transfers import is_to_be_stopped

PLANNED = steps.plan(OperationStatus(), list(RestoreStep))
SENTENCES = [
    (
        Remnant(kind="Backup", name="b", phase="InProgress"),
        "Velero Backup b is still InProgress and goes on by itself.",
    ),
    (Remnant(kind="Backup", name="b"), "Velero Backup b is still New and goes on by itself."),
    (Remnant(kind="Restore", name="r", withdrawn=True), "Velero Restore r had not begun and was deleted."),
    (
        Remnant(kind="Backup", name="b", role="main", phase="Failed", ended=True),
        "Velero Backup b is Failed, was not checked, and stays.",
    ),
    (
        Remnant(kind="Backup", name="s", role="safety", phase="Completed", ended=True),
        "Velero Backup s holds what was there before.",
    ),
    (
        Remnant(kind="Backup", name="s", role="safety", phase="Failed", ended=True),
        "Velero Backup s is Failed.",
    ),
    (
        Remnant(kind="Restore", name="r", phase="PartiallyFailed", ended=True),
        "Velero Restore r is PartiallyFailed; what it restored stays, with the label velero.io/restore-name=r.",
    ),
]


@pytest.mark.parametrize(("remnant", "sentence"), SENTENCES)
def test_each_thing_that_is_left_has_its_sentence(remnant: Remnant, sentence: str) -> None:
    assert told([remnant], PLANNED) == f"Cancelled. {sentence}"


def test_what_still_works_is_told_before_what_has_ended() -> None:
    ended = [Remnant(kind="Restore", name=f"r{n}", phase="Failed", ended=True) for n in range(50)]
    text = told([*ended, Remnant(kind="Restore", name="z", phase="InProgress")], PLANNED)
    assert text.startswith("Cancelled. Velero Restore z is still InProgress")
    assert "is still InProgress" in bounded(text, MAX_MESSAGE)


def replaced(follow: bool) -> OperationStatus:
    status = steps.begin(PLANNED, RestoreStep.REPLACE, NOW)
    status = steps.end(status, RestoreStep.REPLACE, StepState.SUCCEEDED, NOW, "Deleted, to be replaced: data.")
    return steps.begin(status, RestoreStep.FOLLOW, NOW) if follow else status


def test_volumes_that_were_taken_away_and_are_not_back_are_told_first() -> None:
    assert told([], replaced(follow=False)) == (
        "Cancelled. Velero had begun nothing. Deleted, to be replaced: data. They were not restored."
    )
    assert "not restored" not in told([], replaced(follow=True)), "then Velero may have brought them back"
    half = replaced(follow=False)
    failed = steps.end(half, RestoreStep.REPLACE, StepState.FAILED, NOW, "To be replaced: data. Not all was gone.")
    assert "Not all was gone. What of it is gone was not restored." in told([], failed)


@pytest.mark.parametrize(
    ("mover", "wanted"),
    [
        ({}, True),
        ({"status": {"phase": "InProgress"}}, True),
        ({"status": {"phase": "Prepared"}, "spec": {"cancel": False}}, True),
        ({"status": {"phase": "InProgress"}, "spec": {"cancel": True}}, False),
        ({"status": {"phase": "Completed"}}, False),
        ({"status": {"phase": "Failed"}}, False),
        ({"status": {"phase": "Canceled"}}, False),
    ],
)
def test_only_movers_at_work_are_told_to_stop_and_only_once(mover: dict[str, Any], wanted: bool) -> None:
    assert is_to_be_stopped(mover) == wanted


def test_a_step_that_was_called_off_has_not_failed() -> None:
    status = stop_current(steps.begin(PLANNED, RestoreStep.FOLLOW, NOW), NOW, "Cancelled.")
    found = steps.find_step(status, RestoreStep.FOLLOW)
    assert found is not None
    assert (found.state, found.message, found.finished_at) == (StepState.SKIPPED, "Cancelled.", NOW)
    assert stop_current(status, NOW, "again") == status, "what has ended has ended"
    assert stop_current(PLANNED, NOW, "nothing") == PLANNED

"""What the Temporal UI says about trying again: the event to reset to, where a Reset would help."""

import pytest
from support.values import NOW

from operation_engine.domain import steps
from operation_engine.domain.details import BEGINNING, current_details, fenced_details
from operation_engine.domain.lifecycle import Life, enter
from operation_engine.domain.resources.operation_status import OperationStatus
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.steps import RestoreStep

EVENTS = {BEGINNING: 4, RestoreStep.FOLLOW: 60, RestoreStep.VERIFY_CONTENTS: 85}


def failed_at(step: str, life: Life, reason: Reason) -> OperationStatus:
    begun = steps.begin(steps.plan(OperationStatus(attempt=1), list(RestoreStep)), step, NOW)
    return enter(steps.fail_current(begun, NOW, "no"), life, reason, "no", NOW)


def test_a_check_that_failed_can_be_repeated_alone() -> None:
    text = current_details(failed_at(RestoreStep.VERIFY_CONTENTS, Life.FAILED, Reason.VERIFICATION_FAILED), (), EVENTS)
    assert "**Reset** to event `4` does everything anew" in text
    assert "to event `85` repeats VerifyContents alone" in text


@pytest.mark.parametrize("step", [RestoreStep.FOLLOW, RestoreStep.SAFETY, RestoreStep.CREATE])
def test_what_would_fail_again_at_once_is_not_proposed(step: str) -> None:
    text = current_details(failed_at(step, Life.FAILED, Reason.VELERO_RESTORE_FAILED), (), EVENTS)
    assert "to event `4` does everything anew" in text
    assert "alone" not in text


def test_while_a_person_decides_a_reset_is_named_where_it_spares_an_attempt() -> None:
    asking = (Life.DECIDING, Reason.AWAITING_DECISION)
    check = current_details(failed_at(RestoreStep.VERIFY_CONTENTS, *asking), (), EVENTS)
    assert check.index("Send an Update") < check.index("to event `85` repeats VerifyContents alone")
    assert "Reset" not in current_details(failed_at(RestoreStep.FOLLOW, *asking), (), EVENTS)


@pytest.mark.parametrize(
    ("life", "reason"), [(Life.RUNNING, Reason.PENDING), (Life.SUCCEEDED, Reason.VELERO_RESTORE_COMPLETED)]
)
def test_nobody_is_told_to_reset_what_has_not_failed(life: Life, reason: Reason) -> None:
    assert "Reset" not in current_details(enter(OperationStatus(), life, reason, "fine", NOW), (), EVENTS)


def test_a_fenced_run_says_so_and_nothing_of_the_operation() -> None:
    text = fenced_details("This run changes nothing: `x` | y")
    assert text.startswith("**Fenced**")
    assert "`This run changes nothing: 'x' / y`" in text

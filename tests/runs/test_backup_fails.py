"""Work that fails: Velero's verdicts, bounds that pass, what the bucket does not hold."""

from datetime import timedelta

import pytest
from support.runs import Stage
from support.scripted import (
    AVAILABLE,
    EMPTY,
    GOOD,
    HAPPY,
    RESTARTED,
    WENT_AWAY,
    Script,
    always,
    phases,
    seen,
    unavailable,
)

from operation_engine.domain.resources.conditions import ConditionStatus, ConditionType
from operation_engine.domain.velero import BackupObservation
from operation_engine.domain.verdicts import BackupContents

pytestmark = pytest.mark.asyncio(loop_scope="session")

C = ConditionType

VERDICTS: dict[str, tuple[BackupObservation | None, str, str]] = {
    "failed validation": (
        seen("FailedValidation", validation_errors=("no such location",)),
        "VeleroBackupValidationFailed",
        "no such location",
    ),
    "failed": (seen("Failed", failure_reason="disk full"), "VeleroBackupFailed", "disk full"),
    "failed in part": (seen("PartiallyFailed", errors=2), "VeleroBackupPartiallyFailed", "2 errors: first; second"),
    "failed hooks": (seen("PartiallyFailed", errors=1, hooks_failed=1), "HookFailed", "1 errors"),
    "completed with errors": (seen("Completed", errors=1), "VeleroBackupPartiallyFailed", "1 errors"),
    "completed with a failure": (
        seen("Completed", failure_reason="odd"),
        "VeleroBackupFailed",
        "says Completed and also: odd",
    ),
    "being deleted": (seen("Deleting"), "ExternalDeletion", "being deleted"),
    "gone": (None, "ExternalDeletion", "Create a new Operation"),
}


@pytest.mark.parametrize("how", VERDICTS)
async def test_a_backup_that_did_not_do_its_work_fails_with_velero_s_words(play: Stage, how: str) -> None:
    last, reason, says = VERDICTS[how]
    script = Script(attempts=[[*phases("New", "InProgress"), last]], problems=("first", "second"))
    ended = await play.run(script)
    assert (ended.status.phase, ended.status.reason) == ("Failed", reason)
    assert says in (ended.status.message or "")
    assert ended.failure is not None
    assert ended.failure.message == ended.status.message
    assert [(a.outcome, a.reason) for a in ended.status.attempts] == [("Failed", reason)]
    assert (ended.steps["FollowBackup"], ended.steps["VerifyBackup"]) == ("Failed", "Skipped")
    assert ended.condition(C.ACCEPTED) == (ConditionStatus.TRUE, "Accepted")
    assert "verify_backup" not in script.calls


async def test_a_backup_that_velero_s_restarts_ended_twice_fails(play: Stage) -> None:
    restarted = seen("Failed", failure_reason=RESTARTED)
    script = Script(attempts=[[restarted], [restarted], list(HAPPY)])
    ended = await play.run(script)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "VeleroBackupFailed")
    assert len(script.created) == 2
    assert [a.outcome for a in ended.status.attempts] == ["Failed", "Failed"]


async def test_a_location_that_comes_and_goes_is_given_three_more_attempts(play: Stage) -> None:
    refused = seen("FailedValidation", validation_errors=(WENT_AWAY,))
    script = Script(locations=[AVAILABLE] * 9, attempts=[[refused] for _ in range(9)])
    ended = await play.run(script)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "StorageLocationUnavailable")
    assert len(script.created) == len(ended.status.attempts) == 4


async def test_each_cause_of_an_automatic_attempt_has_a_bound_of_its_own(play: Stage) -> None:
    refused = seen("FailedValidation", validation_errors=(WENT_AWAY,))
    restarted = seen("Failed", failure_reason=RESTARTED)
    script = Script(locations=[AVAILABLE] * 3, attempts=[[refused], [restarted], [refused], list(HAPPY)])
    assert (await play.run(script)).status.phase == "Succeeded"


async def test_a_verdict_does_not_hang_on_velero_s_own_words(play: Stage) -> None:
    words = always(unavailable(timedelta(seconds=90)))
    script = Script(attempts=[[seen("PartiallyFailed", errors=2)]], before={"explain_backup": words})
    ended = await play.run(script)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "VeleroBackupPartiallyFailed")
    assert "2 errors" in (ended.status.message or "")


BUCKETS: dict[str, tuple[BackupContents, str]] = {
    "no resource list": (BackupContents(), "VerificationFailed"),
    "nothing": (EMPTY, "VerificationFailed"),
}


@pytest.mark.parametrize("holds", BUCKETS)
async def test_completed_is_not_believed_where_the_bucket_shows_otherwise(play: Stage, holds: str) -> None:
    contents, reason = BUCKETS[holds]
    ended = await play.run(Script(contents=contents))
    assert (ended.status.phase, ended.status.reason) == ("Failed", reason)
    assert ended.condition(C.VERIFIED) == (ConditionStatus.FALSE, reason)
    assert (ended.steps["FollowBackup"], ended.steps["VerifyBackup"]) == ("Succeeded", "Failed")
    assert percent_of_last(ended.status) < 100


def percent_of_last(status: object) -> int:
    progress = getattr(status, "progress", None)
    return progress.percent or 0 if progress else 0


async def test_an_accepted_partial_backup_is_verified_all_the_same(play: Stage) -> None:
    script = Script(attempts=[[seen("PartiallyFailed", errors=1)]], contents=EMPTY)
    ended = await play.run(script, policy={"partialFailure": "Accept"})
    assert (ended.status.phase, ended.status.reason) == ("Failed", "VerificationFailed")


async def test_a_bucket_that_cannot_be_read_for_ten_minutes_verifies_nothing(play: Stage) -> None:
    script = Script(before={"read_bucket": always(unavailable(timedelta(minutes=4)))})
    ended = await play.run(script)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "VerificationFailed")
    assert "the bucket could not be read for 0:10:00: the other side does not answer" in (ended.status.message or "")
    assert (ended.steps["FollowBackup"], ended.steps["VerifyBackup"]) == ("Succeeded", "Failed")
    assert ended.event_reasons.count("OperationFailed") == 1


async def test_an_attempt_has_four_hours_of_work_by_default(play: Stage) -> None:
    faults = [None, unavailable(timedelta(minutes=230)), None, unavailable(timedelta(minutes=20))]
    script = Script(attempts=[phases("InProgress", "Finalizing")], before={"follow_backup": faults})
    ended = await play.run(script)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "Timeout")
    assert "was still Finalizing when spec.policy.timeout ran out" in (ended.status.message or "")
    assert [(a.outcome, a.reason) for a in ended.status.attempts] == [("Failed", "Timeout")]


@pytest.mark.parametrize(
    ("phase", "policy", "field"),
    [
        ("InProgress", {"timeout": "1s"}, "spec.policy.timeout"),
        ("Queued", {"waitTimeout": "1s"}, "spec.policy.waitTimeout (Velero's queue)"),
    ],
)
async def test_a_backup_that_gets_nowhere_ends_at_the_bound_of_its_clock(
    play: Stage, phase: str, policy: dict[str, str], field: str
) -> None:
    ended = await play.run(Script(attempts=[phases(phase)]), policy=policy)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "Timeout")
    assert f"was still {phase} when {field} ran out" in (ended.status.message or "")


async def test_a_backup_that_velero_never_looks_at_ends_at_wait_timeout(play: Stage) -> None:
    ended = await play.run(Script(attempts=[[]]), policy={"waitTimeout": "1s"})
    assert (ended.status.phase, ended.status.reason) == ("Failed", "Timeout")
    assert "was still New" in (ended.status.message or "")


async def test_foreign_words_do_not_outgrow_a_status(play: Stage) -> None:
    endless = "ü" * 100_000
    last = seen("FailedValidation", validation_errors=(endless,))
    ended = await play.run(Script(attempts=[[last]]))
    assert len((ended.status.message or "").encode()) <= 1024


async def test_warnings_of_the_bucket_are_kept_up_to_twenty(play: Stage) -> None:
    contents = GOOD.model_copy(update={"problems": tuple(f"warning: {i}" for i in range(30))})
    outputs = (await play.run(Script(contents=contents))).status.outputs
    assert outputs is not None
    assert len(outputs.warnings) == 21
    assert outputs.warnings[-1] == "and 10 more"

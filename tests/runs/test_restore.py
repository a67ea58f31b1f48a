"""Restores from start to end: what is done, what is verified, and how each failure is told."""

from datetime import timedelta

import pytest
from support.runs import Stage
from support.scripted import RESTARTED, UNAVAILABLE_LOCATION, always, unavailable
from support.scripted_restores import (
    HAPPY_RESTORE,
    NOTHING_CAME,
    RESTORE_RESTARTED,
    UNREADY,
    observed,
    restore_script,
)

from operation_engine.domain.admission import refuse
from operation_engine.domain.resources.conditions import ConditionStatus, ConditionType
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.restore_verdicts import RestoredContents
from operation_engine.domain.velero import RestoreObservation

pytestmark = pytest.mark.asyncio(loop_scope="session")

C = ConditionType
AT_ONCE = {"decisionTimeout": "0s"}
NOT_NEEDED = {
    "AwaitApproval",
    "CleanUp",
    "DrainAttempts",
    "SuspendReleases",
    "SafetyBackup",
    "ReplaceVolumes",
    "VerifyHttp",
    "ResumeReleases",
}
GONE = "is unavailable, cannot retrieve the backup"


async def test_a_restore_is_followed_verified_and_told(play: Stage) -> None:
    script = restore_script()
    ended = await play.restore(script)
    assert (ended.status.phase, ended.status.reason) == ("Succeeded", "VeleroRestoreCompleted")
    assert {name for name, state in ended.steps.items() if state == "Skipped"} == NOT_NEEDED
    assert set(ended.steps.values()) == {"Succeeded", "Skipped"}
    assert ended.condition(C.VERIFIED) == (ConditionStatus.TRUE, "Verified")
    message = ended.status.message or ""
    assert "5 objects of the 4 in the backup came back: 4 created, 1 updated" in message
    assert message.count("1 as it should be.") == 2
    outputs = ended.status.outputs
    assert outputs is not None
    assert (outputs.backup_name, outputs.restore_name) == ("nightly-main-1", script.created[0])
    assert (outputs.restored_item_count, outputs.storage_location) == ("5", "default")
    assert outputs.backup_uid == "backup-uid"
    assert ended.status.engine_ref is not None
    assert ended.status.engine_ref.kind == "Restore"
    assert [(a.number, a.outcome) for a in ended.status.attempts] == [(1, "Succeeded")]
    assert ended.status.attempts[0].velero_name == script.created[0]
    assert ended.status.progress is not None
    assert ended.status.progress.percent == 100


async def test_checks_that_are_not_asked_for_are_skipped(play: Stage) -> None:
    script = restore_script()
    verify = {"workloadsReady": False, "volumesBound": False}
    ended = await play.restore(script, parameters={"verify": verify})
    assert ended.status.phase == "Succeeded"
    assert (ended.steps["VerifyWorkloads"], ended.steps["VerifyVolumes"]) == ("Skipped", "Skipped")
    assert not {"await_workloads", "await_volumes"} & set(script.calls)


async def test_nothing_to_roll_out_and_no_volume_is_no_failure(play: Stage) -> None:
    contents = RestoredContents.model_validate(
        {"items": [{"kind": "v1/Secret", "namespace": "shop", "name": "keys", "action": "created"}]}
    )
    ended = await play.restore(restore_script(restored=[contents]))
    assert ended.status.phase == "Succeeded"
    assert (ended.steps["VerifyWorkloads"], ended.steps["VerifyVolumes"]) == ("Skipped", "Skipped")


VERDICTS: dict[str, tuple[RestoreObservation | None, str, str]] = {
    "refused": (
        observed("FailedValidation", validation_errors=("no such backup",)),
        "VeleroRestoreValidationFailed",
        "no such backup",
    ),
    "failed": (observed("Failed", failure_reason="disk full"), "VeleroRestoreFailed", "disk full"),
    "failed in part": (observed("PartiallyFailed", errors=2), "VeleroRestorePartiallyFailed", "errors: first; second"),
    "failed hooks": (observed("PartiallyFailed", errors=1, hooks_failed=1), "HookFailed", "1 errors"),
    "completed with errors": (observed("Completed", errors=1), "VeleroRestoreFailed", "also: 1 errors"),
    "completed with a failure": (observed("Completed", failure_reason="odd"), "VeleroRestoreFailed", "also: odd"),
    "gone": (None, "ExternalDeletion", "was deleted while it was followed"),
}


@pytest.mark.parametrize("how", VERDICTS)
async def test_a_restore_that_did_not_do_its_work_fails_with_velero_s_words(play: Stage, how: str) -> None:
    last, reason, says = VERDICTS[how]
    script = restore_script(attempts=[[observed("InProgress"), last]], problems=("first", "second"))
    ended = await play.restore(script, policy=AT_ONCE)
    assert (ended.status.phase, ended.status.reason) == ("Failed", reason)
    assert says in (ended.status.message or "")
    assert [(a.outcome, a.reason) for a in ended.status.attempts] == [("Failed", reason)]
    assert (ended.steps["FollowRestore"], ended.steps["VerifyContents"]) == ("Failed", "Skipped")
    assert "verify_contents" not in script.calls


CONTENTS = {
    "nothing": (NOTHING_CAME, "NothingRestored", "brought nothing back. Its list: 1 skipped"),
    "an empty list": (RestoredContents(items=()), "NothingRestored", "Its list is empty"),
    "no list": (RestoredContents(), "VerificationFailed", "cannot be read"),
}


@pytest.mark.parametrize("what", CONTENTS)
async def test_completed_is_not_believed_where_the_list_shows_otherwise(play: Stage, what: str) -> None:
    contents, reason, says = CONTENTS[what]
    ended = await play.restore(restore_script(restored=[contents]), policy=AT_ONCE)
    assert (ended.status.phase, ended.status.reason) == ("Failed", reason)
    assert says in (ended.status.message or "")
    assert ended.condition(C.VERIFIED) == (ConditionStatus.FALSE, reason)
    assert (ended.steps["FollowRestore"], ended.steps["VerifyContents"]) == ("Succeeded", "Failed")


async def test_fewer_items_than_asked_for_are_too_few(play: Stage) -> None:
    ended = await play.restore(restore_script(min_items=6), policy=AT_ONCE)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "VerificationFailed")
    assert "brought 5 objects back; spec.parameters.verify.minItems is 6" in (ended.status.message or "")


@pytest.mark.parametrize(("verb", "step"), [("await_workloads", "VerifyWorkloads"), ("await_volumes", "VerifyVolumes")])
async def test_what_does_not_come_up_fails_the_restore_and_is_named(play: Stage, verb: str, step: str) -> None:
    ended = await play.restore(restore_script(checks={verb: [UNREADY]}), policy=AT_ONCE)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "VerificationFailed")
    assert "0/1 nodes are available" in (ended.status.message or "")
    assert ended.steps[step] == "Failed"
    assert ended.condition(C.VERIFIED) == (ConditionStatus.FALSE, "VerificationFailed")


async def test_a_bucket_that_cannot_be_read_for_ten_minutes_verifies_nothing(play: Stage) -> None:
    script = restore_script(before={"read_bucket": always(unavailable(timedelta(minutes=4)))})
    ended = await play.restore(script, policy=AT_ONCE)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "VerificationFailed")
    assert "the bucket could not be read for 0:10:00" in (ended.status.message or "")


async def test_a_partial_restore_can_be_accepted_and_is_verified_all_the_same(play: Stage) -> None:
    last = [observed("PartiallyFailed", errors=1)]
    accept = {"partialFailure": "Accept", **AT_ONCE}
    ended = await play.restore(restore_script(attempts=[list(last)], problems=("pod web: denied",)), policy=accept)
    assert (ended.status.phase, ended.status.reason) == ("Succeeded", "PartialFailure")
    assert ended.condition(C.DEGRADED) == (ConditionStatus.TRUE, "PartialFailure")
    assert "pod web: denied" in (ended.status.message or "")
    nothing = restore_script(attempts=[list(last)], restored=[NOTHING_CAME])
    assert (await play.restore(nothing, policy=accept)).status.reason == "NothingRestored"


async def test_a_partial_backup_can_be_accepted_and_what_it_lacks_is_named(play: Stage) -> None:
    script = restore_script(backup_phase="PartiallyFailed", problems=("pvc data: timed out",))
    ended = await play.restore(script, policy={"partialFailure": "Accept"})
    assert (ended.status.phase, ended.status.reason) == ("Succeeded", "PartialFailure")
    degraded = next(c for c in ended.status.conditions if c.type == C.DEGRADED)
    assert "nightly-main-1 is PartiallyFailed" in degraded.message
    assert "pvc data: timed out" in degraded.message


async def test_a_backup_that_cannot_be_used_refuses_the_restore(play: Stage) -> None:
    script = restore_script(locations=[], usable=refuse(Reason.BACKUP_NOT_FOUND, "there is no Velero Backup nightly"))
    ended = await play.restore(script)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "BackupNotFound")
    assert ended.condition(C.ACCEPTED) == (ConditionStatus.FALSE, "BackupNotFound")
    assert (ended.status.attempts, script.created) == ((), [])


async def test_the_backup_s_location_is_waited_for(play: Stage) -> None:
    script = restore_script(locations=[UNAVAILABLE_LOCATION])
    ended = await play.restore(script)
    assert ended.status.phase == "Succeeded"
    assert "StorageLocationUnavailable" in ended.reasons
    assert "await_backup" in script.calls


async def test_a_restore_that_velero_s_restart_ended_is_begun_anew_once_by_itself(play: Stage) -> None:
    restarted = observed("Failed", failure_reason=RESTORE_RESTARTED)
    script = restore_script(attempts=[[observed("InProgress"), restarted], list(HAPPY_RESTORE)])
    ended = await play.restore(script, policy=AT_ONCE)
    assert [(a.cause, a.outcome) for a in ended.status.attempts] == [("Initial", "Failed"), ("Automatic", "Succeeded")]
    assert len(set(script.created)) == 2
    assert script.calls.count("find_backup") == 2, "the backup is looked at again"
    assert set(ended.steps.values()) == {"Succeeded", "Skipped"}
    twice = restore_script(attempts=[[restarted], [restarted], list(HAPPY_RESTORE)])
    ended = await play.restore(twice, policy=AT_ONCE)
    assert (ended.status.reason, len(twice.created)) == ("VeleroRestoreFailed", 2)


async def test_a_backup_s_restart_mark_is_not_taken_for_a_restore_s(play: Stage) -> None:
    script = restore_script(attempts=[[observed("Failed", failure_reason=RESTARTED)]])
    ended = await play.restore(script, policy=AT_ONCE)
    assert (ended.status.reason, len(script.created)) == ("VeleroRestoreFailed", 1)


async def test_a_location_that_went_away_under_it_is_waited_for_again(play: Stage) -> None:
    refused = observed("FailedValidation", validation_errors=(f"The BSL default {GONE}",))
    script = restore_script(attempts=[[refused], list(HAPPY_RESTORE)])
    ended = await play.restore(script)
    assert [(a.outcome, a.reason) for a in ended.status.attempts] == [
        ("Failed", "StorageLocationUnavailable"),
        ("Succeeded", "VeleroRestoreCompleted"),
    ]


@pytest.mark.parametrize(
    ("phase", "policy", "field"),
    [
        ("InProgress", {"timeout": "1s", **AT_ONCE}, "spec.policy.timeout"),
        ("New", {"waitTimeout": "1s", **AT_ONCE}, "spec.policy.waitTimeout (Velero's queue)"),
    ],
)
async def test_a_restore_that_gets_nowhere_ends_at_the_bound_of_its_clock(
    play: Stage, phase: str, policy: dict[str, str], field: str
) -> None:
    ended = await play.restore(restore_script(attempts=[[observed(phase)]]), policy=policy)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "Timeout")
    assert f"was still {phase} when {field} ran out" in (ended.status.message or "")


async def test_a_create_whose_answer_is_lost_makes_no_second_restore(play: Stage) -> None:
    script = restore_script(after={"create_restore": [unavailable(timedelta(milliseconds=50))] * 3})
    ended = await play.restore(script, skip_time=False)
    assert ended.status.phase == "Succeeded"
    assert len(script.created) == len(ended.status.attempts) == 1

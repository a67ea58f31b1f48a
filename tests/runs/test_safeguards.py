"""What keeps a Restore from harm: both sides agree, somebody approves, Flux rests, a backup comes first."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from support.guards import (
    AGREED,
    APPROVAL,
    APPROVED,
    FULL,
    NO_CONSENT,
    REPLACED,
    RETAINED,
    SPENT,
    UNAPPROVED,
    UNREADABLE,
    UNSAFE,
    Guards,
)
from support.runs import Ended, Stage, backup, restore_parts
from support.scripted import RESTARTED, Script, always, seen, unavailable
from support.scripted_restores import HAPPY_RESTORE, observed, restore_script

from operation_engine.domain.resources.conditions import ConditionStatus, ConditionType
from operation_engine.domain.velero import BackupObservation

pytestmark = pytest.mark.asyncio(loop_scope="session")

C = ConditionType
WITHIN_S = 20
AT_ONCE = {"decisionTimeout": "0s"}
SAVED: list[BackupObservation | None] = [seen("InProgress"), seen("Completed", items_done=3, items_total=3)]
FAILED = [observed("Failed", failure_reason="disk full")]


def guarded(**parts: Any) -> Script:
    return restore_script(guards=Guards(**parts))


async def decided(play: Stage, script: Script, *answers: dict[str, Any], **parts: Any) -> Ended:
    """A Restore whose failed attempts are answered by retries, in order."""
    manifest = backup(**restore_parts(**parts))
    with play.environment.with_time_skipping_disabled():
        handle = await play.start(script, manifest)
        for answer in answers:
            await until(play, manifest, "AwaitingDecision", answer["attempt"])
            verb = answer.pop("verb", "retry")
            await handle.execute_update(verb, answer, result_type=str)
        return await play.ended(handle, manifest)


async def until(play: Stage, manifest: dict[str, Any], reason: str, attempt: int = 0) -> None:
    """Wait until the Operation gives this reason, in this attempt."""
    uid = manifest["metadata"]["uid"]
    await play.api.until(uid, lambda status: (status.reason, status.attempt) == (reason, attempt), WITHIN_S)


async def test_where_nothing_is_in_the_way_the_safeguards_are_passed_and_said_so(play: Stage) -> None:
    script = guarded()
    ended = await play.restore(script)
    assert ended.status.phase == "Succeeded"
    assert ended.steps["CheckConsent"] == "Succeeded"
    skipped = {"AwaitApproval", "SuspendReleases", "SafetyBackup", "ReplaceVolumes"}
    assert {ended.steps[name] for name in skipped} == {"Skipped"}
    assert ended.status.approval is None
    assert "create_destination" not in script.calls


async def test_without_consent_nothing_is_done(play: Stage) -> None:
    script = guarded(consents=[NO_CONSENT])
    ended = await play.restore(script)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "ConsentMissing")
    assert ended.status.message == NO_CONSENT.message
    assert ended.status.outputs is None, "nothing is told of a backup whose owner has not agreed"
    assert ended.condition(C.ACCEPTED) == (ConditionStatus.FALSE, "ConsentMissing")
    assert (script.created, script.guards.suspended) == ([], [])


async def test_consent_that_is_taken_back_is_missed_by_the_next_attempt(play: Stage) -> None:
    script = restore_script(guards=Guards(consents=[AGREED, AGREED, AGREED, NO_CONSENT]), attempts=[list(FAILED)])
    ended = await decided(play, script, {"attempt": 1}, {"attempt": 2, "verb": "abort"})
    assert (ended.status.phase, ended.status.reason) == ("Failed", "AbortedByUser")
    assert [attempt.reason for attempt in ended.status.attempts] == ["VeleroRestoreFailed", "ConsentMissing"]
    assert NO_CONSENT.message in (ended.status.message or "")
    assert len(script.created) == 1


async def test_a_missing_destination_is_made_before_anything_else(play: Stage) -> None:
    script = guarded(creates_destination=True)
    assert (await play.restore(script)).status.phase == "Succeeded"
    assert script.calls.index("create_destination") < script.calls.index("suspend_releases")


async def test_an_approval_that_comes_later_lets_it_go_on_and_is_kept(play: Stage) -> None:
    script = guarded(approvals=[UNAPPROVED, UNAPPROVED, UNAPPROVED, APPROVED], because="made anew")
    looked = asyncio.Semaphore(0)
    script.on_call["check_approval"] = looked.release
    manifest = backup(**restore_parts())
    with play.environment.with_time_skipping_disabled():
        handle = await play.start(script, manifest)
        await until(play, manifest, "AwaitingApproval")
        assert "suspend_releases" not in script.calls
        await looked.acquire()
        await looked.acquire()
        for payload in ({"any": "thing"}, None):
            await handle.signal("spec_changed", payload)
            await asyncio.wait_for(looked.acquire(), WITHIN_S)
        ended = await play.ended(handle, manifest)
    assert ended.status.phase == "Succeeded"
    assert ended.status.approval == APPROVAL
    assert ended.steps["AwaitApproval"] == "Succeeded"
    assert set(script.guards.asked_because) == {"made anew"}
    blocked = [status for status in ended.history if status.reason == "AwaitingApproval"]
    assert {status.phase for status in blocked} == {"Pending"}
    pinned = {status.outputs and status.outputs.backup_uid for status in blocked}
    assert pinned == {"backup-uid"}, "it is this very backup that is approved"


async def test_nobody_who_approves_is_waited_for_until_wait_timeout(play: Stage) -> None:
    script = guarded(approvals=[UNAPPROVED])
    ended = await play.restore(script, policy={"waitTimeout": "72h"})
    assert (ended.status.phase, ended.status.reason) == ("Failed", "AwaitingApproval")
    assert (ended.status.message or "").startswith("Waited in vain. Every Restore needs an approval.")
    assert ended.status.started_at is not None
    assert ended.status.finished_at is not None
    assert ended.status.finished_at - ended.status.started_at >= timedelta(hours=72)
    assert script.calls.count("check_approval") <= 4, "waiting costs nothing"
    assert script.created == []


async def test_a_spent_claim_ends_it_at_once(play: Stage) -> None:
    ended = await play.restore(guarded(approvals=[SPENT]))
    assert (ended.status.phase, ended.status.reason) == ("Failed", "ApprovalInvalid")
    assert ended.condition(C.ACCEPTED) == (ConditionStatus.FALSE, "ApprovalInvalid")


async def test_an_installation_that_is_mended_is_noticed(play: Stage) -> None:
    ended = await play.restore(guarded(approvals=[UNREADABLE, UNREADABLE, UNREADABLE, APPROVED]))
    assert ended.status.phase == "Succeeded"


@pytest.mark.parametrize("way", ["succeeds", "fails", "is refused volumes"])
async def test_what_was_suspended_is_resumed_at_every_end(play: Stage, way: str) -> None:
    parts = {"replacement": RETAINED} if way == "is refused volumes" else {}
    guards = Guards(releases=("shop/web",), busy=("shop/web",), **parts)  # type: ignore[arg-type]
    script = restore_script(guards=guards, attempts=[list(FAILED)] if way == "fails" else [list(HAPPY_RESTORE)])
    ended = await play.restore(script, policy=AT_ONCE)
    assert ended.status.phase == ("Succeeded" if way == "succeeds" else "Failed")
    assert script.guards.suspended == ["suspend", "resume"]
    assert (ended.steps["SuspendReleases"], ended.steps["ResumeReleases"]) == ("Succeeded", "Succeeded")
    suspended = next(s for s in ended.status.steps if s.name == "SuspendReleases")
    assert suspended.message == "Suspended: shop/web. Flux was still at shop/web."


async def test_a_release_stays_suspended_while_a_person_decides(play: Stage) -> None:
    script = restore_script(guards=Guards(releases=("shop/web",)), attempts=[list(FAILED), list(HAPPY_RESTORE)])
    ended = await decided(play, script, {"attempt": 1})
    assert ended.status.phase == "Succeeded"
    assert script.guards.suspended == ["suspend", "suspend", "resume"]


async def test_what_could_be_lost_is_saved_once_and_not_again_on_a_retry(play: Stage) -> None:
    guards = Guards(holdings=FULL, safety=[list(SAVED)])
    script = restore_script(guards=guards, attempts=[list(FAILED), list(HAPPY_RESTORE)])
    ended = await decided(play, script, {"attempt": 1})
    assert ended.status.phase == "Succeeded"
    assert [name.rpartition("-safety-")[2] for name in script.guards.made] == ["1"]
    assert script.calls.count("survey_destination") == 1
    assert ended.steps["SafetyBackup"] == "Skipped"
    assert script.calls.index("create_safety_backup") < script.calls.index("create_restore")


async def test_a_backup_that_velero_s_restart_ended_is_made_anew_by_itself(play: Stage) -> None:
    again: list[list[BackupObservation | None]] = [[seen("Failed", failure_reason=RESTARTED)], list(SAVED)]
    script = guarded(holdings=FULL, safety=again)
    ended = await play.restore(script)
    assert ended.status.phase == "Succeeded"
    assert len(script.guards.made) == 2
    step = next(s for s in ended.status.steps if s.name == "SafetyBackup")
    assert script.guards.made[1] in (step.message or "")


UNSAVED: dict[str, list[BackupObservation | None]] = {
    "failed": [seen("Failed", failure_reason="disk full")],
    "failed in part": [seen("PartiallyFailed", errors=1)],
    "deleted": [None],
}


@pytest.mark.parametrize("how", UNSAVED)
async def test_without_the_backup_nothing_is_touched_and_a_person_decides(play: Stage, how: str) -> None:
    script = restore_script(
        guards=Guards(holdings=FULL, safety=[list(UNSAVED[how]), list(SAVED)], replacement=REPLACED),
        problems=("shop: pvc data: timed out",),
    )
    ended = await decided(play, script, {"attempt": 1})
    assert ended.status.phase == "Succeeded"
    first = ended.status.attempts[0]
    assert (first.number, first.outcome, first.reason) == (1, "Failed", "SafetyBackupFailed")
    assert len(script.guards.made) == 2
    assert len(script.guards.deleted) == 1
    assert len(script.created) == 1


async def test_a_person_may_go_on_without_it(play: Stage) -> None:
    script = guarded(holdings=FULL, safety=[list(UNSAVED["failed"])])
    ended = await decided(play, script, {"attempt": 1, "skip": "SafetyBackup"})
    assert ended.status.phase == "Succeeded"
    assert len(script.guards.made) == 1
    assert ended.steps["SafetyBackup"] == "Skipped"


async def test_volumes_that_the_safety_backup_lacks_stay_until_a_person_goes_on_without_it(play: Stage) -> None:
    script = guarded(holdings=FULL, safety=[list(SAVED)], replacement=UNSAFE)
    manifest = backup(**restore_parts())
    with play.environment.with_time_skipping_disabled():
        handle = await play.start(script, manifest)
        await until(play, manifest, "AwaitingDecision", 1)
        script.guards.replacement = REPLACED
        await handle.execute_update("retry", {"attempt": 1, "skip": "SafetyBackup"}, result_type=str)
        ended = await play.ended(handle, manifest)
    assert ended.status.phase == "Succeeded"
    assert ended.status.attempts[0].reason == "SafetyBackupFailed"
    assert script.guards.saved_as == [script.guards.made[0], None]
    assert script.guards.deleted == [REPLACED]


async def test_volumes_make_room_after_the_backup_and_before_the_restore(play: Stage) -> None:
    script = guarded(holdings=FULL, safety=[list(SAVED)], replacement=REPLACED)
    ended = await play.restore(script)
    assert ended.status.phase == "Succeeded"
    order = ["create_safety_backup", "delete_replaced", "create_restore"]
    assert sorted(order, key=script.calls.index) == order
    assert script.guards.deleted == [REPLACED]
    step = next(s for s in ended.status.steps if s.name == "ReplaceVolumes")
    assert step.message == "Deleted, to be replaced: data with Deployment web."


async def test_what_does_not_go_fails_the_attempt_and_says_where_to_look(play: Stage) -> None:
    script = guarded(replacement=REPLACED)
    script.before = {"delete_replaced": iter(always(unavailable(timedelta(minutes=6))))}
    ended = await play.restore(script, policy=AT_ONCE)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "CleanupFailed")
    assert "kubectl get pods,persistentvolumeclaims -n shop" in (ended.status.message or "")
    assert script.created == []


async def test_what_was_approved_once_holds_for_the_next_attempt(play: Stage) -> None:
    guards = Guards(approvals=[APPROVED])
    script = restore_script(guards=guards, attempts=[list(FAILED), list(HAPPY_RESTORE)])
    ended = await decided(play, script, {"attempt": 1})
    assert ended.status.phase == "Succeeded"
    assert ended.status.approval == APPROVAL


async def test_a_backup_that_asks_for_an_approval_waits_for_it(play: Stage) -> None:
    script = Script(guards=Guards(approvals=[UNAPPROVED, UNAPPROVED, APPROVED]))
    manifest = backup(approvals={"required": True})
    with play.environment.with_time_skipping_disabled():
        handle = await play.start(script, manifest)
        await until(play, manifest, "AwaitingApproval")
        assert script.created == []
        await handle.signal("spec_changed")
        ended = await play.ended(handle, manifest)
    assert ended.status.phase == "Succeeded"
    assert ended.status.approval == APPROVAL
    assert ended.steps["AwaitApproval"] == "Succeeded"


async def test_a_backup_that_asks_for_none_does_not_speak_of_it(play: Stage) -> None:
    script = Script()
    ended = await play.run(script)
    assert "AwaitApproval" not in ended.steps
    assert "check_approval" not in script.calls


@pytest.mark.parametrize("place", ["b", "s", "d"])
async def test_what_is_made_anew_while_it_waits_was_not_agreed_to(play: Stage, place: str) -> None:
    agreed = ("b", "s", "d")
    anew = tuple(f"another-{uid}" if uid == place else uid for uid in agreed)
    script = guarded(identities=[agreed, anew], replacement=REPLACED)
    ended = await play.restore(script, policy=AT_ONCE)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "ConsentMissing")
    assert "was made anew while this Operation waited" in (ended.status.message or "")
    assert (script.guards.deleted, script.created) == ([], [])


async def test_a_destination_that_was_made_for_it_is_the_one_that_was_agreed_to(play: Stage) -> None:
    script = guarded(creates_destination=True, identities=[("b", "s", ""), ("b", "s", "d")])
    assert (await play.restore(script)).status.phase == "Succeeded"


async def test_consent_is_asked_again_right_before_the_restore(play: Stage) -> None:
    script = guarded(consents=[AGREED, AGREED, NO_CONSENT])
    ended = await play.restore(script, policy=AT_ONCE)
    assert ended.status.reason == "ConsentMissing"
    assert script.created == []


async def test_where_nothing_was_to_be_saved_a_retry_does_not_save_its_leftovers(play: Stage) -> None:
    script = restore_script(guards=Guards(), attempts=[list(FAILED), list(HAPPY_RESTORE)])
    script.on_call["create_restore"] = lambda: setattr(script.guards, "holdings", FULL)
    ended = await decided(play, script, {"attempt": 1})
    assert ended.status.phase == "Succeeded"
    assert script.guards.made == []


async def test_a_backup_that_cannot_even_be_begun_is_a_failed_one(play: Stage) -> None:
    script = guarded(holdings=FULL)
    script.before = {"create_safety_backup": iter(always(unavailable(timedelta(hours=1))))}
    ended = await play.restore(script, policy=AT_ONCE)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "SafetyBackupFailed")
    assert script.created == []


async def test_who_is_asked_about_a_failed_backup_is_told_how_to_go_on_without_it(play: Stage) -> None:
    script = guarded(holdings=FULL, safety=[list(UNSAVED["failed"])])
    manifest = backup(**restore_parts())
    with play.environment.with_time_skipping_disabled():
        handle = await play.start(script, manifest)
        await until(play, manifest, "AwaitingDecision", 1)
        asked = play.api.statuses[manifest["metadata"]["uid"]][-1]
        await handle.execute_update("abort", {"attempt": 1}, result_type=str)
        await play.ended(handle, manifest)
    assert "vop retry shop/restore --skip SafetyBackup" in (asked.message or "")

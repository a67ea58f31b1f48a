"""A Reset of a Restore to any point: never into an attempt that another run began, and nothing is forgotten."""

from typing import Any

import pytest
from support.guards import APPROVED, FULL, REPLACED, Guards
from support.runs import Ended, Stage, backup, check_promises, restore_parts
from support.scripted import Script, seen
from support.scripted_restores import HAPPY_RESTORE, UNREADY, observed, restore_script

from operation_engine.domain.velero import BackupObservation

pytestmark = pytest.mark.asyncio(loop_scope="session")

AT_ONCE = {"decisionTimeout": "0s"}
FAILED = [observed("Failed", failure_reason="disk full")]
SAVED: list[BackupObservation | None] = [seen("Completed", items_done=3, items_total=3)]
BEFORE_THE_ATTEMPT = [None, "claim_operation", "admit_operation", "find_backup", "check_consent", "check_approval"]
IN_THE_ATTEMPT = [
    "begin_attempt",
    "suspend_releases",
    "survey_destination",
    "create_safety_backup",
    "follow_backup",
    "verify_backup",
    "plan_replacement",
    "delete_replaced",
]


def guarded() -> Script:
    """Fails once; everything that comes before a Velero Restore has something to do."""
    guards = Guards(
        releases=("shop/web",),
        holdings=FULL,
        safety=[[*SAVED, *SAVED], list(SAVED)],
        replacement=REPLACED,
        approvals=[APPROVED],
    )
    return restore_script(guards=guards, attempts=[list(FAILED), list(HAPPY_RESTORE)])


async def failed(play: Stage, script: Script, **parts: Any) -> tuple[dict[str, Any], Ended]:
    manifest = backup(**restore_parts(policy=AT_ONCE, **parts))
    ended = await play.ended(await play.start(script, manifest), manifest)
    assert ended.status.phase == "Failed"
    return manifest, ended


async def again(play: Stage, manifest: dict[str, Any], before: Ended, after: str | None) -> Ended:
    """Reset to the task that follows the end of an activity, to the new run's end."""
    await play.reset(before.ref, after)
    ended = await play.ended(play.latest(before.ref), manifest)
    check_promises(ended)
    return ended


@pytest.mark.parametrize("after", [*BEFORE_THE_ATTEMPT, *IN_THE_ATTEMPT])
async def test_wherever_it_is_reset_to_a_new_attempt_goes_through_all_that_comes_before_a_restore(
    play: Stage, after: str | None
) -> None:
    script, cleanup = guarded(), {"cleanup": "DeleteRestored"}
    manifest, before = await failed(play, script, name=f"r-{(after or 'first').replace('_', '-')}", parameters=cleanup)
    (first,) = script.created
    calls = len(script.calls)
    ended = await again(play, manifest, before, after)
    assert ended.status.phase == "Succeeded", ended.status.message
    told = [(a.number, a.cause, a.outcome) for a in ended.status.attempts]
    assert told == [(1, "Initial", "Failed"), (2, "Reset", "Succeeded")]
    assert len(script.created) == 2
    assert script.drained[0] == (first,), "what the attempt before made is waited for"
    new = script.calls[calls:]
    order = ["drain_restores", "suspend_releases", "create_safety_backup", "delete_leftovers", "delete_replaced"]
    last = [len(new) - 1 - new[::-1].index(verb) for verb in (*order, "create_restore")]
    assert last == sorted(last)
    assert new.count("delete_leftovers") == 1
    assert len(script.guards.made) == 2, "the destination may have changed since the first safety backup"
    assert script.guards.saved_as[-1] == script.guards.made[1]
    assert script.guards.suspended[-1] == "resume"


@pytest.mark.parametrize("after", [None, "find_backup", "begin_attempt", "create_restore"])
async def test_what_is_known_of_an_operation_is_kept_in_every_status_after_a_reset(
    play: Stage, after: str | None
) -> None:
    script = guarded()
    script.attempts = [[*FAILED, *FAILED], list(FAILED)]
    manifest, before = await failed(play, script, name=f"k-{(after or 'first').replace('_', '-')}")
    assert before.status.approval is not None
    assert before.status.outputs is not None
    ended = await again(play, manifest, before, after)
    for status in ended.history[len(before.history) :]:
        assert status.approval == before.status.approval
        assert status.outputs is not None
        assert status.outputs.backup_name == before.status.outputs.backup_name
        assert status.engine_ref is not None


async def test_a_reset_to_a_check_repeats_that_check_alone(play: Stage) -> None:
    script = restore_script(checks={"await_workloads": [UNREADY]})
    manifest, before = await failed(play, script, name="checks-again")
    assert before.status.reason == "VerificationFailed"
    ended = await again(play, manifest, before, "verify_contents")
    assert ended.status.phase == "Succeeded"
    assert (len(script.created), script.drained) == (1, [])


async def test_a_reset_into_an_attempt_that_others_came_after_begins_another_one(play: Stage) -> None:
    script = restore_script(attempts=[[*FAILED, *FAILED], list(FAILED), list(HAPPY_RESTORE)])
    manifest, before = await failed(play, script, name="long-ago")
    await again(play, manifest, before, None)
    assert len(script.created) == 2
    script.attempts[1].extend(FAILED)
    ended = await again(play, manifest, before, None)
    assert [a.cause for a in ended.status.attempts] == ["Initial", "Reset", "Reset"]
    assert script.drained[-1] == tuple(script.created[:2])


async def test_a_restore_that_others_came_after_is_not_followed_again(play: Stage) -> None:
    """The UI offers every run for a Reset, the oldest too."""
    script = restore_script(attempts=[list(FAILED), [*FAILED, *FAILED], list(HAPPY_RESTORE)])
    manifest, before = await failed(play, script, name="oldest-run")
    assert before.status.workflow is not None
    await again(play, manifest, before, None)
    await play.reset(before.ref, "create_restore", run_id=before.status.workflow.run_id)
    ended = await play.ended(play.latest(before.ref), manifest)
    check_promises(ended)
    assert ended.status.phase == "Succeeded", ended.status.message
    assert [(a.cause, a.outcome) for a in ended.status.attempts] == [
        ("Initial", "Failed"),
        ("Reset", "Failed"),
        ("Reset", "Succeeded"),
    ]


@pytest.mark.parametrize("after", ["follow_restore", "verify_contents"])
async def test_what_others_may_have_undone_since_is_not_verified_again(play: Stage, after: str) -> None:
    script = restore_script(
        attempts=[[HAPPY_RESTORE[-1]], list(FAILED), list(HAPPY_RESTORE)], checks={"await_workloads": [UNREADY]}
    )
    manifest, before = await failed(play, script, name=f"undone-{after.replace('_', '-')}")
    assert before.status.workflow is not None
    await again(play, manifest, before, None)
    await play.reset(before.ref, after, run_id=before.status.workflow.run_id)
    ended = await play.ended(play.latest(before.ref), manifest)
    check_promises(ended)
    assert ended.status.phase == "Succeeded", ended.status.message
    assert [a.cause for a in ended.status.attempts] == ["Initial", "Reset", "Reset"]
    assert len(script.created) == 3

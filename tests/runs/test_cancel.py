"""Somebody cancels, in every phase: what is finished first, what is let go of, and what is told."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import pytest
from support.guards import APPROVED, FULL, REPLACED, UNAPPROVED, Guards
from support.runs import Ended, Stage, backup, check_promises, restore_parts
from support.scripted import HAPPY, UNAVAILABLE_LOCATION, Script, phases, seen
from support.scripted_restores import HAPPY_RESTORE, observed, restore_script
from temporalio import activity
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle

from operation_engine.domain.cancelling import Remnant
from operation_engine.domain.identity import OperationRef
from operation_engine.domain.resources.operation_status import OperationStatus
from operation_engine.runtime.kubernetes import OPERATIONS

pytestmark = pytest.mark.asyncio(loop_scope="session")

WITHIN_S = 30
LETTING_GO = {"write_report", "drain", "resume_releases"}
COMPLETED = Remnant(kind="Backup", name="b-main-1", role="main", phase="Completed", ended=True)


async def hang() -> NoReturn:
    """As a real wait does, until it hears that it is called off."""
    while True:
        activity.heartbeat()
        await asyncio.sleep(0.1)


class Cancelling:
    """A run that is cancelled at one moment; the handle is known only once it has started."""

    def __init__(self, play: Stage, script: Script, manifest: dict[str, Any]) -> None:
        self.play, self.script, self.manifest = play, script, manifest
        meta = manifest["metadata"]
        self.ref = OperationRef(namespace=meta["namespace"], name=meta["name"], uid=meta["uid"])

    @property
    def handle(self) -> WorkflowHandle[Any, OperationStatus]:
        return self.play.latest(self.ref)

    async def cancel(self) -> None:
        await self.handle.cancel()

    async def cancel_and_hang(self) -> None:
        await self.handle.cancel()
        await hang()

    async def until(self, reason: str) -> None:
        await self.play.api.until(self.ref.uid, lambda status: status.reason == reason, WITHIN_S)

    async def ended(self, *, during: str | None = None, hangs: bool = False, at: str | None = None) -> Ended:
        """Cancelled while an activity is under way, or once the status gives a reason."""
        if during is not None:
            way: Callable[[], Awaitable[None]] = self.cancel_and_hang if hangs else self.cancel
            self.script.meanwhile[during] = way
        with self.play.environment.with_time_skipping_disabled():
            handle = await self.play.start(self.script, self.manifest)
            if at is not None:
                await self.until(at)
                await handle.cancel()
            async with asyncio.timeout(WITHIN_S):
                ended = await self.play.ended(handle, self.manifest)
        check_promises(ended)
        return ended

    async def ends_cancelled(self, **how: Any) -> Ended:
        ended = await self.ended(**how)
        status = ended.status
        assert (status.phase, status.reason) == ("Cancelled", "CancelledByUser"), status.message
        assert (await self.handle.describe()).status == WorkflowExecutionStatus.CANCELED
        assert [a.outcome for a in status.attempts] in ([], ["Cancelled"], ["Failed"], ["Failed", "Cancelled"])
        struck = how.get("during")
        if struck is not None:
            # The last call of the struck activity, or its only one, is followed by letting go and nothing else.
            after = self.script.calls[self.script.calls.index(struck) + 1 :]
            assert set(after) <= LETTING_GO, after
        assert ("drain" in self.script.calls) == bool(status.attempts)
        return ended


async def cancelling(play: Stage, script: Script, **parts: Any) -> Cancelling:
    return Cancelling(play, script, backup(**parts))


AT_GATES = ["claim_operation", "admit_operation", "check_storage_location"]


@pytest.mark.parametrize("during", AT_GATES)
async def test_a_backup_cancelled_at_a_gate_ends_at_once_and_nothing_was_made(play: Stage, during: str) -> None:
    script = Script()
    run = await cancelling(play, script, name=f"cancel-{during.replace('_', '-')}")
    ended = await run.ends_cancelled(during=during)
    assert script.created == []
    assert ended.status.message == "Cancelled before anything was done."


async def test_a_wait_is_not_waited_for(play: Stage) -> None:
    script = Script(locations=[UNAVAILABLE_LOCATION])
    run = await cancelling(play, script, name="cancel-waiting")
    ended = await run.ends_cancelled(at="StorageLocationUnavailable")
    assert ended.reasons[-2:] == ["StorageLocationUnavailable", "CancelledByUser"]
    assert script.created == []


async def test_a_wait_for_an_approval_ends_at_once(play: Stage) -> None:
    script = Script(guards=Guards(approvals=[UNAPPROVED, UNAPPROVED]))
    run = await cancelling(play, script, name="cancel-unapproved", approvals={"required": True})
    await run.ends_cancelled(at="AwaitingApproval")
    assert script.created == []


async def test_what_is_being_created_is_created_and_then_let_go_of(play: Stage) -> None:
    script = Script(remnants=(COMPLETED,))
    run = await cancelling(play, script, name="cancel-creating")
    ended = await run.ends_cancelled(during="create_backup")
    assert len(script.created) == 1
    assert ended.status.outputs is not None
    assert ended.status.outputs.backup_name == script.created[0], "what stays is named"
    assert ended.status.message == "Cancelled. Velero Backup b-main-1 is Completed, was not checked, and stays."
    assert ended.steps["CreateBackup"] == "Succeeded"


@pytest.mark.parametrize("during", ["follow_backup", "verify_backup", "explain_backup"])
async def test_velero_s_work_is_let_go_of(play: Stage, during: str) -> None:
    is_partial = during == "explain_backup"
    attempt = [*phases("New", "InProgress"), seen("PartiallyFailed", errors=1)] if is_partial else list(HAPPY)
    script = Script(attempts=[attempt])
    run = await cancelling(play, script, name=f"cancel-{during.replace('_', '-')}")
    ended = await run.ends_cancelled(during=during, hangs=True)
    told = [status.message for status in ended.history if "Cancel was asked for" in (status.message or "")]
    assert told, "while Velero is waited for"
    assert (
        {"FollowBackup": "Skipped", "VerifyBackup": "Skipped"}.items() <= ended.steps.items()
        or is_partial
        or (ended.steps["VerifyBackup"] == "Skipped")
    )


async def test_awaiting_a_decision_it_ends_at_once_and_names_what_is_left(play: Stage) -> None:
    left = Remnant(kind="Restore", name="r-main-1", role="main", phase="PartiallyFailed", ended=True)
    script = restore_script(attempts=[[observed("PartiallyFailed", errors=1)]], remnants=(left,))
    run = await cancelling(play, script, **restore_parts(name="cancel-deciding"))
    ended = await run.ends_cancelled(at="AwaitingDecision")
    assert [(a.outcome, a.reason) for a in ended.status.attempts] == [("Failed", "VeleroRestorePartiallyFailed")]
    assert "what it restored stays, with the label velero.io/restore-name=r-main-1" in (ended.status.message or "")
    assert ended.steps["FollowRestore"] == "Failed"


RESTORING = {
    "claim_operation": (),
    "admit_operation": (),
    "find_backup": (),
    "check_consent": (),
    "begin_attempt": ("resume",),
    "suspend_releases": ("suspend", "resume"),
    "survey_destination": ("suspend", "resume"),
    "create_safety_backup": ("suspend", "resume"),
    "plan_replacement": ("suspend", "resume"),
    "delete_replaced": ("suspend", "resume"),
    "create_restore": ("suspend", "resume"),
}
READING = ["follow_backup", "verify_backup", "follow_restore", "verify_contents", "await_workloads", "await_volumes"]


def guarded_restore(**parts: Any) -> Script:
    saved = [seen("InProgress"), seen("Completed", items_done=3, items_total=3)]
    guards = Guards(releases=("shop/web",), holdings=FULL, safety=[saved], replacement=REPLACED)
    return restore_script(guards=guards, attempts=[list(HAPPY_RESTORE)], **parts)


@pytest.mark.parametrize("during", RESTORING)
async def test_a_step_of_a_restore_is_finished_and_flux_goes_on(play: Stage, during: str) -> None:
    script = guarded_restore()
    run = await cancelling(play, script, **restore_parts(name=f"cancel-{during.replace('_', '-')}"))
    ended = await run.ends_cancelled(during=during)
    assert tuple(script.guards.suspended) == RESTORING[during]
    assert len(script.created) == (1 if during == "create_restore" else 0)
    if during == "delete_replaced":
        assert "Deleted, to be replaced: data with Deployment web. They were not restored." in (
            ended.status.message or ""
        )


@pytest.mark.parametrize("during", READING)
async def test_a_restore_s_waits_and_checks_are_not_waited_for(play: Stage, during: str) -> None:
    script = guarded_restore()
    run = await cancelling(play, script, **restore_parts(name=f"cancel-{during.replace('_', '-')}"))
    ended = await run.ends_cancelled(during=during, hangs=True)
    assert tuple(script.guards.suspended) == ("suspend", "resume")
    assert ended.steps["ResumeReleases"] == "Succeeded"
    assert script.calls.index("drain") < script.calls.index("resume_releases")


@pytest.mark.parametrize("during", ["drain_restores", "delete_leftovers"])
async def test_what_is_cleaned_up_before_a_retry_is_cleaned_up_to_the_end(play: Stage, during: str) -> None:
    script = restore_script(attempts=[[observed("Failed", failure_reason="disk full")], list(HAPPY_RESTORE)])
    parts = restore_parts(name=f"cancel-{during.replace('_', '-')}", parameters={"cleanup": "DeleteRestored"})
    run = await cancelling(play, script, **parts)
    script.meanwhile[during] = run.cancel if during == "delete_leftovers" else run.cancel_and_hang
    with play.environment.with_time_skipping_disabled():
        handle = await play.start(script, run.manifest)
        await run.until("AwaitingDecision")
        await handle.signal("retry", {"attempt": 1})
        ended = await play.ended(handle, run.manifest)
    check_promises(ended)
    assert ended.status.phase == "Cancelled"
    assert [a.outcome for a in ended.status.attempts] == ["Failed", "Cancelled"]
    assert (ended.steps["CleanUp"] == "Succeeded") == (during == "delete_leftovers")
    assert len(script.created) == 1


@pytest.mark.parametrize("during", ["resume_releases", "write_report"])
async def test_a_cancel_in_the_last_moment_comes_too_late(play: Stage, during: str) -> None:
    script = guarded_restore()
    run = await cancelling(play, script, **restore_parts(name=f"late-{during.replace('_', '-')}"))
    ended = await run.ended(during=during)
    assert (ended.status.phase, ended.status.reason) == ("Succeeded", "VeleroRestoreCompleted")
    assert ended.condition_of("Cancelled") == "False"
    assert (await run.handle.describe()).status == WorkflowExecutionStatus.COMPLETED


async def test_a_backup_that_failed_is_failed_whoever_cancelled_since(play: Stage) -> None:
    script = Script(attempts=[phases("InProgress", "Failed")])
    run = await cancelling(play, script, name="late-failed")
    ended = await run.ended(during="write_report")
    assert (ended.status.phase, ended.status.reason) == ("Failed", "VeleroBackupFailed")


async def test_cancelled_twice_it_is_cancelled_once(play: Stage) -> None:
    script = Script()
    run = await cancelling(play, script, name="cancel-twice")

    async def again() -> None:
        await run.handle.cancel()

    script.meanwhile["drain"] = again
    ended = await run.ends_cancelled(during="follow_backup", hangs=True)
    assert ended.event_reasons.count("OperationCancelled") == 1


async def test_cancelled_from_the_start_it_does_nothing_but_wait_for_the_word(play: Stage) -> None:
    script = Script()
    run = await cancelling(play, script, name="cancel-born", cancel=True)
    with play.environment.with_time_skipping_disabled():
        handle = await play.start(script, run.manifest)
        await run.until("Pending")
        await asyncio.sleep(0.5)  # nothing is to happen, which has no event
        assert script.calls == ["claim_operation"]
        await handle.cancel()
        ended = await play.ended(handle, run.manifest)
    check_promises(ended)
    assert ended.status.phase == "Cancelled"
    assert script.calls == ["claim_operation", "write_report"]


@pytest.mark.parametrize("asked", [True, False])
async def test_an_operation_that_is_gone_is_let_go_of_without_a_word(play: Stage, asked: bool) -> None:
    script = guarded_restore()
    run = await cancelling(play, script, **restore_parts(name=f"cancel-gone-{asked}".lower()))

    async def gone() -> None:
        play.api.remove(OPERATIONS, run.ref.name, run.ref.namespace)
        if asked:
            await run.cancel_and_hang()

    script.meanwhile["follow_restore"] = gone
    with play.environment.with_time_skipping_disabled():
        handle = await play.start(script, run.manifest)
        async with asyncio.timeout(WITHIN_S):
            with pytest.raises(WorkflowFailureError):
                await handle.result()
        wanted = WorkflowExecutionStatus.CANCELED if asked else WorkflowExecutionStatus.FAILED
        assert (await handle.describe()).status == wanted
    assert tuple(script.guards.suspended) == ("suspend", "resume")
    assert script.calls.count("drain") == 1
    assert script.calls.index("drain") < script.calls.index("resume_releases")


@pytest.mark.parametrize("during", ["follow_restore", "create_restore"])
async def test_a_reset_opens_a_cancelled_operation_again(play: Stage, during: str) -> None:
    script = restore_script(guards=Guards(releases=("shop/web",)))
    script.attempts = [[] if during == "follow_restore" else list(HAPPY_RESTORE), list(HAPPY_RESTORE)]
    run = await cancelling(play, script, **restore_parts(name=f"reset-{during.replace('_', '-')}"))
    await run.ends_cancelled(during=during, hangs=during == "follow_restore")
    with play.environment.with_time_skipping_disabled():
        await play.reset(run.ref, None)
        async with asyncio.timeout(WITHIN_S):
            ended = await play.ended(play.latest(run.ref), run.manifest)
    assert ended.status.phase == "Succeeded"
    assert ended.condition_of("Cancelled") == "False"
    assert [a.outcome for a in ended.status.attempts] == ["Cancelled", "Succeeded"]
    assert script.guards.suspended == ["suspend", "resume", "suspend", "resume"]


async def test_an_approval_in_the_same_moment_changes_nothing(play: Stage) -> None:
    script = Script(guards=Guards(approvals=[UNAPPROVED, UNAPPROVED, APPROVED]))
    run = await cancelling(play, script, name="cancel-approved", approvals={"required": True})
    with play.environment.with_time_skipping_disabled():
        handle = await play.start(script, run.manifest)
        await run.until("AwaitingApproval")
        await handle.cancel()
        await handle.signal("spec_changed")
        ended = await play.ended(handle, run.manifest)
    assert ended.status.phase == "Cancelled"
    assert script.created == []

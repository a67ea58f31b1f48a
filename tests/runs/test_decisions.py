"""Failed work waits for a person: what is shown meanwhile, which answers count, and what follows from them."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from support.guards import Guards
from support.runs import Ended, Stage, backup, check_promises, restore_parts
from support.scripted import EMPTY, HAPPY, Script, always, phases, seen, unavailable
from support.scripted_restores import HAPPY_RESTORE, NOTHING_CAME, observed, restore_script
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from operation_engine.domain.admission import refuse
from operation_engine.domain.identity import OperationRef
from operation_engine.domain.resources.conditions import ConditionStatus, ConditionType
from operation_engine.domain.resources.operation import Operation
from operation_engine.domain.resources.operation_status import OperationStatus
from operation_engine.domain.resources.reasons import Reason
from operation_engine.runtime.kubernetes import OPERATIONS

pytestmark = pytest.mark.asyncio(loop_scope="session")

C = ConditionType
PARTIAL = observed("PartiallyFailed", errors=1)
WITHIN_S = 20
AN_HOUR = timedelta(hours=1)


class Asking:
    """An Operation that waits for a decision."""

    def __init__(self, play: Stage, handle: WorkflowHandle[Any, OperationStatus], manifest: dict[str, Any]) -> None:
        self.play, self.handle, self._manifest = play, handle, manifest
        meta = manifest["metadata"]
        self.ref = OperationRef(namespace=meta["namespace"], name=meta["name"], uid=meta["uid"])

    async def status(self) -> OperationStatus:
        meta = self._manifest["metadata"]
        return Operation.from_api(await self.play.api.get(OPERATIONS, meta["name"], meta["namespace"])).status

    async def asked(self, attempt: int = 1) -> OperationStatus:
        """Wait until this attempt is asked about."""
        uid = self._manifest["metadata"]["uid"]
        await self.play.api.until(
            uid, lambda status: status.reason == "AwaitingDecision" and status.attempt == attempt, WITHIN_S
        )
        return await self.status()

    async def details(self) -> str:
        metadata = await self.handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
        return str(metadata.current_details)

    async def refused(self, update: str, *payload: Any) -> str:
        """The one sentence that a refused Update is answered with."""
        with pytest.raises(WorkflowUpdateFailedError) as caught:
            await self.handle.execute_update(update, args=payload)
        cause = caught.value.cause
        assert isinstance(cause, ApplicationError)
        assert cause.type == "Refused"
        assert not cause.failure or not cause.failure.stack_trace
        return cause.message

    async def ended(self) -> Ended:
        ended = await self.play.ended(self.handle, self._manifest)
        check_promises(ended)
        return ended


@asynccontextmanager
async def asking(play: Stage, script: Script, **parts: Any) -> AsyncIterator[Asking]:
    """A Restore whose first attempt failed; time passes as it does for people."""
    manifest = backup(**restore_parts(**parts))
    with play.environment.with_time_skipping_disabled():
        asked = Asking(play, await play.start(script, manifest), manifest)
        await asked.asked()
        yield asked


def failing_then_fine() -> Script:
    script = restore_script(attempts=[[observed("InProgress"), PARTIAL], list(HAPPY_RESTORE)])
    script.problems = ('pods "web-1" is forbidden: quota | `x`',)
    return script


async def test_failed_work_is_shown_with_its_cause_and_the_way_on(play: Stage) -> None:
    async with asking(play, failing_then_fine(), name="shown") as asked:
        status = await asked.status()
        assert (status.phase, status.reason) == ("Running", "AwaitingDecision")
        message = status.message or ""
        assert message.startswith("Attempt 1 failed (VeleroRestorePartiallyFailed): Velero Restore shown-")
        assert 'pods "web-1" is forbidden' in message
        assert "kubectl annotate operation shown -n shop ops.vworkspace.io/retry=1" in message
        found = {c.type: (c.status, c.reason) for c in status.conditions}
        assert found[C.BLOCKED] == (ConditionStatus.TRUE, "AwaitingDecision")
        assert found[C.SUCCEEDED][0] == ConditionStatus.UNKNOWN
        assert C.STALLED not in found
        assert [(a.outcome, a.reason) for a in status.attempts] == [("Failed", "VeleroRestorePartiallyFailed")]
        assert {s.name: s.state for s in status.steps}["FollowRestore"] == "Failed"
        details = await asked.details()
        assert details.startswith("**Running** · `AwaitingDecision` · attempt 1")
        assert "is forbidden: quota / 'x'" in details
        assert '```json\n{\n  "attempt": 1\n}\n```' in details
        assert details.index("is forbidden") < details.index("Send an Update") < details.index("1. Admit")
        await asked.handle.signal("abort", {"attempt": 1})
        await asked.ended()


@pytest.mark.parametrize("how", ["update", "signal"])
async def test_a_retry_is_a_new_attempt_and_the_first_one_s_outcome_is_kept(play: Stage, how: str) -> None:
    script = failing_then_fine()
    async with asking(play, script, name=f"retry-by-{how}") as asked:
        if how == "update":
            assert await asked.handle.execute_update("retry", {"attempt": 1, "by": "ann"}) == "It is tried again."
        else:
            await asked.handle.signal("retry", {"attempt": 1, "by": "ann"})
        ended = await asked.ended()
    status = ended.status
    assert (status.phase, status.attempt) == ("Succeeded", 2)
    assert [(a.cause, a.outcome, a.reason) for a in status.attempts] == [
        ("Initial", "Failed", "VeleroRestorePartiallyFailed"),
        ("Human", "Succeeded", "VeleroRestoreCompleted"),
    ]
    assert len(set(script.created)) == 2
    assert status.decision is not None
    assert (status.decision.attempt, status.decision.verb, status.decision.by) == (1, "retry", "unverified:ann")
    assert ended.condition(C.BLOCKED) == (ConditionStatus.FALSE, "NotBlocked")
    assert script.calls.count("find_backup") == 2


@pytest.mark.parametrize("how", ["update", "signal"])
async def test_an_abort_ends_it_as_failed_and_says_who(play: Stage, how: str) -> None:
    script = failing_then_fine()
    async with asking(play, script, name=f"abort-by-{how}") as asked:
        act = asked.handle.execute_update if how == "update" else asked.handle.signal
        await act("abort", {"attempt": 1, "by": "bob"})
        ended = await asked.ended()
    assert (ended.status.phase, ended.status.reason) == ("Failed", "AbortedByUser")
    assert "Aborted by unverified:bob after attempt 1 had failed (VeleroRestorePartiallyFailed)" in (
        ended.status.message or ""
    )
    assert [(a.outcome, a.reason) for a in ended.status.attempts] == [("Failed", "VeleroRestorePartiallyFailed")]
    assert len(script.created) == 1


NONSENSE: list[Any] = [None, "", "retry", 0, [], {}, {"attempt": 2}, {"attempt": "two"}, {"attempt": 1, "x": 1}, True]


async def test_whatever_is_typed_into_an_update_is_refused_in_one_sentence(play: Stage) -> None:
    async with asking(play, failing_then_fine(), name="typed-updates") as asked:
        for payload in NONSENSE:
            text = await asked.refused("retry", payload)
            assert json.loads(text.partition("Send: ")[2]) == {"attempt": 1}, text
        assert "Nothing was sent" in await asked.refused("abort")
        assert "a decision must name the attempt" in await asked.refused("retry", {"attempt": 1}, "and more")
        assert (await asked.status()).reason == "AwaitingDecision"
        await asked.handle.execute_update("abort", {"attempt": 1})
        await asked.ended()


async def test_whatever_is_typed_into_a_signal_is_refused_at_the_top_of_the_details(play: Stage) -> None:
    async with asking(play, failing_then_fine(), name="typed-signals") as asked:
        for payload in NONSENSE:
            await asked.handle.signal("retry", payload)
        await asked.handle.signal("retry")
        await asked.handle.signal("retry", args=[{"attempt": 1}, "and more"])
        await asked.handle.signal("retry", args=["and", {"attempt": 1}])
        await asked.handle.signal("no-such-signal", {"attempt": 1})
        details = await asked.details()
        assert details.startswith("**`Signal retry refused: ")
        assert details.count("Signal retry refused") == 3, "the last ones only"
        assert (await asked.status()).reason == "AwaitingDecision"
        await asked.handle.signal("retry", {"attempt": 1})
        ended = await asked.ended()
    assert ended.status.phase == "Succeeded"
    assert "refused" not in ended.details


async def test_a_decision_too_early_or_too_late_is_refused_and_harms_nothing(play: Stage) -> None:
    script = restore_script(attempts=[[PARTIAL], [PARTIAL], list(HAPPY_RESTORE)])
    async with asking(play, script, name="stale") as asked:
        await asked.handle.signal("retry", {"attempt": 1})
        await asked.asked(2)
        assert "Attempt 1 does not wait for a decision: attempt 2 does" in await asked.refused("retry", {"attempt": 1})
        await asked.handle.signal("abort", {"attempt": 1})
        await asked.handle.signal("retry", {"attempt": 1})
        details = await asked.details()
        assert details.count("refused") == 1, "the same decision once more is no news"
        assert "Signal abort refused: Attempt 1 does not wait" in details
        await asked.handle.execute_update("retry", {"attempt": 2})
        ended = await asked.ended()
    assert [a.outcome for a in ended.status.attempts] == ["Failed", "Failed", "Succeeded"]
    assert len(script.created) == 3


CLEANED = {
    "Keep": ("stays (cleanup: Keep)", False),
    "DeleteRestored": ("Deleted what the attempt before created: Secret keys.", True),
}


@pytest.mark.parametrize("cleanup", CLEANED)
async def test_a_retry_first_drains_the_attempts_before_and_deletes_what_they_left_where_asked(
    play: Stage, cleanup: str
) -> None:
    says, deletes = CLEANED[cleanup]
    script = restore_script(attempts=[[PARTIAL], [PARTIAL], list(HAPPY_RESTORE)])
    async with asking(play, script, name=f"cleans-{cleanup.lower()}", parameters={"cleanup": cleanup}) as asked:
        await asked.handle.signal("retry", {"attempt": 1})
        await asked.asked(2)
        await asked.handle.signal("retry", {"attempt": 2})
        ended = await asked.ended()
    step = next(step for step in ended.status.steps if step.name == "CleanUp")
    assert says in (step.message or "")
    assert script.calls.count("delete_leftovers") == 2 * deletes
    first, second = script.created[:2]
    assert script.drained == [(first,), (first, second)]
    assert script.calls.index("drain_restores") < script.calls.index(
        "create_restore", script.calls.index("drain_restores")
    )


@pytest.mark.parametrize(("verb", "says"), [("drain_restores", "still at it"), ("delete_leftovers", "Not all of it")])
async def test_leftovers_that_do_not_go_are_a_failure_that_is_asked_about(play: Stage, verb: str, says: str) -> None:
    script = restore_script(attempts=[[PARTIAL], list(HAPPY_RESTORE)], before={verb: always(unavailable(AN_HOUR))})
    parameters, policy = {"cleanup": "DeleteRestored"}, {"waitTimeout": "10m", "decisionTimeout": "1h"}
    name = f"stuck-{verb.replace('_', '-')}"
    async with asking(play, script, name=name, parameters=parameters, policy=policy) as asked:
        await asked.handle.signal("retry", {"attempt": 1})
        status = await asked.asked(2)
        assert "Attempt 2 failed (CleanupFailed)" in (status.message or "")
        assert says in (status.message or "")
        await asked.handle.signal("abort", {"attempt": 2})
        await asked.ended()


async def test_nobody_decides_for_72_hours(play: Stage) -> None:
    script = restore_script(attempts=[[PARTIAL]], guards=Guards(releases=("web",)))
    ended = await play.restore(script, name="nobody")
    assert (ended.status.phase, ended.status.reason) == ("Failed", "DecisionTimeout")
    assert "Nobody decided for 3 days, 0:00:00 about attempt 1" in (ended.status.message or "")
    asked = next(s for s in ended.history if s.reason == "AwaitingDecision")
    assert asked.attempts[0].finished_at is not None
    assert ended.status.finished_at is not None
    assert ended.status.finished_at - asked.attempts[0].finished_at >= timedelta(hours=72)
    assert script.guards.suspended == ["suspend", "resume"], "nothing stays suspended"
    assert [(a.outcome, a.reason) for a in ended.status.attempts] == [("Failed", "VeleroRestorePartiallyFailed")]
    assert (ended.condition(C.FAILED), ended.condition(C.STALLED)) == (
        (ConditionStatus.TRUE, "DecisionTimeout"),
        (ConditionStatus.TRUE, "DecisionTimeout"),
    )
    assert ended.condition(C.BLOCKED) == (ConditionStatus.FALSE, "NotBlocked")
    assert len(script.created) == 1


async def test_a_decision_that_takes_too_long_by_the_policy_is_none(play: Stage) -> None:
    ended = await play.restore(restore_script(attempts=[[PARTIAL]]), name="impatient", policy={"decisionTimeout": "1h"})
    assert ended.status.reason == "DecisionTimeout"


WORTH_A_DECISION: dict[str, Script] = {
    "NothingRestored": restore_script(restored=[NOTHING_CAME]),
    "VeleroRestoreFailed": restore_script(attempts=[[observed("Failed", failure_reason="disk full")]]),
    "ExternalDeletion": restore_script(attempts=[[None]]),
    "HookFailed": restore_script(attempts=[[observed("PartiallyFailed", errors=1, hooks_failed=1)]]),
}


@pytest.mark.parametrize("reason", WORTH_A_DECISION)
async def test_every_failure_of_the_work_is_asked_about(play: Stage, reason: str) -> None:
    async with asking(play, WORTH_A_DECISION[reason], name=f"asks-{reason.lower()}") as asked:
        assert f"Attempt 1 failed ({reason})" in ((await asked.status()).message or "")
        await asked.handle.signal("abort", {"attempt": 1})
        await asked.ended()


async def test_a_retry_whose_backup_is_gone_by_then_is_a_failed_attempt_and_asks_again(play: Stage) -> None:
    script = restore_script(attempts=[[PARTIAL], list(HAPPY_RESTORE)])
    async with asking(play, script, name="expired") as asked:
        script.usable = refuse(Reason.BACKUP_NOT_FOUND, "there is no Velero Backup nightly")
        await asked.handle.signal("retry", {"attempt": 1})
        status = await asked.asked(2)
        assert "Attempt 2 failed (BackupNotFound)" in (status.message or "")
        accepted = next(c for c in status.conditions if c.type == C.ACCEPTED)
        assert accepted.status == ConditionStatus.TRUE
        await asked.handle.signal("abort", {"attempt": 2})
        ended = await asked.ended()
    assert [a.reason for a in ended.status.attempts] == ["VeleroRestorePartiallyFailed", "BackupNotFound"]
    assert len(script.created) == 1


async def test_a_backup_asks_too_where_its_policy_gives_time_for_it(play: Stage) -> None:
    failed = [*phases("InProgress"), seen("Failed", failure_reason="disk full")]
    script = Script(locations=Script().locations * 2, attempts=[failed, list(HAPPY)])
    manifest = backup(name="backup-asks", policy={"decisionTimeout": "1h"})
    with play.environment.with_time_skipping_disabled():
        asked = Asking(play, await play.start(script, manifest), manifest)
        status = await asked.asked()
        assert "Attempt 1 failed (VeleroBackupFailed): Velero Backup" in (status.message or "")
        await asked.handle.execute_update("retry", {"attempt": 1})
        ended = await asked.ended()
    assert ended.status.phase == "Succeeded"
    assert [(a.cause, a.outcome) for a in ended.status.attempts] == [("Initial", "Failed"), ("Human", "Succeeded")]
    assert set(ended.steps.values()) == {"Succeeded"}


async def test_a_backup_fails_at_once_where_nobody_was_to_be_asked(play: Stage) -> None:
    ended = await play.run(Script(contents=EMPTY), name="backup-does-not-ask")
    assert (ended.status.phase, ended.status.reason) == ("Failed", "VerificationFailed")
    assert "AwaitingDecision" not in ended.reasons


RESETS: dict[str | None, tuple[int, list[Any]]] = {
    None: (2, [[PARTIAL], [PARTIAL], list(HAPPY_RESTORE)]),
    "find_backup": (2, [[PARTIAL], [PARTIAL], list(HAPPY_RESTORE)]),
    "create_restore": (1, [[PARTIAL, PARTIAL], list(HAPPY_RESTORE)]),
    "follow_restore": (1, [[PARTIAL], list(HAPPY_RESTORE)]),
}


@pytest.mark.parametrize("after", RESETS)
async def test_a_reset_while_a_person_is_asked_asks_anew_and_never_restores_twice(
    play: Stage, after: str | None
) -> None:
    """To before the Velero Restore was made it is another attempt, to after it the same one."""
    attempt, answers = RESETS[after]
    script = restore_script(attempts=answers)
    async with asking(play, script, name=f"reset-asked-{(after or 'first').replace('_', '-')}") as asked:
        await asked.handle.signal("retry", {"attempt": 7})
        run_id = await play.reset(asked.ref, after)
        await play.api.until(
            asked.ref.uid,
            lambda s: s.reason == "AwaitingDecision" and s.workflow is not None and s.workflow.run_id == run_id,
            WITHIN_S,
        )
        status = await asked.status()
        assert (status.phase, status.attempt) == ("Running", attempt)
        await asked.handle.signal("retry", {"attempt": attempt})
        ended = await asked.ended()
    assert ended.status.phase == "Succeeded"
    assert len(set(script.created)) == len(ended.status.attempts) == attempt + 1


@pytest.mark.parametrize("after", [None, "create_restore", "verify_contents"])
async def test_a_succeeded_restore_is_never_reopened_by_a_reset(play: Stage, after: str | None) -> None:
    name = f"reset-done-{(after or 'first').replace('_', '-')}"
    script, manifest = restore_script(), backup(**restore_parts(name=name))
    done = await play.ended(await play.start(script, manifest), manifest)
    assert done.status.phase == "Succeeded"
    await play.reset(done.ref, after)
    with pytest.raises(WorkflowFailureError) as caught:
        await play.latest(done.ref).result()
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == "Fenced"
    assert play.api.statuses[done.ref.uid][-1] == done.status
    assert len(script.created) == 1


async def test_what_failed_attempts_created_is_deleted_only_after_everything_is_saved(play: Stage) -> None:
    script = restore_script(attempts=[[PARTIAL], list(HAPPY_RESTORE)])
    async with asking(play, script, name="saved-first", parameters={"cleanup": "DeleteRestored"}) as asked:
        await asked.handle.signal("retry", {"attempt": 1})
        await asked.ended()
    retried = script.calls[script.calls.index("drain_restores") :]
    order = ["drain_restores", "suspend_releases", "check_consent", "delete_leftovers", "plan_replacement"]
    places = [retried.index(verb) for verb in order]
    assert places == sorted(places), retried


async def test_a_restore_that_is_cancelled_in_the_temporal_ui_resumes_what_it_suspended(play: Stage) -> None:
    script = restore_script(attempts=[[observed("InProgress")]], guards=Guards(releases=("web",)))
    manifest = backup(**restore_parts(name="cancelled"))
    with play.environment.with_time_skipping_disabled():
        handle = await play.start(script, manifest)
        uid = manifest["metadata"]["uid"]
        await play.api.until(uid, lambda s: "is InProgress" in (s.message or "") or s.step == "FollowRestore", WITHIN_S)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError):
            await handle.result()
    assert script.guards.suspended == ["suspend", "resume"]

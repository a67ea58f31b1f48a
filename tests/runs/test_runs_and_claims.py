"""Whose an Operation is while runs come, go and are reset; and how a run ends whose writes are not taken."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from support.runs import Stage, backup, check_promises
from support.scripted import EMPTY, GOOD, HAPPY, SOON, Script, always, phases, seen, unavailable
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from operation_engine.domain.identity import OperationRef
from operation_engine.domain.resources.operation_status import AttemptCause
from operation_engine.runtime.kubernetes import OPERATIONS, Refused

pytestmark = pytest.mark.asyncio(loop_scope="session")


def ref_of(manifest: dict[str, Any]) -> OperationRef:
    meta = manifest["metadata"]
    return OperationRef(namespace=meta["namespace"], name=meta["name"], uid=meta["uid"])


async def fenced(play: Stage, script: Script, manifest: dict[str, Any]) -> ApplicationError:
    """Run it to its end, which must be Fenced."""
    handle = await play.start(script, manifest)
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == "Fenced"
    return caught.value.cause


async def test_a_run_whose_claim_another_workflow_took_changes_nothing_more(play: Stage) -> None:
    manifest = backup()
    script = Script()
    script.on_call["follow_backup"] = lambda: give_claim_to(play, manifest, "operation/other")
    await fenced(play, script, manifest)
    live = await play.api.get(OPERATIONS, "backup", "shop")
    assert live["status"]["phase"] == "Running"
    assert live["status"]["workflow"]["id"] == "operation/other"
    assert "write_report" not in script.calls


def give_claim_to(play: Stage, manifest: dict[str, Any], id_: str) -> None:
    live = play.api.peek(OPERATIONS, manifest["metadata"]["name"], manifest["metadata"]["namespace"])
    live["status"]["workflow"]["id"] = id_
    play.api.put(OPERATIONS, live)


async def test_a_run_whose_operation_is_deleted_ends_and_writes_nothing(play: Stage) -> None:
    manifest = backup(name="deleted")
    script = Script()
    script.on_call["verify_backup"] = lambda: play.api.remove(OPERATIONS, "deleted", "shop")
    await fenced(play, script, manifest)
    written = play.api.statuses[manifest["metadata"]["uid"]]
    assert not any(status.phase.terminal for status in written)


async def test_a_run_does_not_touch_a_namesake_of_its_operation(play: Stage) -> None:
    manifest, namesake = backup(name="again"), backup(name="again")
    script = Script()
    script.on_call["verify_backup"] = lambda: replace(play, namesake)
    await fenced(play, script, manifest)
    assert "status" not in await play.api.get(OPERATIONS, "again", "shop")


def replace(play: Stage, manifest: dict[str, Any]) -> None:
    play.api.put(OPERATIONS, manifest)


async def test_a_workflow_under_another_id_is_fenced_and_writes_nothing(play: Stage) -> None:
    manifest = backup(name="foreign-id")
    play.api.put(OPERATIONS, manifest)
    id_ = f"operation/shop/foreign-id/{uuid4()}"
    play.scripts[id_] = Script()
    with pytest.raises(WorkflowFailureError) as caught:
        await play.client.execute_workflow("BackupWorkflow", ref_of(manifest), id=id_, task_queue="operations")
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == "Fenced"
    assert play.api.statuses[manifest["metadata"]["uid"]] == []


@pytest.mark.parametrize("after", [None, "admit_operation", "check_storage_location"])
async def test_a_failed_operation_is_reopened_by_a_reset_to_any_point(play: Stage, after: str | None) -> None:
    manifest = backup(name=f"reset-{uuid4().hex[:6]}")
    script = Script(attempts=[[seen("Failed", failure_reason="disk full")], list(HAPPY)])
    failed = await play.ended(await play.start(script, manifest), manifest)
    assert failed.status.phase == "Failed"
    script.locations.append(script_location())
    run_id = await play.reset(failed.ref, after)
    ended = await play.ended(play.latest(failed.ref), manifest)
    assert ended.status.phase == "Succeeded"
    assert ended.status.workflow is not None
    assert ended.status.workflow.run_id == run_id
    assert [(a.number, a.cause, a.outcome) for a in ended.status.attempts] == [
        (1, AttemptCause.INITIAL, "Failed"),
        (2, AttemptCause.RESET, "Succeeded"),
    ]
    assert len(set(script.created)) == 2
    assert ended.status.seq > failed.status.seq
    assert ended.event_reasons[-2:] == ["OperationSucceeded", "Verified"]


def script_location() -> Any:
    from support.scripted import AVAILABLE

    return AVAILABLE


async def test_a_succeeded_operation_is_never_reopened(play: Stage) -> None:
    manifest = backup(name="done")
    script = Script()
    done = await play.ended(await play.start(script, manifest), manifest)
    await play.reset(done.ref, None)
    handle = play.latest(done.ref)
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == "Fenced"
    assert play.api.statuses[done.ref.uid][-1] == done.status
    assert len(script.created) == 1


@pytest.mark.parametrize("verb", ["claim_operation", "admit_operation", "check_storage_location", "create_backup"])
async def test_an_api_server_that_stays_away_ends_the_operation_when_it_is_back(play: Stage, verb: str) -> None:
    delay = timedelta(hours=71) if verb == "claim_operation" else timedelta(minutes=59)
    script = Script(before={verb: always(unavailable(delay))})
    manifest = backup(name=f"away-{verb.replace('_', '-')}")
    ended = await play.ended(await play.start(script, manifest), manifest)
    assert ended.failure is not None
    assert ended.failure.type == "EngineUnavailable"
    assert (ended.status.phase, ended.status.reason) == ("Failed", "EngineUnavailable")


@pytest.mark.parametrize("verb", ["admit_operation", "check_storage_location", "begin_attempt", "create_backup"])
async def test_a_step_that_was_entered_and_then_refused_is_told_as_failed(play: Stage, verb: str) -> None:
    """The status has moved on with the step's first write; the end is written on top of that."""
    script = Script(after={verb: [Refused("velero: forbidden", 403)]})
    ended = await play.run(script)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "EngineUnavailable")
    assert "forbidden" in (ended.status.message or "")
    assert "OperationFailed" in ended.event_reasons
    assert "StepFailed" in ended.event_reasons


async def test_an_attempt_that_was_written_and_never_created_is_concluded(play: Stage) -> None:
    script = Script(after={"begin_attempt": [Refused("velero: forbidden", 403)]})
    ended = await play.run(script)
    assert [(a.number, a.outcome, a.reason) for a in ended.status.attempts] == [(1, "Failed", "EngineUnavailable")]


async def test_a_create_whose_answer_is_lost_makes_no_second_backup(play: Stage) -> None:
    script = Script(after={"begin_attempt": [unavailable(SOON)] * 3})
    ended = await play.run(script, skip_time=False)
    assert ended.status.phase == "Succeeded"
    assert len(script.created) == len(ended.status.attempts) == 1


async def test_a_run_whose_end_cannot_be_written_still_ends_and_says_why(play: Stage) -> None:
    """Else its task would be tried for ever; who looks after ends that were not written finds it closed."""
    script = Script(
        attempts=[[*phases("InProgress"), seen("Failed", failure_reason="disk full")]],
        before={"write_report": always(Refused("status: invalid", 422))},
    )
    manifest = backup(name="unwritable")
    ended = await play.ended(await play.start(script, manifest), manifest)
    assert ended.failure is not None
    assert ended.failure.type == "VeleroBackupFailed"
    assert "disk full" in ended.failure.message
    assert ended.status.phase == "Running"


async def test_a_success_that_is_refused_by_the_api_server_is_told_as_failed(play: Stage) -> None:
    script = Script(before={"write_report": [Refused("status: invalid", 422)]})
    ended = await play.run(script)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "EngineUnavailable")
    assert [a.outcome for a in ended.status.attempts] == ["Failed"]


async def test_what_is_verified_is_what_the_bucket_holds_after_a_reset(play: Stage) -> None:
    manifest = backup(name="reset-verify")
    script = Script(contents=EMPTY)
    failed = await play.ended(await play.start(script, manifest), manifest)
    assert failed.status.reason == "VerificationFailed"
    script.contents = GOOD
    await play.reset(failed.ref, "follow_backup")
    script.attempts[0] = list(HAPPY)
    ended = await play.ended(play.latest(failed.ref), manifest)
    check_promises(ended)
    assert ended.status.phase == "Succeeded"
    assert len(script.created) == 1

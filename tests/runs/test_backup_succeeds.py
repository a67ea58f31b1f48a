"""A Backup that ends well: straight, late, on a second attempt, or in part where the policy accepts that."""

from datetime import timedelta

import pytest
from support.memory import event_number
from support.runs import Stage
from support.scripted import (
    AVAILABLE,
    HAPPY,
    RESTARTED,
    SOON,
    UNAVAILABLE_LOCATION,
    WENT_AWAY,
    Script,
    phases,
    seen,
    unavailable,
)

from operation_engine.domain.resources.conditions import ConditionStatus, ConditionType
from operation_engine.domain.resources.operation_status import AttemptCause

pytestmark = pytest.mark.asyncio(loop_scope="session")

TRUE, FALSE, UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
C = ConditionType


async def test_a_backup_is_created_followed_and_verified(play: Stage) -> None:
    script = Script()
    ended = await play.run(script)
    assert (ended.status.phase, ended.status.reason) == ("Succeeded", "VeleroBackupSucceeded")
    assert set(ended.steps.values()) == {"Succeeded"}
    assert len(script.created) == 1
    assert script.calls.count("create_backup") == 1


async def test_outputs_and_references_lead_to_the_backup(play: Stage) -> None:
    script = Script(create_warnings=("no such snapshot class",))
    status = (await play.run(script)).status
    assert status.outputs is not None
    assert status.engine_ref is not None
    assert status.logs_ref is not None
    name = script.created[0]
    outputs = status.outputs
    assert (outputs.backup_name, outputs.backup_item_count, outputs.backup_size_bytes) == (name, "3", "2048")
    assert (outputs.storage_location, outputs.warnings) == ("default", ("no such snapshot class",))
    assert (status.engine_ref.kind, status.engine_ref.namespace, status.engine_ref.name) == ("Backup", "velero", name)
    assert status.logs_ref.name == name


async def test_the_whole_plan_is_shown_from_the_first_status_on(play: Stage) -> None:
    first = (await play.run()).history[0]
    assert [(step.name, step.state) for step in first.steps] == [
        ("Admit", "Running"),
        ("CheckStorageLocation", "Pending"),
        ("CreateBackup", "Pending"),
        ("FollowBackup", "Pending"),
        ("VerifyBackup", "Pending"),
    ]
    assert (first.phase, first.observed_generation, first.workflow is not None) == ("Pending", 1, True)


async def test_events_tell_the_story_once_and_in_order(play: Stage) -> None:
    ended = await play.run()
    assert ended.event_reasons == [
        "StepSucceeded",
        "OperationAccepted",
        "StepSucceeded",
        "OperationRunning",
        "StepSucceeded",
        "StepSucceeded",
        "StepSucceeded",
        "OperationSucceeded",
        "Verified",
    ]
    assert len({event_number(event) for event in ended.events}) == len(ended.events)


async def test_progress_is_a_hundred_only_with_the_end(play: Stage) -> None:
    early = seen("InProgress", items_done=3, items_total=3)
    script = Script(attempts=[[early, seen("Finalizing", items_done=3, items_total=9), HAPPY[-1]]])
    ended = await play.run(script)
    percents = [status.progress.percent for status in ended.history if status.progress]
    assert percents[0] == 50
    assert percents[-1] == 100
    assert percents.count(100) == 1


async def test_every_phase_that_velero_passes_through_is_shown(play: Stage) -> None:
    through = ("New", "Queued", "ReadyToStart", "InProgress", "WaitingForPluginOperations", "Finalizing")
    script = Script(attempts=[[*phases(*through), HAPPY[-1]]])
    ended = await play.run(script)
    messages = [status.message or "" for status in ended.history]
    for phase in through:
        assert any(message.endswith(f" is {phase}.") for message in messages), phase


async def test_a_phase_that_nobody_knows_yet_is_work_under_way(play: Stage) -> None:
    script = Script(attempts=[[*phases("InProgress", "Meditating"), HAPPY[-1]]])
    assert (await play.run(script)).status.phase == "Succeeded"


async def test_a_backup_that_velero_s_restart_ended_is_begun_anew_without_asking(play: Stage) -> None:
    restarted = seen("Failed", failure_reason=RESTARTED, items_done=5, items_total=9)
    script = Script(attempts=[[*phases("InProgress"), restarted], list(HAPPY)])
    ended = await play.run(script)
    status = ended.status
    assert status.phase == "Succeeded"
    assert [(a.number, a.cause, a.outcome) for a in status.attempts] == [
        (1, AttemptCause.INITIAL, "Failed"),
        (2, AttemptCause.AUTOMATIC, "Succeeded"),
    ]
    assert script.created == [a.velero_name for a in status.attempts]
    assert set(ended.steps.values()) == {"Succeeded"}


async def test_a_location_that_went_away_is_waited_for_again_and_the_backup_begun_anew(play: Stage) -> None:
    refused = seen("FailedValidation", validation_errors=(WENT_AWAY,))
    script = Script(locations=[AVAILABLE, UNAVAILABLE_LOCATION, AVAILABLE], attempts=[[refused], list(HAPPY)])
    ended = await play.run(script)
    assert ended.status.phase == "Succeeded"
    assert set(ended.steps.values()) == {"Succeeded"}
    assert [(a.cause, a.outcome, a.reason) for a in ended.status.attempts] == [
        (AttemptCause.INITIAL, "Failed", "StorageLocationUnavailable"),
        (AttemptCause.AUTOMATIC, "Succeeded", "VeleroBackupSucceeded"),
    ]
    waited = [status for status in ended.history if status.message == UNAVAILABLE_LOCATION.message]
    assert {status.attempt for status in waited} == {1}


async def test_another_attempt_starts_with_no_progress(play: Stage) -> None:
    far = seen("InProgress", items_done=8, items_total=9)
    restarted = seen("Failed", failure_reason=RESTARTED)
    script = Script(attempts=[[far, restarted], [seen("InProgress", items_done=1, items_total=9), *HAPPY[2:]]])
    ended = await play.run(script)
    second = [status for status in ended.history if status.attempt == 2]
    assert second[0].progress is None
    assert next(s.progress.percent for s in second if s.progress) == 5


async def test_a_partial_backup_counts_where_the_policy_accepts_it_and_says_so(play: Stage) -> None:
    partial = seen("PartiallyFailed", errors=2, items_done=3, items_total=3)
    script = Script(attempts=[[*phases("InProgress"), partial]], problems=("shop: pvc data: timed out", "b"))
    ended = await play.run(script, policy={"partialFailure": "Accept"})
    assert (ended.status.phase, ended.status.reason) == ("Succeeded", "PartialFailure")
    assert ended.condition(C.DEGRADED) == (TRUE, "PartialFailure")
    assert ended.condition(C.SUCCEEDED) == (TRUE, "PartialFailure")
    assert ended.condition(C.VERIFIED) == (TRUE, "Verified")
    assert "pvc data: timed out" in (ended.status.message or "")


async def test_a_location_that_comes_back_is_waited_for(play: Stage) -> None:
    script = Script(locations=[UNAVAILABLE_LOCATION, AVAILABLE])
    ended = await play.run(script)
    assert ended.status.phase == "Succeeded"
    waiting = next(status for status in ended.history if status.reason == "StorageLocationUnavailable")
    conditions = {c.type: c.status for c in waiting.conditions}
    assert (waiting.phase, conditions["Blocked"], conditions["Ready"]) == ("Pending", TRUE, FALSE)
    assert conditions["Reconciling"] == TRUE
    assert waiting.message == UNAVAILABLE_LOCATION.message
    assert ended.condition(C.BLOCKED) == (FALSE, "NotBlocked")


async def test_each_reason_to_wait_for_a_location_is_shown(play: Stage) -> None:
    other = UNAVAILABLE_LOCATION.model_copy(update={"message": "Storage location default is ReadOnly."})
    script = Script(locations=[UNAVAILABLE_LOCATION, other, AVAILABLE])
    ended = await play.run(script)
    assert ended.status.phase == "Succeeded"
    messages = [status.message for status in ended.history]
    assert UNAVAILABLE_LOCATION.message in messages
    assert other.message in messages


async def test_a_target_may_appear_a_little_after_its_operation(play: Stage) -> None:
    script = Script()
    script.on_call["admit_operation"] = lambda: _appear_at_third_look(play, script)
    target = {"apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance", "name": "late"}
    ended = await play.run(script, target=target)
    assert ended.status.phase == "Succeeded"
    assert "TargetNotFound" in ended.reasons


def _appear_at_third_look(play: Stage, script: Script) -> None:
    from operation_engine.runtime.kubernetes import APPLICATION_INSTANCES

    if script.calls.count("admit_operation") == 3:
        play.api.put(APPLICATION_INSTANCES, {"metadata": {"name": "late", "namespace": "shop"}, "spec": {}})


async def test_time_in_velero_s_queue_is_not_the_attempt_s(play: Stage) -> None:
    """Ten hours in the queue and three of work are within a timeout of four."""
    waits = [unavailable(timedelta(hours=10)), None, unavailable(timedelta(hours=3)), None, None]
    script = Script(attempts=[[*phases("InProgress", "Finalizing"), HAPPY[-1]]], before={"follow_backup": waits})
    ended = await play.run(script)
    assert ended.status.phase == "Succeeded"
    assert ended.status.finished_at is not None
    assert ended.status.started_at is not None
    assert ended.status.finished_at - ended.status.started_at > timedelta(hours=13)


@pytest.mark.parametrize(
    "verb",
    ["claim_operation", "admit_operation", "check_storage_location", "create_backup", "follow_backup", "verify_backup"],
)
async def test_transient_failures_are_tried_again_before_and_after_the_fact(play: Stage, verb: str) -> None:
    fault = unavailable(SOON)
    script = Script(before={verb: [fault]}, after={verb: [None, fault] if verb == "follow_backup" else [fault]})
    script.attempts = [[*HAPPY[:2], *HAPPY]]
    script.locations = [AVAILABLE, AVAILABLE]
    ended = await play.run(script, skip_time=False)
    assert ended.status.phase == "Succeeded"
    assert len(script.created) == 1
    assert [a.number for a in ended.status.attempts] == [1]


async def test_an_end_that_was_written_and_not_acknowledged_is_told_once(play: Stage) -> None:
    script = Script(after={"write_report": [unavailable(SOON)]})
    ended = await play.run(script, skip_time=False)
    assert ended.event_reasons.count("OperationSucceeded") == 1
    assert script.calls.count("write_report") == 2

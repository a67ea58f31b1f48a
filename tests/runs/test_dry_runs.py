"""Dry runs: one look, told as steps, and no other activity that could change the world."""

from datetime import timedelta

import pytest
from support.runs import Stage, restore_parts
from support.scripted import Script, unavailable
from support.scripted_plans import PLANNED
from support.scripted_restores import restore_script

from operation_engine.domain.admission import refuse, wait
from operation_engine.domain.plans import PlannedStep
from operation_engine.domain.resources.conditions import ConditionStatus, ConditionType
from operation_engine.domain.resources.operation_spec import OperationType
from operation_engine.domain.resources.reasons import Reason

pytestmark = pytest.mark.asyncio(loop_scope="session")

C = ConditionType
DRY = {"dryRun": True}
CALLS = ["claim_operation", "admit_operation", "plan_operation", "write_report"]
"""All that a dry run does; the first and the last write the Operation's own status."""
FINDS_NONE = refuse(Reason.BACKUP_NOT_FOUND, "There is none.")


async def test_a_dry_restore_looks_and_tells_and_does_nothing_else(play: Stage) -> None:
    script = restore_script()
    ended = await play.restore(script, policy=DRY)
    assert (ended.status.phase, ended.status.reason) == ("Succeeded", "DryRun")
    assert script.calls == CALLS
    assert script.created == []
    assert ended.steps.pop("Admit") == "Succeeded"
    assert set(ended.steps.values()) == {"Succeeded", "Skipped"}
    assert {name for name, state in ended.steps.items() if state == "Succeeded"} == {"Admit"}
    messages = {step.name: step.message for step in ended.status.steps}
    assert messages["CreateRestore"] == "Would run: A Velero Restore: 1 created, 1 left as they are."
    assert messages["CleanUp"] == "Would be skipped: There would be no attempt before."
    assert (ended.status.message or "").startswith("Dry run, nothing was done. It would restore")
    assert ended.status.attempts == ()
    assert ended.condition(C.SUCCEEDED) == (ConditionStatus.TRUE, "DryRun")
    assert ended.condition(C.VERIFIED) is None
    outputs = ended.status.outputs
    assert outputs is not None
    assert (outputs.backup_name, outputs.restore_name) == ("nightly-main-1", None)
    assert outputs.warnings == ("Cannot be told: what webhooks change",)


async def test_a_dry_backup_makes_none(play: Stage) -> None:
    steps = (
        PlannedStep(name="CheckStorageLocation", message="Available."),
        PlannedStep(name="CreateBackup", message="b"),
    )
    plan = PLANNED.model_copy(update={"type": OperationType.BACKUP, "steps": steps, "backup_name": None})
    script = Script(plan=plan)
    ended = await play.run(script, policy=DRY)
    assert (ended.status.phase, ended.status.reason) == ("Succeeded", "DryRun")
    assert script.calls == CALLS
    assert ended.steps["CreateBackup"] == "Skipped"


async def test_what_would_be_refused_ends_failed_at_its_step_with_the_same_reason(play: Stage) -> None:
    steps = (*PLANNED.steps[:1], PlannedStep(name="FindBackup", message=FINDS_NONE.message))
    plan = PLANNED.model_copy(update={"steps": steps, "verdict": FINDS_NONE, "fails_at": "FindBackup"})
    script = restore_script(plan=plan)
    ended = await play.restore(script, policy=DRY)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "BackupNotFound")
    assert ended.status.message == "Dry run, nothing was done. It would not go through: There is none."
    assert ended.steps["FindBackup"] == "Failed"
    assert script.calls == CALLS, "no decision is waited for"


async def test_what_would_fail_at_its_end_tells_the_steps_before_too(play: Stage) -> None:
    verdict = refuse(Reason.NOTHING_RESTORED, "Nothing would come back.")
    steps = (
        *PLANNED.steps,
        PlannedStep(name="VerifyContents", message="x"),
        PlannedStep(name="VerifyHttp", message="y"),
    )
    plan = PLANNED.model_copy(update={"steps": steps, "verdict": verdict, "fails_at": "VerifyContents"})
    ended = await play.restore(restore_script(plan=plan), policy=DRY)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "NothingRestored")
    assert (ended.steps["CreateRestore"], ended.steps["VerifyContents"]) == ("Skipped", "Failed")


async def test_what_would_wait_is_told_and_not_waited_for(play: Stage) -> None:
    verdict = wait(Reason.STORAGE_LOCATION_UNAVAILABLE, "It is away.")
    plan = PLANNED.model_copy(update={"type": OperationType.BACKUP, "steps": (), "verdict": verdict})
    ended = await play.run(Script(plan=plan), policy=DRY)
    assert (ended.status.phase, ended.status.reason) == ("Succeeded", "DryRun")
    assert (ended.status.message or "").endswith("But first it would wait: It is away.")


async def test_a_bucket_that_is_away_for_long_ends_it(play: Stage) -> None:
    script = restore_script(before={"plan_operation": [unavailable(timedelta(minutes=9))] * 3})
    ended = await play.restore(script, policy=DRY)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "EngineUnavailable")


async def test_an_earnest_run_makes_no_plan(play: Stage) -> None:
    script = restore_script()
    await play.run(script, **restore_parts())
    assert "plan_operation" not in script.calls
    assert "create_restore" in script.calls

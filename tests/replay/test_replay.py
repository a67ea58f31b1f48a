"""Today's workflow code replays the histories of runs that were begun with an older one.

A history that fails here is an Operation that would hang in an installation after an upgrade. When one may be recorded
anew: see record.py.
"""

import json
from pathlib import Path

import pytest
from support.scenarios import SCENARIOS
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from operation_engine.domain.identity import OperationRef
from operation_engine.domain.resources.operation_status import OperationStatus
from operation_engine.runtime.temporal import DATA_CONVERTER
from operation_engine.worker import WORKFLOWS
from workflows.backup import BackupWorkflow
from workflows.run import OperationRun

HISTORIES = Path(__file__).parent / "histories"


def golden(name: str) -> WorkflowHistory:
    return WorkflowHistory.from_json(f"operation/shop/{name}", (HISTORIES / f"{name}.json").read_text())


def replayer(workflows: list[type]) -> Replayer:
    return Replayer(workflows=workflows, data_converter=DATA_CONVERTER)


@pytest.mark.parametrize("name", [path.stem for path in sorted(HISTORIES.glob("*.json"))])
async def test_a_run_that_is_under_way_goes_on_with_today_s_code(name: str) -> None:
    await replayer(list(WORKFLOWS)).replay_workflow(golden(name))


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_way_through_a_workflow_has_its_history(name: str) -> None:
    last = json.loads((HISTORIES / f"{name}.json").read_text())["events"][-1]
    if SCENARIOS[name].ends == "Succeeded":
        assert last["eventType"] == "EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED"
    elif SCENARIOS[name].ends == "Cancelled":
        assert last["eventType"] == "EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED"
    else:
        failure = last["workflowExecutionFailedEventAttributes"]["failure"]
        assert failure["applicationFailureInfo"]["type"] == SCENARIOS[name].ends


def test_histories_are_small_and_say_nothing_of_where_they_were_made() -> None:
    for path in HISTORIES.glob("*.json"):
        text = path.read_text()
        assert len(text) < 512 * 1024, path.name
        assert "identity" not in text
        assert str(Path(__file__).parents[2]) not in text


@workflow.defn(name="BackupWorkflow", sandboxed=False)
class ChangedWorkflow:
    """A BackupWorkflow that somebody changed in passing: it looks at the spec before it claims."""

    @workflow.run
    async def run(self, ref: OperationRef) -> OperationStatus:
        operation = OperationRun(ref)
        await operation.admit("Admit")
        return operation.status


@pytest.mark.parametrize("name", ["backup-succeeded", "backup-refused"])
async def test_a_change_that_would_strand_running_operations_is_noticed(name: str) -> None:
    with pytest.raises(NondeterminismError):
        await replayer([ChangedWorkflow]).replay_workflow(golden(name))


async def test_the_history_of_another_way_is_not_taken_for_this_one() -> None:
    """The replayer looks at what was done, not only at how it began."""
    events = json.loads((HISTORIES / "backup-succeeded.json").read_text())
    follow = next(e for e in events["events"] if "follow_backup" in json.dumps(e))
    follow["activityTaskScheduledEventAttributes"]["activityType"]["name"] = "verify_backup"
    changed = WorkflowHistory.from_json("operation/shop/changed", events)
    with pytest.raises(NondeterminismError):
        await replayer([BackupWorkflow]).replay_workflow(changed)

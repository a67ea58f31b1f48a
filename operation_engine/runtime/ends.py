"""Workflow runs from outside: which are open, and how one ended. Used by the controller's reconciler."""

from collections.abc import Mapping
from contextlib import suppress

from temporalio.api.enums.v1 import WorkflowExecutionStatus as Status
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHandle, WorkflowHistoryEventFilterType
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from operation_engine.domain.outside import How, RunSeen
from operation_engine.domain.resources.operation_status import OperationStatus

_HOW: Mapping[int, How] = {
    Status.WORKFLOW_EXECUTION_STATUS_COMPLETED: How.COMPLETED,
    Status.WORKFLOW_EXECUTION_STATUS_FAILED: How.FAILED,
    Status.WORKFLOW_EXECUTION_STATUS_TERMINATED: How.TERMINATED,
    Status.WORKFLOW_EXECUTION_STATUS_TIMED_OUT: How.TIMED_OUT,
    Status.WORKFLOW_EXECUTION_STATUS_CANCELED: How.CANCELLED,
}


class Ends:
    """What Temporal says of runs. Raises RPCError where it cannot be asked, the namespace's absence included."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client, self._task_queue = client, task_queue

    async def running(self) -> dict[str, str]:
        """The run of each workflow id that is open, of this installation alone: one listing, a little behind."""
        query = f'ExecutionStatus="Running" AND TaskQueue="{self._task_queue}"'
        return {found.id: found.run_id async for found in self._client.list_workflows(query, page_size=1000)}

    async def seen(self, workflow_id: str, first_run_id: str | None, run_id: str | None) -> RunSeen | None:
        """The latest run of the chain that begins with `first_run_id`; None where Temporal knows none.

        A stranger's run under the same id ("Start Workflow Like This One") is not of that chain: then it is `run_id`,
        the last one that was known.
        """
        latest = await self._described(workflow_id, None)
        is_stranger = latest is not None and first_run_id is not None and latest.first_run_id != first_run_id
        return await self._described(workflow_id, run_id) if is_stranger else latest

    async def cancel(self, workflow_id: str) -> None:
        """Ask the latest run to cancel; one that has ended has nothing to be asked."""
        try:
            await self._client.get_workflow_handle(workflow_id).cancel()
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise

    async def _described(self, workflow_id: str, run_id: str | None) -> RunSeen | None:
        handle = self._client.get_workflow_handle(workflow_id, run_id=run_id)
        try:
            found = await handle.describe()
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return None
            raise
        except ValueError:
            # This SDK cannot read a paused run, which is an open one; nothing is decided by its ids.
            return RunSeen(run_id=run_id or "", first_run_id="", how=How.RUNNING)
        how = _HOW.get(found.raw_info.status, How.RUNNING)
        seen = RunSeen(run_id=found.run_id, first_run_id=found.raw_info.first_run_id or found.run_id, how=how)
        if how == How.RUNNING:
            return seen
        closing = await self._last_event(self._client.get_workflow_handle(workflow_id, run_id=found.run_id))
        return seen if closing is None else await _with_end(seen, closing, self._client.data_converter)

    async def _last_event(self, handle: "WorkflowHandle[object, object]") -> HistoryEvent | None:
        kind = WorkflowHistoryEventFilterType.CLOSE_EVENT
        return next(iter([event async for event in handle.fetch_history_events(event_filter_type=kind)]), None)


async def _with_end(seen: RunSeen, event: HistoryEvent, converter: DataConverter) -> RunSeen:
    """With what the closing event says."""
    if event.HasField("workflow_execution_completed_event_attributes"):
        payloads = event.workflow_execution_completed_event_attributes.result
        # A build that returned something else is no reason to stop looking at all the others.
        with suppress(Exception):
            (result,) = await converter.decode(payloads.payloads, [OperationStatus])
            return seen.model_copy(update={"result": result})
    if event.HasField("workflow_execution_failed_event_attributes"):
        failure = event.workflow_execution_failed_event_attributes.failure
        error = await converter.decode_failure(failure)
        if isinstance(error, ApplicationError):
            return seen.model_copy(update={"type": error.type or "", "message": error.message})
        return seen.model_copy(update={"message": failure.message})
    if event.HasField("workflow_execution_terminated_event_attributes"):
        ended = event.workflow_execution_terminated_event_attributes
        return seen.model_copy(update={"message": ended.reason, "by": ended.identity})
    return seen

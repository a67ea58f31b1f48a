"""Does what was decided: starts workflows, each once, however often and by however many controllers it is asked.

Running ones are sent signals; those may come twice (two controllers, a restart) and must do no harm then.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes, WorkflowIDConflictPolicy
from temporalio.common import WorkflowIDReusePolicy as Reuse
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from controller.decide import Cancel, Signal, Start
from operation_engine.domain import search
from operation_engine.domain.identity import workflow_id
from operation_engine.domain.resources.operation_status import Phase


class Started(StrEnum):
    """How a start ended."""

    RUNNING = "started"
    CLOSED = "closed"
    """A run of this id has ended: Temporal refuses another, and that is right."""


class Starter:
    """Starts workflows. Raises RPCError where Temporal cannot be asked."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client, self._task_queue = client, task_queue

    async def start(self, start: Start) -> Started:
        try:
            await self._client.start_workflow(
                start.workflow_type,
                start.ref,
                id=workflow_id(start.ref),
                task_queue=self._task_queue,
                # Not ALLOW_DUPLICATE_FAILED_ONLY: a relist would run every failed Operation again.
                id_reuse_policy=Reuse.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                static_summary=start.summary,
                static_details=_details(start),
                search_attributes=_search_attributes(start),
            )
        except WorkflowAlreadyStartedError:
            return Started.CLOSED
        return Started.RUNNING

    async def signal(self, signal: Signal) -> None:
        """Tell the latest run of an Operation's workflow; one that has ended has nothing to be told."""
        handle = self._client.get_workflow_handle(workflow_id(signal.ref))
        with _ended_is_fine():
            await handle.signal(signal.name, signal.payload)

    async def cancel(self, cancel: Cancel) -> None:
        """Ask the latest run to cancel; asked before, or ended, it stays as it is."""
        with _ended_is_fine():
            await self._client.get_workflow_handle(workflow_id(cancel.ref)).cancel()


@contextmanager
def _ended_is_fine() -> Iterator[None]:
    try:
        yield
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise


def _details(start: Start) -> str:
    ref = start.ref
    return (
        f"Operation `{ref.namespace}/{ref.name}`\n\n```\nkubectl -n {ref.namespace} describe operation {ref.name}\n```"
    )


def _search_attributes(start: Start) -> TypedSearchAttributes:
    values = {
        search.TYPE: str(start.type),
        search.NAMESPACE: start.ref.namespace,
        search.TARGET: f"{start.ref.namespace}/{start.target}",
        search.PHASE: str(Phase.PENDING),
    }
    pairs = [SearchAttributePair(SearchAttributeKey.for_keyword(key), value) for key, value in values.items()]
    return TypedSearchAttributes(pairs)

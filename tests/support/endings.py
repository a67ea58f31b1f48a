"""Ends of workflows by hand: what a broken build, or a person at Temporal's own tools, would leave of a run.

The test answers the run's one workflow task itself, so no worker has to be broken for it.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio.api.command.v1 import (
    CancelWorkflowExecutionCommandAttributes,
    Command,
    CompleteWorkflowExecutionCommandAttributes,
    FailWorkflowExecutionCommandAttributes,
)
from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import CommandType
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueRequest, RespondWorkflowTaskCompletedRequest
from temporalio.client import Client, WorkflowFailureError

from operation_engine.domain.resources.operation_status import OperationStatus
from operation_engine.runtime.temporal import DATA_CONVERTER

QUEUE = "by-hand"
CANCELLED = Command(
    command_type=CommandType.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION,
    cancel_workflow_execution_command_attributes=CancelWorkflowExecutionCommandAttributes(),
)


def failed(type_: str, message: str) -> Command:
    failure = Failure(message=message, application_failure_info=ApplicationFailureInfo(type=type_))
    return Command(
        command_type=CommandType.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION,
        fail_workflow_execution_command_attributes=FailWorkflowExecutionCommandAttributes(failure=failure),
    )


def completed(status: Mapping[str, Any]) -> Command:
    (payload,) = DATA_CONVERTER.payload_converter.to_payloads([OperationStatus.from_api(dict(status))])
    return Command(
        command_type=CommandType.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
        complete_workflow_execution_command_attributes=CompleteWorkflowExecutionCommandAttributes(
            result=Payloads(payloads=[payload])
        ),
    )


def run_that_ends(env: Mapping[str, str], workflow_id: str, end: Command | None, *, after_s: float = 60.0) -> str:
    """Start a run under that id and have it end so; without an end it times out. The run's id."""
    return asyncio.run(_run(env, workflow_id, end, after_s))


async def _run(env: Mapping[str, str], workflow_id: str, end: Command | None, after_s: float) -> str:
    client = await Client.connect(
        env["TEMPORAL_ADDRESS"], namespace=env["TEMPORAL_NAMESPACE"], data_converter=DATA_CONVERTER
    )
    handle = await client.start_workflow(
        "ByHand",
        id=workflow_id,
        task_queue=f"{QUEUE}-{workflow_id}",
        execution_timeout=timedelta(seconds=after_s),
    )
    if end is not None:
        await _answer(client, f"{QUEUE}-{workflow_id}", end)
    with suppress(WorkflowFailureError):
        await handle.result()
    return handle.result_run_id or ""


async def _answer(client: Client, queue: str, end: Command) -> None:
    request = PollWorkflowTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=queue), identity="a test"
    )
    task = await client.workflow_service.poll_workflow_task_queue(request)
    await client.workflow_service.respond_workflow_task_completed(
        RespondWorkflowTaskCompletedRequest(
            task_token=task.task_token, commands=[end], identity="a test", namespace=client.namespace
        )
    )

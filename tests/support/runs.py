"""Runs of workflows: started as the controller starts them, ended, and looked at from every side a user has."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from support.memory import OPERATIONS, MemoryApi, managed_namespace
from support.scripted import Script, Scripted, ScriptedVelero
from support.scripted_plans import ScriptedPlans
from support.scripted_restores import ScriptedRestores, restore_script
from support.scripted_safeguards import ScriptedSafeguards
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowHistory
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.failures import Failures
from activities.operations import OperationActivities
from controller.decide import Start, decide, see
from controller.starter import Starter
from operation_engine.domain.identity import OperationRef, workflow_id
from operation_engine.domain.resources.conditions import ConditionStatus, ConditionType
from operation_engine.domain.resources.operation import API_VERSION, Operation
from operation_engine.domain.resources.operation_status import OperationStatus, Phase, StepState
from operation_engine.domain.search import PHASE, SEARCH_ATTRIBUTES
from operation_engine.records.announcer import Announcer
from operation_engine.records.events import EventWriter
from operation_engine.records.operations import OperationStore
from operation_engine.runtime.kubernetes import NAMESPACES
from operation_engine.runtime.temporal import DATA_CONVERTER, Runs
from operation_engine.worker import WORKFLOWS

TEMPORAL = Path(__file__).parents[2] / ".venv/bin/temporal"
TASK_QUEUE = "operations"
UI = "http://127.0.0.1:8233"


@dataclass(frozen=True)
class Ended:
    """An Operation whose workflow has ended, as its readers see it."""

    ref: OperationRef
    status: OperationStatus
    history: tuple[OperationStatus, ...]
    """Every status that was ever written, in order."""
    events: tuple[dict[str, Any], ...]
    failure: ApplicationError | None
    result: OperationStatus | None
    details: str
    """What the Temporal UI shows under Current details."""
    shown_phase: str
    """The search attribute that lists are filtered by."""

    def condition(self, type_: ConditionType) -> tuple[ConditionStatus, str] | None:
        return next(((c.status, c.reason) for c in self.status.conditions if c.type == type_), None)

    def condition_of(self, type_: str) -> str | None:
        return next((str(c.status) for c in self.status.conditions if c.type == type_), None)

    @property
    def steps(self) -> dict[str, StepState]:
        return {step.name: step.state for step in self.status.steps}

    @property
    def reasons(self) -> list[str]:
        """The reasons that the status gave, each once, in order."""
        found: list[str] = []
        for status in self.history:
            if status.reason is not None and status.reason not in found:
                found.append(status.reason)
        return found

    @property
    def event_reasons(self) -> list[str]:
        return [event["reason"] for event in self.events]


class Stage:
    """A Temporal server, a worker and an API server in memory; tests put Operations on it."""

    def __init__(self, environment: WorkflowEnvironment) -> None:
        self.environment = environment
        self.client: Client = environment.client
        self.api = MemoryApi()
        self.scripts: dict[str, Script] = {}
        announcer = Announcer(EventWriter(self.api))  # type: ignore[arg-type]
        self.store = OperationStore(self.api, Runs(self.client), announcer, self.client.namespace, UI)  # type: ignore[arg-type]
        self.api.put(NAMESPACES, managed_namespace("shop"))
        self.api.put(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "foreign"}})

    def workers(self, workflows: Sequence[type] = WORKFLOWS) -> tuple[Worker, Worker]:
        """A worker for each task queue, with the product's own translation of failures."""
        operations = OperationActivities(self.api, self.store, require_managed_namespace=True)  # type: ignore[arg-type]
        velero = ScriptedVelero(self.store, self.scripts)
        restores = ScriptedRestores(self.store, self.scripts)
        guards = ScriptedSafeguards(self.store, self.scripts)
        plans = ScriptedPlans(self.store, self.scripts)
        own = [
            operations.claim_operation,
            operations.admit_operation,
            operations.write_report,
            operations.begin_attempt,
        ]
        interceptors = [Failures(), Scripted(self.scripts)]
        return (
            Worker(
                self.client,
                task_queue=TASK_QUEUE,
                workflows=workflows,
                activities=[*own, *velero.short, *restores.short, *guards.short, *plans.short],
                interceptors=interceptors,
            ),
            Worker(
                self.client,
                task_queue=f"{TASK_QUEUE}-waits",
                activities=[*velero.waits, *restores.waits, *guards.waits],
                interceptors=interceptors,
            ),
        )

    async def start(
        self, script: Script, manifest: dict[str, Any], *, skip_time: bool = True
    ) -> WorkflowHandle[Any, OperationStatus]:
        """Put an Operation there and start its workflow as the controller would.

        Where time is skipped, every try of an activity again takes the server seconds, however short the pause.
        """
        operation = Operation.from_api(self.api.put(OPERATIONS, manifest))
        decision = decide(see(operation))
        assert isinstance(decision, Start)
        id_ = workflow_id(decision.ref)
        self.scripts[id_] = script
        with nullcontext() if skip_time else self.environment.with_time_skipping_disabled():
            await Starter(self.client, TASK_QUEUE).start(decision)
        return self.latest(decision.ref)

    def latest(self, ref: OperationRef) -> WorkflowHandle[Any, OperationStatus]:
        """The latest run of an Operation's workflow."""
        return self.client.get_workflow_handle(workflow_id(ref), result_type=OperationStatus)

    async def run(self, script: Script | None = None, *, skip_time: bool = True, **parts: Any) -> Ended:
        """A Backup Operation from its start to its end, with what every Operation promises checked on the way."""
        manifest = backup(**parts)
        handle = await self.start(script or Script(), manifest, skip_time=skip_time)
        ended = await self.ended(handle, manifest)
        check_promises(ended)
        return ended

    async def restore(self, script: Script | None = None, **parts: Any) -> Ended:
        """A Restore Operation from its start to its end, by the same promises."""
        return await self.run(script or restore_script(), **restore_parts(**parts))

    async def ended(self, handle: WorkflowHandle[Any, OperationStatus], manifest: dict[str, Any]) -> Ended:
        result, failure = await _outcome(handle)
        meta = manifest["metadata"]
        live = await self.api.get(OPERATIONS, meta["name"], meta["namespace"])
        description = await handle.describe()
        metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
        return Ended(
            ref=OperationRef(namespace=meta["namespace"], name=meta["name"], uid=meta["uid"]),
            status=Operation.from_api(live).status,
            history=tuple(self.api.statuses[meta["uid"]]),
            events=tuple(self.api.events(meta["uid"])),
            failure=failure,
            result=result,
            details=metadata.current_details,
            shown_phase=description.typed_search_attributes[SearchAttributeKey.for_keyword(PHASE)],
        )

    async def reset(self, ref: OperationRef, after: str | None, run_id: str = "") -> str:
        """Reset as a person does in the UI: to the first task, or to the one that follows an activity's end.

        Of the latest run, or of the one that is named.
        """
        history = await self.client.get_workflow_handle(workflow_id(ref), run_id=run_id or None).fetch_history()
        names = {e.event_id: e.activity_task_scheduled_event_attributes.activity_type.name for e in history.events}
        reached = after is None
        for event in history.events:
            if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
                scheduled = event.activity_task_completed_event_attributes.scheduled_event_id
                reached = reached or names[scheduled] == after
            if reached and event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
                return await self._reset_to(ref, event.event_id, run_id)
        raise AssertionError(f"no task after {after}")

    async def _reset_to(self, ref: OperationRef, event_id: int, run_id: str) -> str:
        answer = await self.client.workflow_service.reset_workflow_execution(
            ResetWorkflowExecutionRequest(
                namespace=self.client.namespace,
                workflow_execution=WorkflowExecution(workflow_id=workflow_id(ref), run_id=run_id),
                reason="test",
                workflow_task_finish_event_id=event_id,
                request_id=str(uuid4()),
            )
        )
        return answer.run_id

    async def history_of(self, ref: OperationRef) -> WorkflowHistory:
        return await self.latest(ref).fetch_history()


async def _outcome(
    handle: WorkflowHandle[Any, OperationStatus],
) -> tuple[OperationStatus | None, ApplicationError | None]:
    try:
        return await handle.result(), None
    except WorkflowFailureError as error:
        cause = error.cause
    if isinstance(cause, CancelledError):
        return None, None
    # A failure of any other kind was none of the workflow's own.
    assert isinstance(cause, ApplicationError)
    return None, cause


def backup(name: str = "backup", namespace: str = "shop", **parts: Any) -> dict[str, Any]:
    """A Backup Operation of a namespace; `parameters`, `policy` and other parts of the spec by name."""
    labels = parts.pop("labels", {})
    target = parts.pop("target", {"apiVersion": "v1", "kind": "Namespace", "name": namespace})
    meta = {"name": name, "namespace": namespace, "uid": str(uuid4()), "generation": 1, "labels": labels}
    spec = {"type": "Backup", "targetRef": target, **parts}
    return {"apiVersion": API_VERSION, "kind": "Operation", "metadata": meta, "spec": spec}


def restore_parts(**parts: Any) -> dict[str, Any]:
    """The parts of a Restore Operation from the backup `nightly`."""
    parameters = {"backupName": "nightly", **parts.pop("parameters", {})}
    return {"type": "Restore", "name": "restore", "parameters": parameters, **parts}


def check_promises(ended: Ended) -> None:
    """What holds for every Operation that ended, whatever the way."""
    status = ended.status
    assert status.phase.terminal
    assert status.finished_at is not None
    assert ended.shown_phase == str(status.phase)
    _check_story(ended)
    _check_details(ended)
    if ended.failure is not None:
        assert (ended.failure.type, status.phase) == (status.reason, "Failed")
    elif status.phase == Phase.CANCELLED:
        assert ended.result is None
        assert ended.event_reasons.count("OperationCancelled") == 1
        assert not {StepState.RUNNING, StepState.WAITING, StepState.PENDING} & set(ended.steps.values())
    else:
        assert ended.result == status


def _check_story(ended: Ended) -> None:
    """Numbers grow, no Event is told twice, progress never goes back within an attempt, all stays small."""
    numbers = [int(event["metadata"]["name"].rpartition(".")[2]) for event in ended.events]
    assert numbers == sorted(set(numbers))
    assert not numbers or numbers[-1] <= ended.status.seq
    before = OperationStatus()
    for status in ended.history:
        assert status.seq >= before.seq
        if status.attempt == before.attempt and status.progress and before.progress:
            assert (status.progress.percent or 0) >= (before.progress.percent or 0)
        assert status.phase.terminal or percent(status) < 100
        assert len(json.dumps(status.to_api())) < 32 * 1024
        before = status


def percent(status: OperationStatus) -> int:
    return (status.progress.percent if status.progress else None) or 0


def _check_details(ended: Ended) -> None:
    """The UI's page shows the very steps that the status holds."""
    assert ended.details.startswith(f"**{ended.status.phase}** · `{ended.status.reason}`")
    shown = [line for line in ended.details.splitlines() if line[:1].isdigit()]
    for step, line in zip(ended.status.steps, shown, strict=True):
        assert f"{step.name} · {step.state}" in line


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """A stage for the block's length; everything on it is stopped at its end."""
    environment = await WorkflowEnvironment.start_time_skipping_v2(
        data_converter=DATA_CONVERTER,
        search_attributes=[SearchAttributeKey.for_keyword(name) for name in SEARCH_ATTRIBUTES],
        dev_server_existing_path=str(TEMPORAL),
        dev_server_extra_args=["--dynamic-config-value", "frontend.WorkflowTimeSkippingEnabled=true"],
    )
    try:
        yield Stage(environment)
    finally:
        await environment.shutdown()

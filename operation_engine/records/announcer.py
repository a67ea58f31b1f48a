"""What the world hears of a transition besides the status: an Event, a log line, metrics. Same number everywhere."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

from operation_engine.domain.report import StatusReport, Transition, TransitionKind
from operation_engine.domain.resources.operation import Operation
from operation_engine.domain.resources.operation_status import AttemptCause, OperationStatus, StepState
from operation_engine.domain.steps import find_step
from operation_engine.records.events import EventWriter
from operation_engine.runtime import telemetry

# Events of an activity's writes are posted beside its own work; the activity ends when they are through.
_beside: ContextVar[list[asyncio.Task[None]] | None] = ContextVar("announcements", default=None)

_log = telemetry.get_logger(__name__)
_ENDED_STEPS = (StepState.SUCCEEDED, StepState.FAILED)


@asynccontextmanager
async def announced() -> AsyncIterator[None]:
    """A block that ends when everything announced in it is told. Raises Unavailable where that cannot be done now."""
    beside: list[asyncio.Task[None]] = []
    token = _beside.set(beside)
    try:
        yield
    finally:
        _beside.reset(token)
        await asyncio.gather(*beside)


class Announcer:
    """Announces a report that has been written. Repeating it does no harm; counters move on the first time only."""

    def __init__(self, events: EventWriter) -> None:
        self._events = events

    async def tell(self, operation: Operation, report: StatusReport, *, fresh: bool) -> None:
        """Raises Unavailable where Events cannot be written now; inside `announced` that block does."""
        if not report.transitions:
            return
        posting = self._events.tell(operation, report.transitions, report.status.engine_ref)
        beside = _beside.get()
        if beside is None:
            await posting
        else:
            beside.append(asyncio.create_task(posting))
        if not fresh:
            return
        for transition in report.transitions:
            _log_line(operation, transition, report.status.attempt)
            _count_step(operation, transition, report.status)
        if report.status.phase.terminal and not operation.status.phase.terminal:
            _count_end(operation, report.status)

    def attempt_began(self, operation: Operation, cause: AttemptCause) -> None:
        telemetry.ATTEMPTS.labels(type=str(operation.spec.type), cause=str(cause)).inc()


def _log_line(operation: Operation, transition: Transition, attempt: int) -> None:
    meta = operation.metadata
    _log.info(
        f"{transition.subject} is {transition.state}",
        namespace=meta.namespace,
        operation=meta.name,
        operation_id=meta.uid,
        application_instance=operation.spec.target_ref.name,
        step=transition.subject if transition.kind == TransitionKind.STEP else None,
        attempt=attempt,
        seq=transition.number,
        reason=transition.reason,
        detail=transition.message,
    )


def _count_step(operation: Operation, transition: Transition, status: OperationStatus) -> None:
    if transition.kind != TransitionKind.STEP or transition.state not in _ENDED_STEPS:
        return
    step = find_step(status, transition.subject)
    if step is not None and step.started_at and step.finished_at:
        seconds = (step.finished_at - step.started_at).total_seconds()
        telemetry.STEP_SECONDS.labels(type=str(operation.spec.type), step=step.name).observe(seconds)


def _count_end(operation: Operation, status: OperationStatus) -> None:
    type_, engine = str(operation.spec.type), str(operation.spec.effective_engine or "")
    telemetry.OPERATIONS_ENDED.labels(
        type=type_, engine=engine, phase=str(status.phase), reason=status.reason or ""
    ).inc()
    if status.started_at and status.finished_at:
        seconds = (status.finished_at - status.started_at).total_seconds()
        telemetry.OPERATION_SECONDS.labels(type=type_).observe(seconds)

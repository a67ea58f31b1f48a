"""Letting go of an Operation's work when somebody has cancelled it: asked, drained, told, not undone."""

from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from workflows.run import OnCancel, OperationRun, Stop, TimedOut

with workflow.unsafe.imports_passed_through():
    from activities.draining import DrainActivities
    from activities.requests import Drained, DrainRequest
    from operation_engine.domain import cancelling, lifecycle, steps
    from operation_engine.domain.resources.reasons import Reason

DRAIN_WITHIN = timedelta(minutes=10)
"""How long Velero is waited for; what it has not ended by then goes on by itself."""
_MARGIN = timedelta(minutes=1)
_ASKED = "Cancel was asked for: waiting, for 10 minutes at most, until Velero is done with what it has begun."


async def drained(operation: OperationRun) -> str:
    """Velero has let go, or was waited for long enough: what is left, for people. Never raises Stop or TimedOut."""
    if not operation.status.attempts:
        return ""
    stopped = steps.stop_current(operation.next, operation.now(), "Cancelled.")
    operation.next = lifecycle.say(stopped, stopped.reason or Reason.PENDING, _ASKED)
    # An Operation that is gone is told nothing; its work is let go of all the same.
    with suppress(Stop, TimedOut, ApplicationError):
        await operation.write("Tell that it is being cancelled", even_cancelled=True)
    try:
        found = await _drain(operation)
    except (Stop, TimedOut) as fault:
        return f"Cancelled. What Velero had begun may go on by itself; it could not be asked: {fault}"
    return cancelling.told(found.remnants, operation.next)


async def let_go(operation: OperationRun) -> None:
    """For a run that met the fence: where its Operation is gone nobody else lets go of its work, nor is told of it.

    Where another run has the Operation the activity does nothing.
    """
    if operation.status.attempts:
        with suppress(Stop, TimedOut, ApplicationError):
            await _drain(operation)


async def _drain(operation: OperationRun) -> Drained:
    found: Drained = await operation.follow(
        DrainActivities.drain,
        DrainRequest(ref=operation.ref, until=operation.now() + DRAIN_WITHIN),
        summary="Have Velero let go",
        within=DRAIN_WITHIN + _MARGIN,
        on_cancel=OnCancel.FINISH,
        even_cancelled=True,
    )
    return found

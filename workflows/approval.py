"""The shared waiting for an approval: of every Restore, and of whatever asks for one (`spec.approvals.required`)."""

from datetime import timedelta

from temporalio import workflow

from workflows.run import OperationRun, Stop

with workflow.unsafe.imports_passed_through():
    from activities.approvals import ApprovalActivities
    from activities.safeguard_requests import ApprovalAnswer, ApprovalRequest
    from operation_engine.domain.admission import Answer, Gate
    from operation_engine.domain.resources.operation_status import StepState
    from operation_engine.domain.resources.reasons import Reason

LOOK_AGAIN = timedelta(minutes=5)
"""How often an installation that cannot verify claims is looked at again: nobody tells when it can."""


async def approval(operation: OperationRun, step: str, because: str | None = None) -> bool:
    """Approved, or in no need of it; waited for within `waitTimeout`. Returns whether it had to be. Raises Stop.

    Waiting costs nothing: the controller tells when the spec has changed. `because` is a reason that neither the
    installation nor the requester can waive.
    """
    deadline = workflow.now() + operation.clocks.wait_timeout
    operation.begin(step)
    answer, shown = await _look(operation, because), None
    while answer.gate.answer == Answer.WAIT:
        if answer.gate == shown:
            await _changed(operation, answer, deadline - workflow.now())
        else:
            shown = _show(operation, step, answer.gate)
        answer = await _look(operation, because)
    if answer.gate.answer == Answer.REFUSE:
        raise Stop(answer.gate.reason or Reason.APPROVAL_INVALID, answer.gate.message, refused=True)
    if answer.approval is not None:
        operation.next = operation.next.model_copy(update={"approval": answer.approval})
    operation.end(step, answer.gate.message, StepState.SUCCEEDED if answer.approval else StepState.SKIPPED)
    return shown is not None


def _show(operation: OperationRun, step: str, gate: Gate) -> Gate:
    """It waits; written down by one more look, so that the controller tells of every change after that look."""
    operation.wait(step, gate)
    return gate


async def _look(operation: OperationRun, because: str | None) -> ApprovalAnswer:
    # Cleared before the look and not after it: what changes meanwhile must end the wait.
    operation.decisions.spec_changed = False
    request = ApprovalRequest(ref=operation.ref, report=operation.report(), because=because)
    answer: ApprovalAnswer = await operation.call(
        ApprovalActivities.check_approval, request, summary="Look for an approval"
    )
    operation.written(answer.status)
    return answer


async def _changed(operation: OperationRun, answer: ApprovalAnswer, left: timedelta) -> None:
    """Wait until it is worth looking again. Raises Stop when patience has ended."""
    if left <= timedelta(0):
        raise Stop(Reason.AWAITING_APPROVAL, f"Waited in vain. {answer.gate.message}", refused=True)
    try:
        await workflow.wait_condition(
            lambda: operation.decisions.spec_changed or operation.decisions.cancelled,
            timeout=min(left, LOOK_AGAIN) if answer.look_again else left,
            timeout_summary="Wait for an approval",
        )
    except TimeoutError:
        return

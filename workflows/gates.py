"""A gate that may have to be waited for: asked once, then watched until it opens, refuses, or patience ends."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar

from temporalio import workflow

from workflows.run import OperationRun, Stop, TimedOut

with workflow.unsafe.imports_passed_through():
    from activities.requests import GateAnswer, StepRequest
    from operation_engine.domain.admission import Answer
    from operation_engine.domain.resources.reasons import Reason


A = TypeVar("A", bound=GateAnswer)


@dataclass(frozen=True)
class Gate(Generic[A]):
    """A step that asks `check`, and where that says to wait, follows `wait`."""

    step: str
    check: Callable[[Any, StepRequest], Coroutine[Any, Any, A]]
    check_summary: str
    wait: Callable[[Any, StepRequest], Coroutine[Any, Any, A]]
    wait_summary: str


async def passed(operation: OperationRun, gate: Gate[A]) -> A:
    """The answer that let it pass, within `waitTimeout`. Raises Stop; refused where the gate says no."""
    deadline = workflow.now() + operation.clocks.wait_timeout
    operation.begin(gate.step)
    answer: A = await operation.enter(gate.check, gate.check_summary)
    while answer.gate.answer == Answer.WAIT:
        operation.wait(gate.step, answer.gate)
        request = StepRequest(ref=operation.ref, report=operation.report())
        try:
            answer = await _await(operation, gate, request, deadline - workflow.now())
        except TimedOut:
            raise Stop(answer.gate.reason or Reason.TIMEOUT, f"Waited in vain. {answer.gate.message}") from None
        operation.written(answer.status)
    if answer.gate.answer == Answer.REFUSE:
        raise Stop(answer.gate.reason or Reason.VALIDATION_FAILED, answer.gate.message, refused=True)
    operation.end(gate.step, answer.gate.message)
    return answer


async def _await(operation: OperationRun, gate: Gate[A], request: StepRequest, within: timedelta) -> A:
    if within <= timedelta(0):
        raise TimedOut
    answer: A = await operation.follow(gate.wait, request, summary=gate.wait_summary, within=within)
    return answer

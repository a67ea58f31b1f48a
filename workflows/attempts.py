"""Attempts at an Operation's work until there is an end: begun anew by itself, by a person, or not at all."""

from collections import Counter
from collections.abc import Mapping
from typing import Protocol

from temporalio import workflow

from workflows.run import AttemptOfAnotherRun, OperationRun, Stop, TimedOut

with workflow.unsafe.imports_passed_through():
    from operation_engine.domain import attempts, decisions, lifecycle, steps
    from operation_engine.domain.decisions import Answer, Verb
    from operation_engine.domain.lifecycle import Life
    from operation_engine.domain.resources.operation_status import AttemptCause, OperationStatus
    from operation_engine.domain.resources.reasons import Reason
    from operation_engine.domain.verdicts import Verdict

ONCE = 1
AUTOMATIC_ATTEMPTS: Mapping[Reason, int] = {Reason.STORAGE_LOCATION_UNAVAILABLE: 3}
"""How often work is begun anew without asking: once where Velero's own restart ended it, but for these."""


class Again(Exception):
    """The attempt is over through no fault of the work; its verdict says why."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict


class Work(Protocol):
    """What is attempted."""

    async def attempt(self, cause: AttemptCause, skip: str | None) -> OperationStatus:
        """One attempt, to the Operation's end. Raises Stop where it failed, Again where it is to be begun anew."""

    async def plan_again(self, verdict: Verdict | None) -> None:
        """Show the steps that come again. The verdict is None where a person wants it so."""


async def attempt_to_the_end(operation: OperationRun, work: Work) -> OperationStatus:
    """The Operation's last status. Raises Stop with the reason of its failure."""
    cause, skip, automatic = AttemptCause.INITIAL, None, Counter[Reason]()
    while True:
        try:
            return await work.attempt(cause, skip)
        except Again as again:
            reason = again.verdict.reason
            if automatic[reason] < AUTOMATIC_ATTEMPTS.get(reason, ONCE):
                automatic[reason] += 1
                cause, skip = AttemptCause.AUTOMATIC, None
                await work.plan_again(again.verdict)
                continue
            failed = Stop(reason, again.verdict.message)
        except AttemptOfAnotherRun:
            # What a person decided for that attempt (to skip a step) holds for the one that takes its place.
            cause = AttemptCause.RESET
            await work.plan_again(None)
            continue
        except Stop as stop:
            failed = stop
        except TimedOut as bound:
            failed = Stop(Reason.ENGINE_UNAVAILABLE, f"An outside system did not answer in time: {bound}")
        answer = await _decided(operation, failed)
        cause, skip = AttemptCause.HUMAN, answer.skip
        await work.plan_again(None)


async def _decided(operation: OperationRun, failed: Stop) -> Answer:
    """A person's retry. Raises Stop where nobody is asked, nobody answers, or the answer is to give up."""
    attempt, within = operation.next.attempt, operation.clocks.decision_timeout
    last = operation.decisions.last
    is_decided = last is not None and last.attempt == attempt
    if not decisions.asks_a_person(failed.reason, attempt) or is_decided or not within:
        raise failed
    await _ask(operation, failed, attempt)
    answer = await operation.decisions.answer(within)
    if answer is None:
        raise Stop(
            Reason.DECISION_TIMEOUT,
            f"Nobody decided for {within} about attempt {attempt}, which failed ({failed.reason}): {failed.message}",
        )
    operation.next = operation.next.model_copy(update={"decision": decisions.recorded(answer, operation.now())})
    if answer.verb == Verb.ABORT:
        raise Stop(
            Reason.ABORTED_BY_USER,
            f"Aborted by {answer.by} after attempt {attempt} had failed ({failed.reason}): {failed.message}",
        )
    return answer


async def _ask(operation: OperationRun, failed: Stop, attempt: int) -> None:
    """Write down what failed, and that a person is to decide."""
    now = operation.now()
    over = steps.skip_rest(steps.fail_current(operation.next, now, failed.message))
    over = attempts.conclude(over, "Failed", str(failed.reason), now)
    question = decisions.question(operation.ref, failed.reason, failed.message, attempt)
    operation.next = lifecycle.enter(over, Life.DECIDING, Reason.AWAITING_DECISION, question, now)
    operation.decisions.ask(decisions.awaited(failed.reason, attempt))
    await operation.write(f"Ask a person about attempt {attempt}")

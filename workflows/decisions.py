"""The shared waiting for a person: Updates and Signals `retry` and `abort`, and the gate that they open.

Workflows inherit `Decidable`; their attempts wait in `decide`. Handlers take anything a person can type into the
Temporal UI and check it themselves: a typed argument that does not fit would fail the workflow's task for ever.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from operation_engine.domain import decisions
    from operation_engine.domain.decisions import Answer, Awaited, Refused, Verb
    from operation_engine.domain.identity import SPEC_CHANGED_SIGNAL

REFUSED = "Refused"
_KEPT_REFUSALS = 3
_RETRY = 'Try again after a failed attempt: {"attempt": N}, with the number of the attempt that failed.'
_ABORT = 'Give up after a failed attempt: {"attempt": N}, with the number of the attempt that failed.'


class Cancelled(Exception):
    """Somebody asked to cancel: the run lets go of its work and ends. The text, once there is one, tells of it."""


class Decisions:
    """What is asked of people and what they answered; changed by handlers, awaited by the run."""

    def __init__(self) -> None:
        self.awaited: Awaited | None = None
        self.last: Answer | None = None
        self.refusals: tuple[str, ...] = ()
        """Sentences for those whose Signal did not count: a Signal has no answer of its own."""
        self.show: Callable[[], None] = lambda: None
        self.spec_changed = False
        """Somebody changed what may change of the spec (an approval): look again."""
        self.cancelled = False
        """Temporal was asked to cancel the run: by the controller, the UI or the command line."""

    def heed(self) -> None:
        """Raises Cancelled once somebody asked for it."""
        if self.cancelled:
            self.awaited = None
            raise Cancelled

    def take(self, verb: Verb, payload: Any) -> Answer:
        """Count an answer. Raises decisions.Refused."""
        answer = decisions.read(verb, payload, self.awaited, self.last)
        self.awaited, self.last, self.refusals = None, answer, ()
        self.show()
        return answer

    def signalled(self, verb: Verb, payload: Any) -> None:
        """Count a Signal's answer, or show why it does not count."""
        if decisions.counted_already(verb, payload, self.last):
            return
        try:
            self.take(verb, payload)
        except Refused as refused:
            self.refusals = (*self.refusals, f"Signal {verb} refused: {refused}")[-_KEPT_REFUSALS:]
            self.show()

    def updated(self, verb: Verb, payload: Any) -> None:
        """Count an Update's answer. It was checked before; an error that is no failure would hang the task."""
        self.check(verb, payload)
        self.take(verb, payload)

    def check(self, verb: Verb, payload: Any) -> None:
        """An Update's validator: refused before it counts, with one sentence."""
        try:
            decisions.read(verb, payload, self.awaited, self.last)
        except Refused as refused:
            raise ApplicationError(str(refused), type=REFUSED, non_retryable=True) from None

    def ask(self, question: Awaited) -> None:
        """From now on an answer counts: before the question is written, for who reads it may answer at once."""
        self.awaited = question

    async def answer(self, within: timedelta) -> Answer | None:
        """The decision on what was asked; None when nobody decided in time. Raises Cancelled."""
        summary = f"Wait for a decision on attempt {self.awaited.attempt}" if self.awaited else None
        try:
            await workflow.wait_condition(
                lambda: self.awaited is None or self.cancelled, timeout=within, timeout_summary=summary
            )
        except TimeoutError:
            self.awaited = None
            return None
        self.heed()
        return self.last


class Decidable:
    """A workflow whose failed work waits for a person."""

    def __init__(self) -> None:
        self.decisions = Decisions()

    @workflow.update(name=Verb.RETRY, description=_RETRY)
    def update_retry(self, payload: Any = None, *more: Any) -> str:
        self.decisions.updated(Verb.RETRY, _one(payload, more))
        return "It is tried again."

    @update_retry.validator
    def _check_retry(self, payload: Any = None, *more: Any) -> None:
        self.decisions.check(Verb.RETRY, _one(payload, more))

    @workflow.update(name=Verb.ABORT, description=_ABORT)
    def update_abort(self, payload: Any = None, *more: Any) -> str:
        self.decisions.updated(Verb.ABORT, _one(payload, more))
        return "It ends as Failed, AbortedByUser."

    @update_abort.validator
    def _check_abort(self, payload: Any = None, *more: Any) -> None:
        self.decisions.check(Verb.ABORT, _one(payload, more))

    @workflow.signal(name=Verb.RETRY, description=_RETRY)
    def signal_retry(self, payload: Any = None, *more: Any) -> None:
        self.decisions.signalled(Verb.RETRY, _one(payload, more))

    @workflow.signal(name=Verb.ABORT, description=_ABORT)
    def signal_abort(self, payload: Any = None, *more: Any) -> None:
        self.decisions.signalled(Verb.ABORT, _one(payload, more))

    @workflow.signal(name=SPEC_CHANGED_SIGNAL, description="Sent by the controller: the Operation's spec has changed.")
    def signal_spec_changed(self, *payloads: Any) -> None:
        self.decisions.spec_changed = True


def _one(payload: Any, more: tuple[Any, ...]) -> Any:
    """The command line sends as many payloads as it is given; more than one are no decision."""
    return [payload, *more] if more else payload

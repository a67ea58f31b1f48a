"""One run of an Operation as every workflow sees it: its status, the activities it calls, how it ends.

A workflow reads as a runbook because this holds the mechanics: each step's activity is handed the report to enter
with, gives back the status as it stands, and the UI is told the same at once.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, NoReturn, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, RetryState
from temporalio.exceptions import TimeoutError as ActivityTimeout

from workflows.decisions import Cancelled, Decisions

with workflow.unsafe.imports_passed_through():
    from activities.failures import ATTEMPT_OF_ANOTHER_RUN, FENCED
    from activities.operations import OperationActivities
    from activities.requests import HEARTBEAT_TIMEOUT, Claimed, ClaimRequest, GateAnswer, StepRequest
    from operation_engine.domain import attempts, lifecycle, report, search, steps
    from operation_engine.domain.admission import Answer, Gate
    from operation_engine.domain.details import BEGINNING, current_details, fenced_details
    from operation_engine.domain.identity import OperationRef
    from operation_engine.domain.lifecycle import Life
    from operation_engine.domain.policy import Clocks
    from operation_engine.domain.report import StatusReport
    from operation_engine.domain.resources.operation_status import OperationStatus, StepState
    from operation_engine.domain.resources.reasons import Reason

CALL = timedelta(seconds=45)
"""One try of a short call; a worker that was killed in it is noticed after this."""
CALL_WITHIN = timedelta(hours=1)
"""All tries of a short call: as long as an API server may be away before an Operation gives up."""
STATUS_WITHIN = timedelta(hours=72)
"""All tries to write the end: the truth is worth more patience than the work."""
ABSENCE = timedelta(seconds=30)
"""How long a target may take to appear: manifests applied together arrive in any order."""
LOOK_AGAIN = timedelta(seconds=5)
IN_ORDER = "The spec, its namespace and its target are in order."
_BACKOFF = RetryPolicy(
    initial_interval=timedelta(milliseconds=500), backoff_coefficient=2, maximum_interval=timedelta(seconds=15)
)
_REASONS = {str(reason): reason for reason in Reason}
A = TypeVar("A", bound=GateAnswer)
_PHASE = SearchAttributeKey.for_keyword(search.PHASE)


class Stop(Exception):
    """The run ends Failed with this reason; `refused` = before anything was done."""

    def __init__(self, reason: Reason, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.reason, self.message, self.refused = reason, message, refused


class TimedOut(Exception):
    """An activity was not done within its bound."""


class AttemptOfAnotherRun(Exception):
    """By a Reset this run came into an attempt that it did not begin: it begins one of its own."""


class OnCancel(Enum):
    """What becomes of an activity that is under way when somebody asks to cancel."""

    LEAVE = auto()
    """It only reads and tells: nobody waits for it, and the fence keeps out what it still writes."""
    FINISH = auto()
    """It changes the world: half of that is worse than all of it."""


class OperationRun:
    """The state of one run. `status` is what was last written; `next` what the next activity enters with."""

    def __init__(self, ref: OperationRef, decisions: Decisions | None = None) -> None:
        self.ref = ref
        self.decisions = decisions or Decisions()
        self.decisions.show = self._show_next
        self.status = OperationStatus()
        self.next = OperationStatus()
        self.claimed: Claimed | None = None
        self.serial = 0
        self.events: dict[str, int] = {}
        """For each step, the event of the history to which a Reset repeats it."""
        self._called_for: str | None = None

    @property
    def facts(self) -> Claimed:
        """What of the spec the runbook decides by. Only after `claim`."""
        if self.claimed is None:
            raise RuntimeError("the Operation is not claimed yet")
        return self.claimed

    @property
    def clocks(self) -> Clocks:
        """Only after admission, which refuses durations that do not parse."""
        if self.facts.clocks is None:
            raise RuntimeError("admission let an unreadable duration pass")
        return self.facts.clocks

    async def claim(self, names: Sequence[str]) -> None:
        """Make the Operation this run's own and show the plan. Raises Cancelled where it was to be cancelled already.

        The controller, which has started this run, passes that on: only then may the run end as cancelled.
        """
        request = ClaimRequest(ref=self.ref, steps=tuple(names))
        self.claimed = await self.call(
            OperationActivities.claim_operation, request, summary="Claim the Operation", within=STATUS_WITHIN
        )
        self.written(self.claimed.status)
        if self.claimed.cancel:
            await workflow.wait_condition(lambda: self.decisions.cancelled)
        self.decisions.heed()

    async def admit(self, step: str) -> None:
        """Whether it may run at all. Raises Stop, refused; a target that is missing is given time to appear."""
        patience = workflow.now() + ABSENCE
        self.begin(step)
        while True:
            answer = await self.enter(OperationActivities.admit_operation, "Check spec, namespace and target")
            if answer.gate.answer == Answer.PASS:
                self.end(step, IN_ORDER)
                self.next = lifecycle.accept(self.next, IN_ORDER, self.now())
                return
            if answer.gate.answer == Answer.REFUSE or workflow.now() >= patience:
                raise Stop(answer.gate.reason or Reason.VALIDATION_FAILED, answer.gate.message, refused=True)
            self.wait(step, answer.gate)
            with suppress(TimeoutError):
                await workflow.wait_condition(
                    lambda: self.decisions.cancelled,
                    timeout=LOOK_AGAIN,
                    timeout_summary=f"Look again: {answer.gate.reason}",
                )

    def begin(self, step: str, message: str = "") -> None:
        """The step runs from the next write on."""
        self.next = steps.begin(self.next, step, self.now(), message)

    def end(self, step: str, message: str, state: StepState = StepState.SUCCEEDED) -> None:
        """The step has ended; told with the next write."""
        self.next = steps.end(self.next, step, state, self.now(), message)

    def wait(self, step: str, gate: Gate) -> None:
        """The step waits at a gate; the Operation is Blocked and goes on by itself."""
        waiting = steps.wait(self.next, step, self.now(), gate.message)
        reason = gate.reason or Reason.PENDING
        self.next = lifecycle.enter(waiting, Life.WAITING, reason, gate.message, self.now())

    def running(self, reason: Reason, message: str) -> None:
        """Past all gates: the Operation works."""
        if lifecycle.is_running(self.next):
            self.next = lifecycle.say(self.next, reason, message)
        else:
            self.next = lifecycle.enter(self.next, Life.RUNNING, reason, message, self.now())

    def report(self) -> StatusReport:
        """From the status that stands to the one that comes, as this run's next report."""
        self.serial += 1
        return report.report(self.status, self.next, self.serial)

    def written(self, status: OperationStatus) -> None:
        """This status stands now: go on from it, and show it in the UI."""
        if status.phase != self.status.phase:
            workflow.upsert_search_attributes([_PHASE.value_set(str(status.phase))])
        self.status = self.next = status
        self._show_next()

    async def enter(self, verb: Callable[[Any, StepRequest], Coroutine[Any, Any, A]], summary: str) -> A:
        """Call a gate's activity: it enters with the report and answers."""
        answer: A = await self.call(verb, StepRequest(ref=self.ref, report=self.report()), summary=summary)
        self.written(answer.status)
        return answer

    async def write(self, summary: str = "Write the end", *, even_cancelled: bool = False) -> None:
        """Write what has come together; for ends and questions, where no activity follows that would."""
        request = StepRequest(ref=self.ref, report=self.report())
        status: OperationStatus = await self.call(
            OperationActivities.write_report,
            request,
            summary=summary,
            within=STATUS_WITHIN,
            even_cancelled=even_cancelled,
        )
        self.written(status)

    async def call(
        self,
        verb: Callable[..., Any],
        request: Any,
        *,
        summary: str,
        within: timedelta = CALL_WITHIN,
        one_try: timedelta | None = None,
        on_cancel: OnCancel = OnCancel.FINISH,
        even_cancelled: bool = False,
    ) -> Any:
        """A short call: tried again on transient errors for as long as `within`. Raises Stop, TimedOut, Cancelled.

        A verb whose one try may take longer than a short call has heartbeats. Once it is cancelled the run calls only
        what lets go of its work (`even_cancelled`).
        """
        if not even_cancelled:
            self.decisions.heed()
        self._note_event()
        self._show_next()
        return await self._guarded(
            verb,
            request,
            on_cancel,
            summary=summary,
            start_to_close_timeout=one_try or CALL,
            schedule_to_close_timeout=within,
            heartbeat_timeout=HEARTBEAT_TIMEOUT if one_try else None,
        )

    async def follow(
        self,
        verb: Callable[..., Any],
        request: Any,
        *,
        summary: str,
        within: timedelta,
        on_cancel: OnCancel = OnCancel.LEAVE,
        even_cancelled: bool = False,
    ) -> Any:
        """A long wait, on its own queue so that it starves no short call. Raises Stop, TimedOut, Cancelled."""
        if not even_cancelled:
            self.decisions.heed()
        self._note_event()
        self._show_next()
        return await self._guarded(
            verb,
            request,
            on_cancel,
            summary=summary,
            task_queue=f"{workflow.info().task_queue}-waits",
            start_to_close_timeout=within,
            schedule_to_close_timeout=within,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
        )

    async def _guarded(self, verb: Callable[..., Any], request: Any, on_cancel: OnCancel, **options: Any) -> Any:
        """An activity whose failures have become Stop, TimedOut, or the end of a fenced run."""
        under_way = workflow.start_activity_method(verb, request, retry_policy=_BACKOFF, **options)
        if on_cancel == OnCancel.LEAVE:
            await workflow.wait_condition(lambda: under_way.done() or self.decisions.cancelled)
            if not under_way.done():
                # Not waited for: it hears of it with its next heartbeat only, and what it still writes is late.
                under_way.cancel()
                with suppress(ActivityError, asyncio.CancelledError):
                    await under_way
                self.decisions.heed()
        try:
            return await under_way
        except ActivityError as error:
            raise _translated(error) from error

    def _show_next(self) -> None:
        """An activity may take long: the UI tells what it enters with, not what was before it."""
        # Whoever cancelled it would have to say so again after a Reset: none is proposed.
        events = {} if self.decisions.cancelled else self.events
        workflow.set_current_details(current_details(self.next, self.decisions.refusals, events))

    def _note_event(self) -> None:
        """The task that calls a step's first activity ends with the event after this one."""
        step = self.next.step or BEGINNING
        if step != self._called_for:
            self._called_for = step
            self.events[step] = workflow.info().get_current_history_length() + 1

    async def fail(self, stop: Stop) -> NoReturn:
        """Write the end, and end the workflow as failed with the reason as the failure's type."""
        now = self.now()
        failed = steps.skip_rest(steps.fail_current(self.next, now, stop.message))
        failed = attempts.conclude(failed, "Failed", str(stop.reason), now)
        if stop.refused:
            self.next = lifecycle.refuse(failed, stop.reason, stop.message, now)
        else:
            self.next = lifecycle.enter(failed, Life.FAILED, stop.reason, stop.message, now)
        try:
            await self.write(even_cancelled=True)
        except (Stop, TimedOut) as unwritten:
            # The run must end all the same: an exception that is no failure would be tried again for ever.
            workflow.logger.error(f"the end could not be written: {unwritten}")
        # Without a cause: the UI would show the sentence a second time, with a traceback.
        raise ApplicationError(stop.message, type=str(stop.reason), non_retryable=True) from None

    async def end_cancelled(self, message: str) -> NoReturn:
        """Write the end, and end the workflow as cancelled. One whose Operation is gone ends so without a word."""
        now = self.now()
        over = steps.skip_rest(steps.stop_current(self.next, now, "Cancelled."))
        over = attempts.conclude(over, "Cancelled", str(Reason.CANCELLED_BY_USER), now)
        self.next = lifecycle.enter(over, Life.CANCELLED, Reason.CANCELLED_BY_USER, message, now)
        try:
            await self.write(even_cancelled=True)
        except (Stop, TimedOut, ApplicationError) as unwritten:
            workflow.logger.error(f"the end could not be written: {unwritten}")
        raise asyncio.CancelledError

    async def succeed(self, reason: Reason, message: str) -> OperationStatus:
        """Write the end; the status is the workflow's result."""
        now, unended = self.now(), self.next
        done = attempts.conclude(self.next, "Succeeded", str(reason), now)
        self.next = lifecycle.enter(done, Life.SUCCEEDED, reason, message, now)
        try:
            # What has succeeded has: a cancel that comes now comes too late.
            await self.write(even_cancelled=True)
        except (Stop, TimedOut):
            self.next = unended  # a success that cannot be written is none: the end is told as failed
            raise
        return self.status

    @staticmethod
    def now() -> datetime:
        """Workflow time in whole milliseconds, as a status keeps it."""
        now = workflow.now()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)


async def to_the_end(operation: OperationRun, runbook: Coroutine[Any, Any, OperationStatus]) -> OperationStatus:
    """The runbook's result; whatever stops it is written down as the Operation's end, and fails the workflow.

    It runs in a task of its own: a cancel must not strike it wherever it happens to wait, but where it can let go.
    """
    whole = asyncio.create_task(_to_an_end(operation, runbook))
    while True:
        try:
            return await asyncio.shield(whole)
        except asyncio.CancelledError:
            if whole.done():
                # It has ended in this very moment: as it says, and not as a cancel that came too late.
                return whole.result()
            operation.decisions.cancelled = True


async def _to_an_end(operation: OperationRun, runbook: Coroutine[Any, Any, OperationStatus]) -> OperationStatus:
    try:
        return await runbook
    except ApplicationError as error:
        if error.type == FENCED:
            workflow.set_current_details(fenced_details(error.message))
        raise
    except Cancelled as cancelled:
        return await operation.end_cancelled(str(cancelled) or "Cancelled before anything was done.")
    except Stop as stop:
        end = stop
    except TimedOut as bound:
        end = Stop(Reason.ENGINE_UNAVAILABLE, f"An outside system did not answer in time: {bound}")
    return await operation.fail(end)


def _translated(error: ActivityError) -> Exception:
    """Temporal ends the tries with whatever the last one died of: only the retry state tells that the bound passed."""
    cause = error.cause
    if error.retry_state == RetryState.TIMEOUT or isinstance(cause, ActivityTimeout):
        return TimedOut(_last_words(cause))
    if isinstance(cause, ApplicationError):
        if cause.type == FENCED:
            return ApplicationError(cause.message, type=FENCED, non_retryable=True)
        if cause.type == ATTEMPT_OF_ANOTHER_RUN:
            return AttemptOfAnotherRun(cause.message)
        return Stop(_REASONS.get(cause.type or "", Reason.ENGINE_UNAVAILABLE), lifecycle.bounded(cause.message))
    return error


def _last_words(error: BaseException | None) -> str:
    """What the last try died of, where there was one; of a wait, what it waited for by its last heartbeat."""
    if isinstance(error, ActivityTimeout) and error.cause is None:
        said = next(iter(error.last_heartbeat_details), None)
        if isinstance(said, str) and said:
            return lifecycle.bounded(said)
    if isinstance(error, ActivityTimeout) and error.cause is not None:
        error = error.cause
    return lifecycle.bounded(error.message if isinstance(error, ApplicationError) else str(error))

"""Attempts at the work: numbered once and for ever, with the name of the Velero object written before it exists.

Called by `records.operations` inside the compare-and-swap that makes an allocation true, and by workflows at the end.
"""

from datetime import datetime

from operation_engine.domain.identity import OperationRef, Role, velero_name
from operation_engine.domain.resources.operation_status import Attempt, AttemptCause, OperationStatus

KEPT_FIRST, KEPT_LAST = 1, 19
GIVEN_UP, BY_RESET = "Cancelled", "Reset"


def allocate(
    status: OperationStatus, ref: OperationRef, run_id: str, after: int, cause: AttemptCause, now: datetime
) -> OperationStatus:
    """The status with the attempt that follows number `after` in this run.

    Asked again after a crash, the same run finds what it allocated; another run (a Reset) gets a new number.
    """
    own = next((a for a in status.attempts if a.number > after and a.run_id == run_id), None)
    if own is not None:
        return status.model_copy(update={"attempt": own.number})
    highest = max((a.number for a in status.attempts), default=0)
    number = max(highest, after) + 1
    attempt = Attempt(
        number=number,
        cause=_cause(cause, number, unexpected=highest != after),
        velero_name=velero_name(ref, Role.MAIN, number),
        run_id=run_id,
        started_at=now,
    )
    # Progress is the attempt's: it may not go backwards within one, and begins anew with the next.
    before = tuple(_given_up(a, now) for a in status.attempts)
    fresh = {"attempt": number, "attempts": _kept((*before, attempt)), "progress": None}
    return status.model_copy(update=fresh)


def _cause(asked: AttemptCause, number: int, *, unexpected: bool) -> AttemptCause:
    """A run that did not know of the attempts before, or took one that is not the first for it, came by a Reset."""
    if unexpected or (asked == AttemptCause.INITIAL and number > 1):
        return AttemptCause.RESET
    return asked


def _given_up(attempt: Attempt, now: datetime) -> Attempt:
    """Only a Reset leaves an attempt behind that nobody saw the end of."""
    if attempt.outcome is not None:
        return attempt
    return attempt.model_copy(update={"outcome": GIVEN_UP, "reason": BY_RESET, "finished_at": now})


def is_unsettled(attempt: Attempt) -> bool:
    """Whether nobody saw the end of it: its Velero object may only now be created."""
    return attempt.outcome is None or (attempt.outcome, attempt.reason) == (GIVEN_UP, BY_RESET)


def find(status: OperationStatus, number: int) -> Attempt | None:
    return next((a for a in status.attempts if a.number == number), None)


def merge(live: tuple[Attempt, ...], reported: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """Attempts only grow: what stands is kept, and what a report knows better (an end) is taken."""
    by_number = {a.number: a for a in live}
    for attempt in reported:
        old = by_number.get(attempt.number)
        if old is None or old.outcome is None:
            by_number[attempt.number] = attempt
    return _kept(tuple(by_number[n] for n in sorted(by_number)))


def rejoined(live: OperationStatus, wanted: OperationStatus) -> OperationStatus:
    """What a run reports, with the attempt it may not have heard of: the activity that began it never answered."""
    number = max(live.attempt, wanted.attempt)
    joined = wanted.model_copy(update={"attempt": number, "attempts": merge(live.attempts, wanted.attempts)})
    if joined.finished_at is None:
        return joined
    return conclude(joined, str(joined.phase), joined.reason or "", joined.finished_at)


def conclude(status: OperationStatus, outcome: str, reason: str, now: datetime) -> OperationStatus:
    """The current attempt ended; an attempt that ended before keeps its outcome."""
    attempts = tuple(
        a.model_copy(update={"outcome": outcome, "reason": reason, "finished_at": now})
        if a.number == status.attempt and a.outcome is None
        else a
        for a in status.attempts
    )
    return status.model_copy(update={"attempts": attempts})


def _kept(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """The first and the latest: status is bounded, whatever happens."""
    if len(attempts) <= KEPT_FIRST + KEPT_LAST:
        return attempts
    return attempts[:KEPT_FIRST] + attempts[-KEPT_LAST:]

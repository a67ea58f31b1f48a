"""How far the work is: Velero's counts are best effort, so they are made monotonic here.

Velero's totals grow while it works and can read 100 % minutes before the end (Velero issues 5990, 7798).
"""

from operation_engine.domain.resources.operation_status import Progress
from operation_engine.domain.velero import Observation

BEFORE_THE_END = 99


def advance(before: Progress | None, observation: Observation) -> Progress | None:
    """The progress after an observation: never backwards, never 100 before the end."""
    done, total = observation.items_done, observation.items_total
    if done is None or not total:
        return before
    percent = min(BEFORE_THE_END, 100 * done // total)
    return latest(before, Progress(percent=percent, items_done=done, items_total=total))


def latest(a: Progress | None, b: Progress | None) -> Progress | None:
    """The one that is further; writers that come late must not turn it back."""
    if a is None or b is None:
        return a or b
    return a if (a.percent or 0, a.items_done or 0) > (b.percent or 0, b.items_done or 0) else b


def complete(before: Progress | None, items: int) -> Progress:
    """The end: 100 %, with the count that was verified."""
    base = before or Progress()
    return base.model_copy(update={"percent": 100, "items_done": items, "items_total": items})

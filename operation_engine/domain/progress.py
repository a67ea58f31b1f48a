"""How far the work is: Velero's counts are best effort, so they are made monotonic here.

Velero's totals grow while it works and can read 100 % minutes before the end (Velero issues 5990, 7798). Its items are
counted before its volumes are uploaded: where data moves, the bytes are most of the way.
"""

from collections.abc import Sequence

from operation_engine.domain.resources.operation_status import Progress
from operation_engine.domain.transfers import Transfer
from operation_engine.domain.velero import Observation

BEFORE_THE_END = 99
ITEMS_SHARE = 10
"""Percent that all items together are worth where volume data moves."""
ITEMS_ALONE = 50
"""The same while no volume has begun: a pod's annotation may still ask for some, and those come after its items."""


def advance(before: Progress | None, observation: Observation, transfers: Sequence[Transfer] = ()) -> Progress | None:
    """The progress after an observation: never backwards, never 100 before the end."""
    done, total = observation.items_done, observation.items_total
    if (done is None or not total) and not transfers:
        return before
    items = min(1.0, (done or 0) / total) if total else 0.0
    moved, to_move = sum(t.bytes_done for t in transfers), sum(t.bytes_total for t in transfers)
    now = Progress(
        percent=_percent(items, transfers, data_moves=bool(transfers) or observation.moves_data),
        items_done=done,
        items_total=total,
        bytes_done=moved if transfers else None,
        bytes_total=to_move if transfers else None,
    )
    return latest(before, now)


def _percent(items: float, transfers: Sequence[Transfer], *, data_moves: bool) -> int:
    """A volume whose size nobody knows yet has not moved: the others' bytes say nothing of it."""
    if not data_moves:
        return int(ITEMS_ALONE * items)
    share = sum(_share(transfer) for transfer in transfers) / len(transfers) if transfers else 0.0
    return int(ITEMS_SHARE * items + (BEFORE_THE_END - ITEMS_SHARE) * share)


def _share(transfer: Transfer) -> float:
    return min(1.0, transfer.bytes_done / transfer.bytes_total) if transfer.bytes_total else 0.0


def latest(a: Progress | None, b: Progress | None) -> Progress | None:
    """Each number as far as it has come; writers that come late must not turn it back. An end stands as it is."""
    if a is None or b is None:
        return a or b
    for end in (b, a):
        if end.percent == 100:
            return end
    fields = Progress.model_fields
    return Progress(**{name: _further(getattr(a, name), getattr(b, name)) for name in fields})


def _further(a: int | None, b: int | None) -> int | None:
    return max((n for n in (a, b) if n is not None), default=None)


def complete(before: Progress | None, items: int, volume_bytes: int | None = None) -> Progress:
    """The end: 100 %, with what was verified. Bytes that were moved stay told, whatever of them was kept."""
    base = before or Progress()
    moved: dict[str, int | None] = {}
    if volume_bytes:
        done = _further(base.bytes_done, volume_bytes)
        moved = {"bytes_done": done, "bytes_total": _further(base.bytes_total, done)}
    return base.model_copy(update={"percent": 100, "items_done": items, "items_total": items, **moved})

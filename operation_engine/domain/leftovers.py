"""What a failed restore left behind, and what of it may be deleted: pure.

Only what the attempt itself *created*: Velero puts its labels on objects that it merely updated, too, and an object of
the same name may be older than the attempt, or have been made anew since.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from operation_engine.domain.resources.common import ApiModel
from operation_engine.domain.restored import CLAIM, Action, RestoredItem

MAX_TOLD = 10
NEVER_GUESSED = "v1/Secret"


class Leftover(ApiModel):
    """One object that an attempt created."""

    kind: str
    """As in the restore's list: `apps/v1/Deployment`."""
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.kind.rpartition('/')[2]} {self.name}"


def created_in(namespace: str, items: Iterable[RestoredItem]) -> Mapping[str, frozenset[str]]:
    """Names by kind of what the attempt created in the namespace; never what has no namespace."""
    found: dict[str, set[str]] = {}
    for item in items:
        if item.namespace == namespace and item.action == Action.CREATED:
            found.setdefault(item.kind, set()).add(item.name)
    return {kind: frozenset(names) for kind, names in found.items()}


def deletable(
    kind: str, created: frozenset[str], labelled: Iterable[Mapping[str, Any]], since: datetime
) -> tuple[Leftover, ...]:
    """Of the objects that carry the attempt's label, those that it created and that are no older than it."""
    return tuple(
        Leftover(kind=kind, name=meta["name"], uid=meta["uid"])
        for meta in (item["metadata"] for item in labelled)
        if meta["name"] in created and datetime.fromisoformat(meta["creationTimestamp"]) >= since
    )


def unlisted(
    kind: str, labelled: Iterable[Mapping[str, Any]], since: datetime, filled: Collection[str]
) -> tuple[Leftover, ...]:
    """The same of an attempt that never wrote its list, and was not told to update what exists.

    Velero then labels nothing that it did not create, but others may copy labels: so a Secret is left, and a claim goes
    only if a data mover of the attempt was at work on it (`filled`, uids), for what is in it came half from the backup.
    """
    found = list(labelled)
    names = frozenset(item["metadata"]["name"] for item in found if _is_told(kind, item["metadata"]["uid"], filled))
    return deletable(kind, names, found, since)


def _is_told(kind: str, uid: str, filled: Collection[str]) -> bool:
    return uid in filled if kind == CLAIM else kind != NEVER_GUESSED


def told(
    deleted: Sequence[object], kept_kinds: Sequence[str], unreadable: Sequence[str], listless: Sequence[str] = ()
) -> str:
    """What was done about leftovers, and what was not."""
    parts = []
    if deleted:
        rest = f" and {len(deleted) - MAX_TOLD} more" if len(deleted) > MAX_TOLD else ""
        parts.append(f"Deleted what the attempt before created: {', '.join(map(str, deleted[:MAX_TOLD]))}{rest}.")
    if kept_kinds:
        parts.append(f"Left, for the engine has no right to delete these kinds: {', '.join(kept_kinds[:MAX_TOLD])}.")
    if listless:
        parts.append(
            f"Velero Restore {', '.join(listless)} never wrote its list: its objects were told by its label and their "
            "age, claims by its data movers; Secrets and other kinds may be left."
        )
    if unreadable:
        parts.append(
            f"Nothing deleted of Velero Restore {', '.join(unreadable)}: its resource list cannot be read "
            "(it may be gone, was never made, or is not this Operation's)."
        )
    return " ".join(parts) or "The attempt before created nothing that is still there."

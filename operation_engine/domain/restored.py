"""What a restore did, from its resource list, set against what the backup holds: pure, lenient to a newer Velero.

`RestoreResourceList` names each object as `namespace/name(created)`; updated, skipped (it exists and is the same) and
failed are the other words. An object that exists and differs is "failed" there, though it is only a warning.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from operation_engine.domain.resources.common import ApiModel
from operation_engine.domain.safety import DEFAULT_CONFIG_MAPS

NAMESPACE, CLAIM, VOLUME = "v1/Namespace", "v1/PersistentVolumeClaim", "v1/PersistentVolume"
WORKLOADS = ("apps/v1/Deployment", "apps/v1/StatefulSet", "apps/v1/DaemonSet")
DERIVED = (
    "v1/Pod",
    "v1/Endpoints",
    "discovery.k8s.io/v1/EndpointSlice",
    "apps/v1/ReplicaSet",
    "apps/v1/ControllerRevision",
)
"""What controllers make for a workload or a Service."""
_ENTRY = re.compile(r"(?P<name>.+)\((?P<action>[a-z]+)\)")
_NEVER_RESTORED = ("v1/Event", "events.k8s.io/v1/Event", "v1/Node")


class Action(StrEnum):
    """What became of one object."""

    CREATED = "created"
    UPDATED = "updated"
    SKIPPED = "skipped"
    FAILED = "failed"


class RestoredItem(ApiModel):
    """One object of a restore's list. The namespace is the one restored into; none for cluster-wide objects."""

    kind: str
    """`group/version/Kind`, the core group without its name: `apps/v1/Deployment`, `v1/Secret`."""
    namespace: str | None = None
    name: str
    action: Action

    @property
    def counts(self) -> bool:
        """Whether it came back. A claim that existed keeps its data, even where Velero puts its labels on it."""
        return self.action == Action.CREATED or (self.action == Action.UPDATED and self.kind != CLAIM)

    def __str__(self) -> str:
        return f"{self.kind.rpartition('/')[2]} {self.name}"


def restored_items(content: Any) -> tuple[RestoredItem, ...]:
    """`RestoreResourceList`, parsed; entries of a form that is not known are left out."""
    return tuple(_items(content)) if isinstance(content, Mapping) else ()


def _items(content: Mapping[str, Any]) -> Iterator[RestoredItem]:
    for kind, entries in sorted(content.items()):
        for entry in entries or ():
            match = _ENTRY.fullmatch(entry)
            if match is None or match["action"] not in Action._value2member_map_:
                continue
            namespace, _, name = match["name"].rpartition("/")
            yield RestoredItem(kind=kind, namespace=namespace or None, name=name, action=Action(match["action"]))


def restored_count(items: Sequence[RestoredItem], carried: frozenset[tuple[str, str]] = frozenset()) -> int:
    """Objects that came back, with those that attempts before this one had brought (`carried`, by kind and name).

    The Namespace and volumes are what they stand in, not what was asked for. Pods and the like are made anew beside
    a workload that runs: where the list has workloads, they say nothing.
    """
    return sum(item.counts or (item.kind, item.name) in carried for item in _telling(items))


def brought(items: Sequence[RestoredItem]) -> frozenset[tuple[str, str]]:
    """What an attempt brought back, for the count of a later one; not claims: what is in them may not be the data."""
    return frozenset((item.kind, item.name) for item in _telling(items) if item.counts and item.kind != CLAIM)


def backed_up_count(backed_up: Mapping[str, Sequence[str]], items: Sequence[RestoredItem]) -> int:
    """Objects of the backup that could have come back: of the kinds that `restored_count` counts."""
    silent = {*_silent(items), *_NEVER_RESTORED}
    return sum(len(names) for kind, names in backed_up.items() if kind not in silent)


def _telling(items: Sequence[RestoredItem]) -> list[RestoredItem]:
    silent = _silent(items)
    return [item for item in items if item.kind not in silent]


def _silent(items: Sequence[RestoredItem]) -> frozenset[str]:
    has_workloads = any(item.kind in WORKLOADS for item in items)
    return frozenset({NAMESPACE, VOLUME, *(DERIVED if has_workloads else ())})


def kept_claims(items: Sequence[RestoredItem]) -> tuple[str, ...]:
    """Claims that existed: their data is not the backup's."""
    return tuple(item.name for item in items if item.kind == CLAIM and item.action != Action.CREATED)


def told(items: Sequence[RestoredItem]) -> str:
    """Counts by action, and by kind for what came back. What each namespace has a copy of its own of is not told."""
    actions = Counter(item.action for item in items if item.kind != NAMESPACE and not _is_every_namespaces(item))
    kinds = Counter(item.kind.rpartition("/")[2] for item in items if item.counts and item.kind != NAMESPACE)
    counts = ", ".join(f"{actions[action]} {action}" for action in Action if actions[action]) or "none"
    named = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common(12))
    return f"{counts} ({named})" if named else counts


def _is_every_namespaces(item: RestoredItem) -> bool:
    """It exists before anything is restored; Velero calls it failed where it differs, and nobody would want it back."""
    return item.kind == "v1/ConfigMap" and item.name in DEFAULT_CONFIG_MAPS and not item.counts


def missing(backed_up: Mapping[str, Sequence[str]], items: Sequence[RestoredItem]) -> tuple[str, ...]:
    """Kinds with the number of objects that the backup holds and the restore's list does not mention."""
    mentioned = Counter(item.kind for item in items)
    # A destination that exists is not in the list.
    mentioned[NAMESPACE] += 1
    return tuple(
        f"{kind.rpartition('/')[2]} {len(names) - mentioned[kind]}"
        for kind, names in sorted(backed_up.items())
        if kind not in _NEVER_RESTORED and len(names) > mentioned[kind]
    )


def workloads(items: Sequence[RestoredItem]) -> tuple[str, ...]:
    """`Kind/name` of what has to roll out, whether the restore made it or found it, the same or another."""
    return tuple(f"{item.kind.rpartition('/')[2]}/{item.name}" for item in items if item.kind in WORKLOADS)


def claims(items: Sequence[RestoredItem]) -> tuple[str, ...]:
    """Names of the claims that have to be bound."""
    return tuple(item.name for item in items if item.kind == CLAIM)

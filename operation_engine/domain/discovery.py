"""The kinds that a cluster serves, and the names that people give them: pure.

Plans need this: Velero's filters take plurals, singulars and short names, and a bucket tells kinds.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from operation_engine.domain.resources.common import ApiModel

EVERY = "*"
_BACKED_UP_WITH = {"list", "create", "get", "delete"}
_SEEN_TWICE = ("events.events.k8s.io",)
"""Served under two groups; Velero takes the older one (item_collector, 1.18)."""


class ServedKind(ApiModel):
    """One kind, in the version that its group prefers."""

    group: str = ""
    version: str
    plural: str
    kind: str
    singular: str = ""
    short_names: tuple[str, ...] = ()
    is_namespaced: bool = True
    verbs: frozenset[str] = frozenset()

    @property
    def resource(self) -> str:
        """As Velero's archives and filters call it: `deployments.apps`, `pods`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def listed_as(self) -> str:
        """As Velero's resource lists call it: `apps/v1/Deployment`, `v1/Pod`."""
        return "/".join(part for part in (self.group, self.version, self.kind) if part)

    @property
    def is_backed_up(self) -> bool:
        """Whether Velero looks at it at all, as a part of a namespace."""
        return self.is_namespaced and self.verbs >= _BACKED_UP_WITH and self.resource not in _SEEN_TWICE

    def is_called(self, name: str) -> bool:
        bare, _, group = name.partition(".")
        return bare in (self.plural, self.singular, *self.short_names) and group in ("", self.group)


def observe_kinds(*documents: Mapping[str, Any]) -> tuple[ServedKind, ...]:
    """From `APIGroupDiscoveryList`s (apidiscovery.k8s.io/v2), in the API server's order."""
    found = []
    for document in documents:
        for group in document.get("items") or ():
            versions = group.get("versions") or ()
            name = (group.get("metadata") or {}).get("name") or ""
            found += (
                [_kind(name, versions[0], entry) for entry in versions[0].get("resources") or ()] if versions else []
            )
    return tuple(found)


def _kind(group: str, version: Mapping[str, Any], entry: Mapping[str, Any]) -> ServedKind:
    return ServedKind(
        group=group,
        version=version["version"],
        plural=entry["resource"],
        kind=(entry.get("responseKind") or {}).get("kind") or "",
        singular=entry.get("singularResource") or "",
        short_names=tuple(entry.get("shortNames") or ()),
        is_namespaced=entry.get("scope") == "Namespaced",
        verbs=frozenset(entry.get("verbs") or ()),
    )


def resolved(names: Iterable[str] | None, kinds: Sequence[ServedKind]) -> frozenset[str]:
    """The resources that a filter names; what nobody serves stays as it is written, as Velero has it."""
    return frozenset(_resolved(name.lower(), kinds) for name in names or ())


def _resolved(name: str, kinds: Sequence[ServedKind]) -> str:
    return next((kind.resource for kind in kinds if kind.is_called(name)), name)

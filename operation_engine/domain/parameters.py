"""Which parameters belong to which type, and what is wrong with the ones that were given. Asked at admission."""

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from operation_engine.domain.resources.common import api_name
from operation_engine.domain.resources.operation_parameters import Parameters
from operation_engine.domain.resources.operation_spec import OperationSpec, OperationType

# What the public samples write, and what Velero calls it.
ALIASES: Final[Mapping[str, str]] = MappingProxyType({"retention": "ttl", "snapshotClassName": "csiSnapshotClassName"})

_SELECTION: Final = frozenset({"includedResources", "excludedResources", "labelSelector", "itemOperationTimeout"})

_KEYS: Final[Mapping[OperationType, frozenset[str]]] = MappingProxyType(
    {
        OperationType.BACKUP: _SELECTION
        | {
            "storageLocation",
            "ttl",
            "retention",
            "snapshotVolumes",
            "snapshotMoveData",
            "defaultVolumesToFsBackup",
            "csiSnapshotClassName",
            "snapshotClassName",
        },
        OperationType.RESTORE: _SELECTION
        | {
            "backupName",
            "namespaceMapping",
            "restorePVs",
            "existingResourcePolicy",
            "storageClassMapping",
            "existingVolumes",
            "safetyBackup",
            "cleanup",
            "verify",
        },
        OperationType.UPGRADE: frozenset(
            {"targetVersion", "valuesPatch", "backup", "rollback", "verify", "allowGitOpsManaged"}
        ),
    }
)


def parameter_keys(operation_type: OperationType) -> frozenset[str]:
    """The keys of `spec.parameters` that a type knows, aliases included; none for a type that is not built."""
    return _KEYS.get(operation_type, frozenset())


def given_keys(parameters: Parameters) -> tuple[str, ...]:
    """The keys that the user wrote, as they stand in the manifest, sorted."""
    known = {api_name(name) for name in Parameters.model_fields if getattr(parameters, name) is not None}
    return tuple(sorted(known | set(parameters.model_extra or {})))


def unknown_parameters(spec: OperationSpec) -> list[tuple[str, str | None]]:
    """The given keys that the type does not know, each with the nearest one that it does know, if one is near."""
    known = parameter_keys(spec.type)
    return [(key, _nearest(key, known)) for key in given_keys(spec.parameters) if key not in known]


def _nearest(key: str, known: frozenset[str]) -> str | None:
    by_lower = {name.lower(): name for name in sorted(known)}
    matches = difflib.get_close_matches(key.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None


def alias_conflicts(spec: OperationSpec) -> list[tuple[str, str]]:
    """The pairs (alias, key) that were both given; even equal values are refused, since one of them will be edited."""
    given = set(given_keys(spec.parameters))
    return [(alias, key) for alias, key in ALIASES.items() if alias in given and key in given]


def resolve_aliases(parameters: Parameters) -> Parameters:
    """The same parameters with every alias under its own key; the key wins where both are given."""
    return parameters.model_copy(
        update={
            "ttl": parameters.ttl or parameters.retention,
            "retention": None,
            "csi_snapshot_class_name": parameters.csi_snapshot_class_name or parameters.snapshot_class_name,
            "snapshot_class_name": None,
        }
    )

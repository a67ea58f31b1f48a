"""Restores as this engine writes them for Velero, and the choice of the backup to restore from: pure.

Used by the activities on Restores; the verdict on how one ended is in `domain.restore_verdicts`.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from operation_engine.domain import identity
from operation_engine.domain.admission import Answer, Gate, refuse, wait
from operation_engine.domain.resources.common import ApiModel, format_go_duration
from operation_engine.domain.resources.operation import Operation
from operation_engine.domain.resources.operation_spec import PartialFailure
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.velero import (
    NEVER_BACKED_UP,
    BackupObservation,
    BackupPhase,
    StorageLocation,
    item_operation_timeout,
    labels,
)

MAX_CLAIM_TEMPLATES = 8
"""Claim templates of one StatefulSet whose storage class can be mapped; Velero's rules name each by its index."""
NEVER_MOVED = ("rolebindings.rbac.authorization.k8s.io",)
"""Who may do what in the source has no say in another namespace: the source's users would come along."""
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


class Namespaces(ApiModel):
    """Whence and whither."""

    source: str
    destination: str


def namespaces_of(operation: Operation) -> Namespaces:
    """The pair of `namespaceMapping`, else the Operation's own namespace twice."""
    own = operation.metadata.namespace or ""
    pair = next(iter((operation.spec.parameters.namespace_mapping or {own: own}).items()))
    return Namespaces(source=pair[0], destination=pair[1])


def of_operation_named(name: str, source: str, cluster_id: str) -> Mapping[str, str]:
    """Labels of the Velero Backups that a Backup Operation of this name in the source namespace made."""
    return {
        identity.MANAGED_BY_LABEL: identity.MANAGED_BY,
        identity.CLUSTER_ID_LABEL: identity.label_value(cluster_id),
        identity.OPERATION_NAME_LABEL: identity.label_value(name),
        identity.OPERATION_NAMESPACE_LABEL: source,
        identity.ROLE_LABEL: str(identity.Role.MAIN),
    }


def is_label_value(text: str) -> bool:
    """What is not one could add a term of its own to a selector."""
    return _LABEL_VALUE.fullmatch(text) is not None


def newest_usable(manifests: Iterable[Mapping[str, Any]], policy: PartialFailure) -> Mapping[str, Any] | None:
    """The newest of the Backups that can be restored, else the newest of all, so that its fault can be told."""
    newest_first = sorted(manifests, key=_began, reverse=True)
    wanted = {BackupPhase.COMPLETED} | ({BackupPhase.PARTIALLY_FAILED} if policy == PartialFailure.ACCEPT else set())
    usable = (m for m in newest_first if m.get("status", {}).get("phase") in wanted)
    return next(usable, next(iter(newest_first), None))


def _began(manifest: Mapping[str, Any]) -> str:
    """When the backup was made: one that was synced from the bucket is younger as an object."""
    started = manifest.get("status", {}).get("startTimestamp")
    return str(started or manifest["metadata"].get("creationTimestamp", ""))


def backup_not_found(name: str, source: str, velero_namespace: str) -> Gate:
    return refuse(
        Reason.BACKUP_NOT_FOUND,
        f"spec.parameters.backupName: there is no Velero Backup {name} in namespace {velero_namespace}, and no Backup "
        f"Operation {name} of namespace {source} has left one. If it lies in the bucket only: Velero looks there for "
        "new ones about every minute. Then create a new Operation.",
    )


def not_of(name: str, source: str) -> Gate:
    """The refusal of a backup of something else; whose it is, and how it is, is nobody's business here."""
    return refuse(
        Reason.BACKUP_NOT_USABLE,
        f"Velero Backup {name} is not a backup of namespace {source} and of nothing else, which is what a Restore "
        "takes. Name another backup; for another source set spec.parameters.namespaceMapping in a new Operation.",
    )


def before_consent(gate: Gate, name: str, source: str) -> Gate:
    """A refusal as it may be told before the backup's owner has agreed: without a word of the backup's state."""
    if gate.answer != Answer.REFUSE:
        return gate
    return refuse(
        gate.reason or Reason.BACKUP_NOT_USABLE,
        f"Velero Backup {name} cannot be restored now; what is wrong with it is told in namespace {source}, whose "
        "backup it is. Choose another backup.",
    )


def usable(
    backup: BackupObservation,
    location: StorageLocation | None,
    policy: PartialFailure,
    now: datetime,
    timeout: timedelta,
) -> Gate:
    """Whether a backup can be restored from now on for as long as an attempt may take."""
    fault = _fault(backup, policy)
    if fault is not None:
        return refuse(Reason.BACKUP_NOT_USABLE, f"Velero Backup {backup.name} {fault}. Choose another backup.")
    if backup.expiration is not None and backup.expiration <= now + timeout:
        return refuse(
            Reason.BACKUP_NOT_USABLE,
            f"Velero Backup {backup.name} expires at {backup.expiration:%Y-%m-%dT%H:%M:%SZ}, which may be before the "
            f"restore has ended (spec.policy.timeout {format_go_duration(timeout)}). Choose another backup, or a "
            "shorter timeout.",
        )
    if location is None or location.phase != "Available":
        return _location_away(backup, location)
    return Gate(answer=Answer.PASS, message=f"Velero Backup {backup.name} is {backup.phase} and can be read.")


def _fault(backup: BackupObservation, policy: PartialFailure) -> str | None:
    if backup.phase == BackupPhase.PARTIALLY_FAILED:
        if policy == PartialFailure.ACCEPT:
            return None
        return (
            f"is PartiallyFailed with {backup.errors} errors: not all of it is there "
            "(spec.policy.partialFailure: Accept would restore what is)"
        )
    if backup.phase != BackupPhase.COMPLETED:
        why = f": {backup.failure_reason}" if backup.failure_reason else ""
        return f"is {backup.phase or 'New'}, not Completed{why}"
    if backup.errors or backup.failure_reason:
        return f"says Completed and also: {backup.failure_reason or f'{backup.errors} errors'}"
    return None


def _location_away(backup: BackupObservation, location: StorageLocation | None) -> Gate:
    if location is None:
        return wait(
            Reason.STORAGE_LOCATION_UNAVAILABLE,
            f"Velero Backup {backup.name} lies in storage location {backup.storage_location}, which does not exist. "
            "Waiting for it.",
        )
    why = location.message or "Velero has not validated it yet"
    return wait(
        Reason.STORAGE_LOCATION_UNAVAILABLE,
        f"Velero Backup {backup.name} lies in storage location {location.name}, which is "
        f"{location.phase or 'not validated'}: {why}. Waiting until Velero finds it Available.",
    )


def restore_manifest(
    operation: Operation,
    name: str,
    attempt: int,
    velero_namespace: str,
    cluster_id: str,
    backup_name: str,
    *,
    is_modified: bool = False,
) -> dict[str, Any]:
    """The Velero Restore of one attempt: of the source namespace and no other, whatever the parameters say.

    `is_modified`: a ConfigMap of its name (`modifier_manifest`) has rules for what it restores.
    """
    spec = restore_spec(operation, backup_name)
    if is_modified:
        spec["resourceModifier"] = {"kind": "ConfigMap", "name": name}
    return {
        "apiVersion": "velero.io/v1",
        "kind": "Restore",
        "metadata": {
            "name": name,
            "namespace": velero_namespace,
            "labels": labels(operation, identity.Role.MAIN, attempt, cluster_id),
        },
        "spec": spec,
    }


def restore_spec(operation: Operation, backup_name: str) -> dict[str, Any]:
    """`spec` of a Velero Restore. Never `includeClusterResources: true`: a tenant would reach beyond its namespace."""
    p, namespaces = operation.spec.parameters, namespaces_of(operation)
    moved = namespaces.source != namespaces.destination
    spec: dict[str, Any] = {
        "backupName": backup_name,
        "includedNamespaces": [namespaces.source],
        "namespaceMapping": {namespaces.source: namespaces.destination} if moved else None,
        "excludedResources": sorted({*NEVER_BACKED_UP, *(NEVER_MOVED if moved else ()), *(p.excluded_resources or ())}),
        "includedResources": list(p.included_resources) if p.included_resources else None,
        "labelSelector": p.label_selector.to_api() if p.label_selector else None,
        "restorePVs": p.restore_pvs,
        "existingResourcePolicy": str(p.existing_resource_policy) if p.existing_resource_policy else None,
        "itemOperationTimeout": format_go_duration(item_operation_timeout(operation)),
    }
    return {key: value for key, value in spec.items() if value is not None}


def modifier_manifest(restore: Mapping[str, Any], rules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The ConfigMap with the rules of this restore alone."""
    meta = restore["metadata"]
    modifier = {"version": "v1", "resourceModifierRules": list(rules)}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": meta["name"], "namespace": meta["namespace"], "labels": meta["labels"]},
        "data": {"modifier.yaml": json.dumps(modifier)},
    }


def class_rules(mapping: Mapping[str, str]) -> list[dict[str, Any]]:
    """Storage classes mapped by a modifier of one restore.

    Velero's own mapping ConfigMap counts for every restore of the installation, and two of them fail all. Every rule
    looks at the object as it was in the backup (Velero 1.18), so classes may be swapped."""
    template = "/spec/volumeClaimTemplates/{}/spec/storageClassName"
    places = [
        ("persistentvolumeclaims", "/spec/storageClassName"),
        ("persistentvolumes", "/spec/storageClassName"),
        *(("statefulsets.apps", template.format(index)) for index in range(MAX_CLAIM_TEMPLATES)),
    ]
    return [
        {
            "conditions": {"groupResource": kind, "matches": [{"path": path, "value": _text(old)}]},
            "patches": [{"operation": "replace", "path": path, "value": _text(new)}],
        }
        for old, new in mapping.items()
        for kind, path in places
    ]


def _text(value: str) -> str:
    """Velero takes what looks like a number or a boolean for one, unless it stands in quotes of its own."""
    return f'"{value}"'


def owner_of(restore: Mapping[str, Any]) -> dict[str, Any]:
    """The patch that lets an object go with its Restore."""
    meta = restore["metadata"]
    owner = {"apiVersion": "velero.io/v1", "kind": "Restore", "name": meta["name"], "uid": meta["uid"]}
    return {"metadata": {"ownerReferences": [owner]}}

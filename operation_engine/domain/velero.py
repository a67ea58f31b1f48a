"""Velero's objects as this engine reads and writes them: pure, from and to plain manifests.

Velero's facts and their sources: docs/velero.md. Used by activities; the verdict on an observation is in
`domain.verdicts`.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from operation_engine.domain import identity
from operation_engine.domain.parameters import resolve_aliases
from operation_engine.domain.policy import clocks_of
from operation_engine.domain.resources.common import ApiModel, format_go_duration, parse_duration
from operation_engine.domain.resources.operation import Operation
from operation_engine.domain.volumes import EVERYTHING, VolumeWish

# Velero backs up every namespaced custom resource. An Operation or a lock brought back by a restore would act.
NEVER_BACKED_UP = ("leases.coordination.k8s.io", "operations.ops.vworkspace.io")
DEFAULT_ITEM_OPERATION_TIMEOUT = timedelta(hours=4)
_MARGIN = timedelta(minutes=5)


class BackupPhase(StrEnum):
    """Phases of Velero 1.18; the empty one is a Backup that the server has not seen yet."""

    EMPTY = ""
    NEW = "New"
    QUEUED = "Queued"
    READY_TO_START = "ReadyToStart"
    FAILED_VALIDATION = "FailedValidation"
    IN_PROGRESS = "InProgress"
    WAITING_FOR_PLUGIN_OPERATIONS = "WaitingForPluginOperations"
    WAITING_FOR_PLUGIN_OPERATIONS_PARTIALLY_FAILED = "WaitingForPluginOperationsPartiallyFailed"
    FINALIZING = "Finalizing"
    FINALIZING_PARTIALLY_FAILED = "FinalizingPartiallyFailed"
    COMPLETED = "Completed"
    PARTIALLY_FAILED = "PartiallyFailed"
    FAILED = "Failed"
    DELETING = "Deleting"


QUEUE_PHASES = frozenset({BackupPhase.EMPTY, BackupPhase.NEW, BackupPhase.QUEUED, BackupPhase.READY_TO_START})
TERMINAL_PHASES = frozenset(
    {BackupPhase.FAILED_VALIDATION, BackupPhase.COMPLETED, BackupPhase.PARTIALLY_FAILED, BackupPhase.FAILED}
)


class Observation(ApiModel):
    """What a Velero Backup or Restore says of itself: small enough to keep for thousands of them."""

    name: str
    uid: str
    phase: str = ""
    labels: Mapping[str, str] = {}
    failure_reason: str | None = None
    validation_errors: tuple[str, ...] = ()
    errors: int = 0
    warnings: int = 0
    items_done: int | None = None
    items_total: int | None = None
    hooks_failed: int = 0
    volumes: VolumeWish | None = None
    """None where it was observed by an engine that did not look for them; `wish` is what to go by."""

    @property
    def terminal(self) -> bool:
        return self.phase in TERMINAL_PHASES

    @property
    def queued(self) -> bool:
        """Still in Velero's own queue: that time is not the attempt's."""
        return self.phase in QUEUE_PHASES

    @property
    def known_phase(self) -> bool:
        return self.phase in BackupPhase._value2member_map_

    @property
    def moves_data(self) -> bool:
        """Whether bytes of volumes are known to move."""
        return self.volumes is not None and self.volumes.moves_data

    @property
    def wish(self) -> VolumeWish:
        """What it asks for of volumes; where nobody looked, everything."""
        return self.volumes or EVERYTHING


class BackupObservation(Observation):
    """A Backup, with where it goes and until when it is kept."""

    storage_location: str | None = None
    expiration: datetime | None = None
    started_at: datetime | None = None


class RestoreObservation(Observation):
    """A Restore, with what it restores from. Its phases are a Backup's, less some."""

    backup_name: str = ""


def observe_backup(manifest: Mapping[str, Any]) -> BackupObservation:
    """A Velero Backup as the API server returned it. A server's omission is a zero, never an error."""
    status = manifest.get("status", {})
    return BackupObservation(
        **_observed(manifest, "itemsBackedUp"),
        storage_location=manifest.get("spec", {}).get("storageLocation"),
        expiration=status.get("expiration"),
        started_at=status.get("startTimestamp"),
        volumes=_volume_wish(manifest.get("spec", {})),
    )


def _volume_wish(spec: Mapping[str, Any]) -> VolumeWish:
    """Once Velero has begun, its own defaults stand in the spec (backup_controller, 1.18)."""
    file_system, moves = bool(spec.get("defaultVolumesToFsBackup")), bool(spec.get("snapshotMoveData"))
    return VolumeWish(
        file_system=file_system, snapshots=bool(spec.get("snapshotVolumes")) or moves, moves_data=file_system or moves
    )


def observe_restore(manifest: Mapping[str, Any]) -> RestoreObservation:
    """A Velero Restore as the API server returned it."""
    return RestoreObservation(
        **_observed(manifest, "itemsRestored"), backup_name=manifest.get("spec", {}).get("backupName", "")
    )


def _observed(manifest: Mapping[str, Any], items_done: str) -> dict[str, Any]:
    metadata, status = manifest["metadata"], manifest.get("status", {})
    progress = status.get("progress", {})
    return {
        "name": metadata["name"],
        "uid": metadata["uid"],
        "phase": status.get("phase", ""),
        "labels": metadata.get("labels", {}),
        "failure_reason": status.get("failureReason"),
        "validation_errors": tuple(status.get("validationErrors", ())),
        "errors": status.get("errors", 0),
        "warnings": status.get("warnings", 0),
        "items_done": progress.get(items_done),
        "items_total": progress.get("totalItems"),
        "hooks_failed": status.get("hookStatus", {}).get("hooksFailed", 0),
    }


class StorageLocation(ApiModel):
    """A BackupStorageLocation as far as it matters for a backup."""

    name: str
    phase: str = ""
    access_mode: str = "ReadWrite"
    default: bool = False
    message: str | None = None
    s3_url: str | None = None
    last_validated_at: datetime | None = None


def observe_storage_location(manifest: Mapping[str, Any]) -> StorageLocation:
    spec, status = manifest.get("spec", {}), manifest.get("status", {})
    config = spec.get("config", {})
    return StorageLocation(
        name=manifest["metadata"]["name"],
        phase=status.get("phase", ""),
        access_mode=spec.get("accessMode") or "ReadWrite",
        default=spec.get("default", False),
        message=status.get("message"),
        s3_url=config.get("publicUrl") or config.get("s3Url"),
        last_validated_at=status.get("lastValidationTime"),
    )


class Marks(ApiModel):
    """What the engine writes on a Velero object to know it again."""

    cluster_id: str
    source_namespace_uid: str
    restore_to: str | None = None
    """The consent of the source namespace, kept for the day when that namespace is gone."""


def marks_of(namespace: Mapping[str, Any], cluster_id: str) -> Marks:
    """The marks of a backup of this Namespace, as it is now."""
    meta = namespace["metadata"]
    return Marks(
        cluster_id=cluster_id,
        source_namespace_uid=meta["uid"],
        restore_to=(meta.get("annotations") or {}).get(identity.RESTORE_TO_ANNOTATION),
    )


def labels(operation: Operation, role: identity.Role, attempt: int, cluster_id: str) -> dict[str, str]:
    """The labels of a Velero object; with them an object found under our name is ours, or is not."""
    meta, target = operation.metadata, operation.spec.target_ref
    return {
        identity.MANAGED_BY_LABEL: identity.MANAGED_BY,
        identity.CLUSTER_ID_LABEL: identity.label_value(cluster_id),
        identity.OPERATION_LABEL: meta.uid,
        identity.OPERATION_NAME_LABEL: identity.label_value(meta.name),
        identity.OPERATION_NAMESPACE_LABEL: meta.namespace or "",
        identity.ROLE_LABEL: str(role),
        identity.ATTEMPT_LABEL: str(attempt),
        identity.TARGET_LABEL: identity.label_value(f"{target.kind}.{target.name}"),
    }


def is_ours(found: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether an object that bears our name was made for this very attempt."""
    keys = (identity.OPERATION_LABEL, identity.CLUSTER_ID_LABEL, identity.ROLE_LABEL, identity.ATTEMPT_LABEL)
    return all(found.get(key) == wanted[key] for key in keys)


def backup_manifest(
    operation: Operation, name: str, attempt: int, velero_namespace: str, marks: Marks, csi_driver: str | None = None
) -> dict[str, Any]:
    """The Velero Backup of one attempt: the Operation's own namespace and no other, whatever the parameters say."""
    annotations = {identity.SOURCE_NAMESPACE_UID_ANNOTATION: marks.source_namespace_uid}
    if marks.restore_to:
        annotations[identity.RESTORE_TO_ANNOTATION] = marks.restore_to
    snapshot_class = resolve_aliases(operation.spec.parameters).csi_snapshot_class_name
    if csi_driver and snapshot_class:
        annotations[f"velero.io/csi-volumesnapshot-class_{csi_driver}"] = snapshot_class
    return {
        "apiVersion": "velero.io/v1",
        "kind": "Backup",
        "metadata": {
            "name": name,
            "namespace": velero_namespace,
            "labels": labels(operation, identity.Role.MAIN, attempt, marks.cluster_id),
            "annotations": annotations,
        },
        "spec": backup_spec(operation),
    }


def backup_spec(operation: Operation) -> dict[str, Any]:
    """`spec` of a Velero Backup; what the Operation leaves open is left to Velero's own defaults."""
    p = resolve_aliases(operation.spec.parameters)
    spec: dict[str, Any] = {
        "includedNamespaces": [operation.metadata.namespace],
        "excludedResources": sorted({*NEVER_BACKED_UP, *(p.excluded_resources or ())}),
        "itemOperationTimeout": format_go_duration(item_operation_timeout(operation)),
        "storageLocation": p.storage_location,
        "ttl": format_go_duration(parse_duration(p.ttl)) if p.ttl else None,
        "snapshotVolumes": p.snapshot_volumes,
        "snapshotMoveData": p.snapshot_move_data,
        "defaultVolumesToFsBackup": p.default_volumes_to_fs_backup,
        "includedResources": list(p.included_resources) if p.included_resources else None,
        "labelSelector": p.label_selector.to_api() if p.label_selector else None,
    }
    return {key: value for key, value in spec.items() if value is not None}


def item_operation_timeout(operation: Operation) -> timedelta:
    """Velero's own bound on data movers, kept below the attempt's, so that Velero gives up first and says why."""
    asked = operation.spec.parameters.item_operation_timeout
    wanted = parse_duration(asked) if asked else DEFAULT_ITEM_OPERATION_TIMEOUT
    timeout = clocks_of(operation.spec).timeout
    return min(wanted, timeout - min(_MARGIN, timeout / 10))

"""Velero's data movers as this engine reads them: how far each has got with one volume. Pure."""

from collections.abc import Mapping
from typing import Any

from operation_engine.domain.resources.common import ApiModel

BACKUP_UID_LABEL, BACKUP_NAME_LABEL = "velero.io/backup-uid", "velero.io/backup-name"
RESTORE_UID_LABEL, RESTORE_NAME_LABEL = "velero.io/restore-uid", "velero.io/restore-name"


_ENDED = frozenset({"Completed", "Failed", "Canceled"})


class Transfer(ApiModel):
    """One volume on its way: a PodVolumeBackup or a DataUpload, a PodVolumeRestore or a DataDownload."""

    owner_uid: str
    """The uid of the Velero Backup or Restore that it works for."""
    owner_name: str
    bytes_done: int = 0
    bytes_total: int = 0
    """It may grow: the uploader counts while it works. What is restored has a size from the start."""


def observe_backup_transfer(manifest: Mapping[str, Any]) -> Transfer:
    """A PodVolumeBackup or DataUpload as the API server returned it."""
    return _observed(manifest, BACKUP_UID_LABEL, BACKUP_NAME_LABEL)


def observe_restore_transfer(manifest: Mapping[str, Any]) -> Transfer:
    """A PodVolumeRestore or DataDownload as the API server returned it."""
    return _observed(manifest, RESTORE_UID_LABEL, RESTORE_NAME_LABEL)


def _observed(manifest: Mapping[str, Any], uid_label: str, name_label: str) -> Transfer:
    labels, status = manifest["metadata"].get("labels", {}), manifest.get("status", {})
    progress = status.get("progress") or {}
    return Transfer(
        owner_uid=labels.get(uid_label, ""),
        owner_name=labels.get(name_label, ""),
        bytes_done=progress.get("bytesDone") or 0,
        bytes_total=progress.get("totalBytes") or manifest.get("spec", {}).get("snapshotSize") or 0,
    )


def is_to_be_stopped(manifest: Mapping[str, Any]) -> bool:
    """Whether a data mover still works and was not told to stop; of uploads and downloads alike."""
    phase = (manifest.get("status") or {}).get("phase", "")
    return phase not in _ENDED and not manifest.get("spec", {}).get("cancel")

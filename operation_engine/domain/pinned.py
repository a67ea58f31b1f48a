"""The backup that a Restore settled on: every attempt takes that one, whatever bears its name by then. Pure.

It stands in `status.outputs` before anybody is asked to approve, so that a later attempt and a Reset find it.
"""

from datetime import UTC, datetime

from operation_engine.domain.admission import Gate, refuse
from operation_engine.domain.resources.common import ApiModel, rfc3339_seconds
from operation_engine.domain.resources.operation_status import Outputs
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.velero import BackupObservation


class Pinned(ApiModel):
    """A Velero Backup, by more than its name."""

    name: str
    uid: str
    started_at: str | None = None


def pinned(outputs: Outputs | None) -> Pinned | None:
    """The backup that the status names; None where none was found usable yet."""
    if outputs is None or outputs.backup_name is None or outputs.backup_uid is None:
        return None
    return Pinned(name=outputs.backup_name, uid=outputs.backup_uid, started_at=outputs.backup_started_at)


def pin(outputs: Outputs | None, backup: BackupObservation) -> Outputs:
    """Outputs that name this backup, and keep what else they say."""
    update = {
        "backup_name": backup.name,
        "backup_uid": backup.uid,
        "backup_started_at": _written(backup.started_at),
        "storage_location": backup.storage_location,
    }
    return (outputs or Outputs()).model_copy(update=update)


def is_same(wanted: Pinned, found: BackupObservation) -> bool:
    """Whether it is that very backup: the same object, or the one that Velero synced from the bucket in its place.

    Synced, it has another uid, and the status that it ended with: no other of its name began in that second.
    """
    if found.uid == wanted.uid:
        return True
    return wanted.started_at is not None and _written(found.started_at) == wanted.started_at


def gone(wanted: Pinned) -> Gate:
    return refuse(
        Reason.BACKUP_NOT_FOUND,
        f"Velero Backup {wanted.name}, which this Operation restores, is gone: it expired, or somebody deleted it. "
        "If it still lies in the bucket, Velero brings it back within about a minute: then retry. Any other backup "
        "needs a new Operation.",
    )


def another(wanted: Pinned, found: BackupObservation) -> Gate:
    was, now = wanted.started_at or "unknown", _written(found.started_at) or "unknown"
    return refuse(
        Reason.BACKUP_NOT_USABLE,
        f"Velero Backup {wanted.name} is not the one that this Operation settled on (begun {was}, uid {wanted.uid}): "
        f"it was deleted and made anew under its name (begun {now}, uid {found.uid}). To restore what stands there "
        "now, create a new Operation.",
    )


def _written(moment: datetime | None) -> str | None:
    return rfc3339_seconds(moment.astimezone(UTC)) if moment else None

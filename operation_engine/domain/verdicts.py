"""What a Velero Backup that has ended is worth: pure verdicts over what was observed.

Completed is a claim of Velero's; a backup counts only if what was asked for can be shown to be there.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from operation_engine.domain.lifecycle import bounded
from operation_engine.domain.resources.common import ApiModel
from operation_engine.domain.resources.operation_spec import PartialFailure
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.velero import BackupObservation, BackupPhase

# Velero marks what it found InProgress when its server started (backup_controller, 1.18); nothing is wrong
# with the work itself, so this alone is tried again without asking anybody.
_RESTART_MARKS = ("found a backup with status", "during the server starting")
# Velero's own look at the location came to another answer than the gate's (backup_controller, 1.18).
_LOCATION_MARK = "is in Unavailable status"
_PVC = "v1/PersistentVolumeClaim"
_NAMESPACE = "v1/Namespace"


class Outcome(StrEnum):
    """What follows from a verdict."""

    PASSED = "passed"
    DEGRADED = "degraded"
    RETRY = "retry"
    """A new attempt without asking: the cause lies outside the work."""
    FAILED = "failed"


class Verdict(ApiModel):
    """The outcome with its reason, and the sentence that says what to do next."""

    outcome: Outcome
    reason: Reason
    message: str


class VolumeResult(ApiModel):
    """One volume of a backup, from its volume infos."""

    claim: str
    namespace: str
    method: str
    """NativeSnapshot, PodVolumeBackup, CSISnapshot, Skipped…"""
    skipped_reason: str | None = None
    size_bytes: int | None = None
    failed: bool = False
    skipped: bool = False


class BackupContents(ApiModel):
    """What the bucket holds of a backup, as far as it could be read."""

    resources: Mapping[str, tuple[str, ...]] | None = None
    """Names by `group/version/Kind`; None = the list cannot be read."""
    size_bytes: int | None = None
    volumes: tuple[VolumeResult, ...] | None = None
    """None = not asked for or not readable."""
    problems: tuple[str, ...] = ()
    """Velero's own first errors and warnings."""

    @property
    def item_count(self) -> int:
        return sum(len(names) for names in (self.resources or {}).values())

    @property
    def holds_nothing(self) -> bool:
        """Velero takes the Namespace along whatever was selected: alone it is nothing."""
        return not any(names for kind, names in (self.resources or {}).items() if kind != _NAMESPACE)

    @property
    def holds_claims(self) -> bool:
        return bool((self.resources or {}).get(_PVC))


def ended_verdict(observation: BackupObservation | None, policy: PartialFailure, problems: Sequence[str]) -> Verdict:
    """The verdict on how a Backup ended, by its phase alone. None = it is gone."""
    if observation is None:
        return Verdict(
            outcome=Outcome.FAILED,
            reason=Reason.EXTERNAL_DELETION,
            message="The Velero Backup was deleted while it was followed; nothing can be said of its contents. "
            "Create a new Operation.",
        )
    name = observation.name
    if observation.phase == BackupPhase.COMPLETED:
        return _completed(observation)
    if observation.phase == BackupPhase.FAILED_VALIDATION:
        detail = "; ".join(observation.validation_errors) or "no reason given"
        if observation.validation_errors and all(_LOCATION_MARK in why for why in observation.validation_errors):
            return Verdict(outcome=Outcome.RETRY, reason=Reason.STORAGE_LOCATION_UNAVAILABLE, message=bounded(detail))
        return _failed(Reason.VELERO_BACKUP_VALIDATION_FAILED, f"Velero refused Backup {name}: {detail}")
    if observation.phase == BackupPhase.PARTIALLY_FAILED:
        return _partially_failed(observation, policy, problems)
    why = observation.failure_reason or "no reason given"
    if observation.phase == BackupPhase.FAILED and all(mark in why for mark in _RESTART_MARKS):
        return Verdict(outcome=Outcome.RETRY, reason=Reason.VELERO_BACKUP_FAILED, message=bounded(why))
    if observation.phase == BackupPhase.DELETING:
        return _failed(Reason.EXTERNAL_DELETION, f"Velero Backup {name} is being deleted.")
    return _failed(Reason.VELERO_BACKUP_FAILED, f"Velero Backup {name} failed: {why}")


def _completed(observation: BackupObservation) -> Verdict:
    name = observation.name
    if observation.failure_reason:
        return _failed(
            Reason.VELERO_BACKUP_FAILED,
            f"Velero Backup {name} says Completed and also: {observation.failure_reason}",
        )
    if observation.errors:
        return _failed(
            Reason.VELERO_BACKUP_PARTIALLY_FAILED,
            f"Velero Backup {name} says Completed with {observation.errors} errors.",
        )
    return Verdict(outcome=Outcome.PASSED, reason=Reason.VELERO_BACKUP_SUCCEEDED, message="Velero says Completed.")


def _partially_failed(observation: BackupObservation, policy: PartialFailure, problems: Sequence[str]) -> Verdict:
    first = "; ".join(problems[:3]) or f"see: velero backup logs {observation.name}"
    message = f"Velero Backup {observation.name} is PartiallyFailed with {observation.errors} errors: {first}"
    reason = Reason.HOOK_FAILED if observation.hooks_failed else Reason.VELERO_BACKUP_PARTIALLY_FAILED
    if policy == PartialFailure.ACCEPT:
        return Verdict(outcome=Outcome.DEGRADED, reason=Reason.PARTIAL_FAILURE, message=bounded(message))
    return _failed(reason, message)


def contents_verdict(observation: BackupObservation, contents: BackupContents, volumes_wanted: bool) -> Verdict:
    """Whether the bucket holds what the backup claims. Volumes count when they were asked for."""
    name = observation.name
    if contents.resources is None:
        return _failed(
            Reason.VERIFICATION_FAILED,
            f"The resource list of Velero Backup {name} cannot be read from its storage location, "
            "so nobody can say what a restore would bring back. Check the bucket, then create a new Operation.",
        )
    if contents.holds_nothing or observation.items_done == 0:
        return _failed(
            Reason.VERIFICATION_FAILED,
            f"Velero Backup {name} holds nothing. "
            "Check labelSelector and includedResources, then create a new Operation.",
        )
    missing = _missing_volumes(contents) if volumes_wanted else ()
    if missing:
        return _failed(
            Reason.VOLUME_NOT_BACKED_UP,
            f"Velero Backup {name} does not hold the data of: {'; '.join(missing[:5])}",
        )
    return Verdict(
        outcome=Outcome.PASSED,
        reason=Reason.VELERO_BACKUP_SUCCEEDED,
        message=_checked(contents),
    )


def _missing_volumes(contents: BackupContents) -> tuple[str, ...]:
    if not contents.holds_claims:
        return ()
    if contents.volumes is None:
        return ("every volume (the volume infos cannot be read)",)
    found = {f"{v.namespace}/{v.claim}" for v in contents.volumes}
    absent = tuple(f"{claim} (not mentioned)" for claim in (contents.resources or {})[_PVC] if claim not in found)
    bad = tuple(
        f"{v.namespace}/{v.claim} ({v.skipped_reason or 'its upload failed'})"
        for v in contents.volumes
        if v.skipped or v.failed
    )
    return bad + absent


def _checked(contents: BackupContents) -> str:
    parts = [f"{contents.item_count} items of {len(contents.resources or {})} kinds are listed in the bucket"]
    if contents.size_bytes:
        parts.append(f"contents of {contents.size_bytes} bytes are there")
    if contents.volumes:
        parts.append(f"{len(contents.volumes)} volumes taken")
    return ", ".join(parts) + "."


def _failed(reason: Reason, message: str) -> Verdict:
    return Verdict(outcome=Outcome.FAILED, reason=reason, message=bounded(message))

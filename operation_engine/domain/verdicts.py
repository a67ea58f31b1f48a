"""What a Velero Backup that has ended is worth: pure verdicts over what was observed.

Completed is a claim of Velero's; a backup counts only if what was asked for can be shown to be there.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from operation_engine.domain.lifecycle import MAX_MESSAGE, bounded
from operation_engine.domain.resources.common import ApiModel
from operation_engine.domain.resources.operation_spec import PartialFailure
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.velero import BackupObservation, BackupPhase
from operation_engine.domain.volumes import (
    HeldObjects,
    VolumeCount,
    VolumeResult,
    VolumeWish,
    count_volumes,
    missing_message,
)

# Velero marks what it found InProgress when its server started (backup_controller, 1.18); nothing is wrong
# with the work itself, so this alone is tried again without asking anybody.
_RESTART_MARKS = ("found a backup with status", "during the server starting")
# Velero's own look at the location came to another answer than the gate's (backup_controller, 1.18).
_LOCATION_MARK = "is in Unavailable status"
_PVC, _POD = "v1/PersistentVolumeClaim", "v1/Pod"
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


class BackupContents(ApiModel):
    """What the bucket holds of a backup, as far as it could be read."""

    resources: Mapping[str, tuple[str, ...]] | None = None
    """Names by `group/version/Kind`; None = the list cannot be read."""
    size_bytes: int | None = None
    """Of the objects' archive; None = it is not there."""
    volumes: tuple[VolumeResult, ...] | None = None
    """None = not readable."""
    held: HeldObjects | None = None
    """What the archive says of claims and pods; None = too large to look into."""
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
    def holds_volumes(self) -> bool:
        """Whether there may be volumes: a pod has some of its own, without a claim."""
        return bool((self.resources or {}).get(_PVC) or (self.resources or {}).get(_POD))

    @property
    def pods_not_held(self) -> tuple[str, ...]:
        """Pods that Velero lists and left out all the same: where a pre hook failed it does so, and maybe elsewhere."""
        listed = (self.resources or {}).get(_POD, ())
        return () if self.held is None else tuple(pod for pod in listed if pod not in self.held.pods)

    def counted(self, wish: VolumeWish) -> VolumeCount:
        """The volumes that are there, and those that are not, by what was asked for."""
        claims = (self.resources or {}).get(_PVC, ())
        return count_volumes(wish, claims, self.volumes or (), self.held, self.pods_not_held)


def ended_verdict(observation: BackupObservation | None, policy: PartialFailure, problems: Sequence[str]) -> Verdict:
    """The verdict on how a Backup ended, by its phase and Velero's words. None = it is gone."""
    if observation is None:
        return Verdict(
            outcome=Outcome.FAILED,
            reason=Reason.EXTERNAL_DELETION,
            message="The Velero Backup was deleted while it was followed; nothing can be said of its contents. "
            "Create a new Operation.",
        )
    name = observation.name
    if observation.phase == BackupPhase.COMPLETED:
        return _completed(observation, policy)
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


def _completed(observation: BackupObservation, policy: PartialFailure) -> Verdict:
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
    if observation.hooks_failed:
        # Velero 1.18 counts each as an error. Should another one not, a failed hook is still what the policy says.
        message = f"Velero Backup {name} says Completed though {observation.hooks_failed} of its hooks failed."
        if policy == PartialFailure.ACCEPT:
            return Verdict(outcome=Outcome.DEGRADED, reason=Reason.HOOK_FAILED, message=message)
        return _failed(Reason.HOOK_FAILED, message)
    return Verdict(outcome=Outcome.PASSED, reason=Reason.VELERO_BACKUP_SUCCEEDED, message="Velero says Completed.")


def _partially_failed(observation: BackupObservation, policy: PartialFailure, problems: Sequence[str]) -> Verdict:
    first = "; ".join(problems[:3]) or f"see: velero backup logs {observation.name}"
    message = f"Velero Backup {observation.name} is PartiallyFailed with {observation.errors} errors: {first}"
    if policy == PartialFailure.ACCEPT:
        reason = Reason.HOOK_FAILED if observation.hooks_failed else Reason.PARTIAL_FAILURE
        return Verdict(outcome=Outcome.DEGRADED, reason=reason, message=bounded(message))
    reason = Reason.HOOK_FAILED if observation.hooks_failed else Reason.VELERO_BACKUP_PARTIALLY_FAILED
    return _failed(reason, message)


def may_cost_volumes(ended: Verdict) -> bool:
    """Whether a failure is of the kind that leaves volumes out, which should be named."""
    return ended.outcome == Outcome.FAILED and ended.reason in (
        Reason.VELERO_BACKUP_PARTIALLY_FAILED,
        Reason.HOOK_FAILED,
    )


def volumes_verdict(ended: Verdict, observation: BackupObservation, missing: Sequence[str]) -> Verdict:
    """The same failure with the volumes that it cost: named after them, where it was no hook's."""
    if not missing or not may_cost_volumes(ended):
        return ended
    lost = missing_message(observation.name, missing)
    if ended.reason == Reason.HOOK_FAILED:
        # The hook is the cause and the volumes are the damage: neither may push the other out of the message.
        said = bounded(ended.message, max(MAX_MESSAGE - len(lost.encode()) - 1, MAX_MESSAGE // 2))
        return _failed(Reason.HOOK_FAILED, f"{said} {lost}")
    return _failed(Reason.VOLUME_NOT_BACKED_UP, f"{lost} {ended.message}")


def contents_verdict(observation: BackupObservation, contents: BackupContents) -> Verdict:
    """Whether the bucket holds what the backup claims, and every volume that was asked for."""
    name = observation.name
    if contents.resources is None or contents.size_bytes is None:
        what = "resource list" if contents.resources is None else "archive of objects"
        return _failed(
            Reason.VERIFICATION_FAILED,
            f"The {what} of Velero Backup {name} cannot be read from its storage location, "
            "so nobody can say what a restore would bring back. Check the bucket, then create a new Operation.",
        )
    if contents.holds_nothing or observation.items_done == 0:
        return _failed(
            Reason.VERIFICATION_FAILED,
            f"Velero Backup {name} holds nothing. "
            "Check labelSelector and includedResources, then create a new Operation.",
        )
    count = contents.counted(observation.wish)
    missing = _unread(observation, contents) if contents.volumes is None else count.missing
    if missing:
        return _failed(Reason.VOLUME_NOT_BACKED_UP, missing_message(name, missing))
    return Verdict(
        outcome=Outcome.PASSED,
        reason=Reason.VELERO_BACKUP_SUCCEEDED,
        message=_checked(contents, count),
    )


def _unread(observation: BackupObservation, contents: BackupContents) -> tuple[str, ...]:
    """A pod has volumes without a claim: of a file-system backup nobody can say which of them were to be there."""
    is_wanted = contents.holds_volumes and observation.wish.file_system
    is_missing = is_wanted or contents.counted(observation.wish).missing
    return ("every volume (the volume infos cannot be read)",) if is_missing else ()


def _checked(contents: BackupContents, count: VolumeCount) -> str:
    parts = [
        f"{contents.item_count} items of {len(contents.resources or {})} kinds are listed in the bucket",
        f"their archive of {contents.size_bytes} bytes is there",
    ]
    if count.taken:
        parts.append(f"volumes taken: {count.taken} ({count.size_bytes} bytes)")
    if count.left_out:
        parts.append(f"claims without their data, which nobody asked for: {len(count.left_out)}")
    return ", ".join(parts) + "."


def _failed(reason: Reason, message: str) -> Verdict:
    return Verdict(outcome=Outcome.FAILED, reason=reason, message=bounded(message))

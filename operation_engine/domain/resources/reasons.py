"""Every reason an Operation can give, each documented; the troubleshooting page and a test follow this list."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Self


class Reason(StrEnum):
    """Why an Operation is where it is: the `reason` of its status, its conditions, its Events and its failure."""

    description: str

    def __new__(cls, value: str, description: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.description = description
        return member

    PENDING = "Pending", "The engine has seen the Operation and has not decided about it yet."
    VALIDATION_FAILED = "ValidationFailed", "The manifest is wrong; the message names the field."
    UNSUPPORTED_OPERATION = (
        "UnsupportedOperation",
        "The type, or this type with this engine, is not built yet.",
    )
    TARGET_NOT_FOUND = "TargetNotFound", "The object that spec.targetRef names does not exist."
    TARGET_NOT_READY = "TargetNotReady", "The target is not Ready; the Operation goes on when it is."
    NAMESPACE_NOT_MANAGED = (
        "NamespaceNotManaged",
        "The namespace lacks the label that lets the engine serve it.",
    )
    CAPABILITY_MISSING = (
        "CapabilityMissing",
        "The ApplicationInstance does not allow this engine for this type.",
    )
    DEPENDENCY_MISSING = (
        "DependencyMissing",
        "Something that is needed (Velero, Flux, a CRD) is not installed.",
    )
    STORAGE_LOCATION_UNAVAILABLE = (
        "StorageLocationUnavailable",
        "The backup storage location cannot be used now.",
    )
    BACKUP_NOT_FOUND = "BackupNotFound", "No Velero Backup, and no Backup Operation, has that name."
    BACKUP_NOT_USABLE = "BackupNotUsable", "The backup is incomplete, expires too soon, or is another's."
    CONSENT_MISSING = "ConsentMissing", "The other namespace does not carry its consent annotation."
    AWAITING_APPROVAL = "AwaitingApproval", "Nobody with the right to approve has approved yet."
    APPROVAL_INVALID = "ApprovalInvalid", "The approval's claim is wrong, expired, or already spent."
    CONFLICTING_OPERATION = (
        "ConflictingOperation",
        "Another Operation holds the namespace; this one waits its turn.",
    )
    VELERO_BACKUP_IN_PROGRESS = "VeleroBackupInProgress", "Velero is making the backup."
    VELERO_BACKUP_SUCCEEDED = "VeleroBackupSucceeded", "The backup is complete and was checked."
    VELERO_BACKUP_PARTIALLY_FAILED = "VeleroBackupPartiallyFailed", "Velero could not back up some items."
    VELERO_BACKUP_FAILED = "VeleroBackupFailed", "Velero could not make the backup."
    VELERO_BACKUP_VALIDATION_FAILED = (
        "VeleroBackupValidationFailed",
        "Velero refused the Backup; nothing was done.",
    )
    VELERO_RESTORE_IN_PROGRESS = "VeleroRestoreInProgress", "Velero is restoring."
    VELERO_RESTORE_COMPLETED = "VeleroRestoreCompleted", "The restore is complete and was checked."
    VELERO_RESTORE_PARTIALLY_FAILED = "VeleroRestorePartiallyFailed", "Velero could not restore some items."
    VELERO_RESTORE_FAILED = "VeleroRestoreFailed", "Velero could not restore."
    VELERO_RESTORE_VALIDATION_FAILED = (
        "VeleroRestoreValidationFailed",
        "Velero refused the Restore; nothing was done.",
    )
    NOTHING_RESTORED = "NothingRestored", "Velero said Completed, but created or changed nothing."
    VERIFICATION_FAILED = (
        "VerificationFailed",
        "The work was done, but what was to be checked afterwards does not hold.",
    )
    UPGRADE_IN_PROGRESS = "UpgradeInProgress", "Flux is upgrading the release."
    UPGRADE_SUCCEEDED = "UpgradeSucceeded", "The release runs the target version and was checked."
    UPGRADE_FAILED = "UpgradeFailed", "Flux could not upgrade the release."
    ROLLED_BACK = "RolledBack", "The release, and where it applies its data, is back where it was."
    ROLLBACK_FAILED = "RollbackFailed", "The rollback did not work; the application needs a person now."
    DRY_RUN = "DryRun", "spec.policy.dryRun: the plan was made, and nothing was done."
    ALREADY_AT_VERSION = "AlreadyAtVersion", "The release runs the target version already; nothing was done."
    MANAGED_BY_GIT_OPS = "ManagedByGitOps", "A GitOps tool owns the release and would undo the change."
    RELEASE_SUSPENDED = "ReleaseSuspended", "The HelmRelease is suspended; somebody has to resume it first."
    AWAITING_DECISION = "AwaitingDecision", "Work failed and a person is to say: retry or abort."
    DECISION_TIMEOUT = "DecisionTimeout", "Nobody decided in time (spec.policy.decisionTimeout)."
    ABORTED_BY_USER = "AbortedByUser", "A person decided to abort after work had failed."
    CANCELLED_BY_USER = "CancelledByUser", "A person cancelled or deleted the Operation."
    EXTERNAL_DELETION = "ExternalDeletion", "Somebody deleted the Velero object or the target meanwhile."
    TIMEOUT = "Timeout", "A time limit of spec.policy passed."
    PARTIAL_FAILURE = "PartialFailure", "Some items failed and spec.policy.partialFailure accepts that."
    ENGINE_UNAVAILABLE = "EngineUnavailable", "Velero, Flux or Temporal does not answer."
    HISTORY_LOST = "HistoryLost", "The workflow's history is gone, so nobody can say what was done."
    RESTORED_COPY = "RestoredCopy", "Velero restored this Operation; such a copy is never run."
    SAFETY_BACKUP_FAILED = "SafetyBackupFailed", "The backup made before overwriting something failed."
    CLEANUP_FAILED = "CleanupFailed", "What the attempt before left behind could not be removed."
    HOOK_FAILED = "HookFailed", "A hook in a container failed during the backup or the restore."
    VOLUME_NOT_BACKED_UP = "VolumeNotBackedUp", "A volume that was asked for is not in the backup."
    MISSING_SECRET = "MissingSecret", "A Secret that is needed does not exist or lacks a key."


REASONS: Final[Mapping[Reason, str]] = MappingProxyType({reason: reason.description for reason in Reason})

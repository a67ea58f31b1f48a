"""What the engine says about an Operation: its status. Written whole, by one manager, by compare-and-swap."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from operation_engine.domain.resources.common import (
    ApiModel,
    Count,
    Line,
    Message,
    Name,
    Namespace,
    Timestamp,
    Url,
)
from operation_engine.domain.resources.conditions import Condition, ConditionStatus, ConditionType, lenient
from operation_engine.domain.resources.reasons import REASONS, Reason
from operation_engine.domain.resources.schema import Keywords

# The whole vocabulary of a status comes from here; conditions and reasons have files of their own for length alone.
__all__ = [
    "REASONS",
    "Approval",
    "Attempt",
    "AttemptCause",
    "Condition",
    "ConditionStatus",
    "ConditionType",
    "Decision",
    "EngineRef",
    "Lock",
    "LogsRef",
    "OperationStatus",
    "Outputs",
    "Phase",
    "Progress",
    "Reason",
    "Step",
    "StepState",
    "WorkflowClaim",
]


class Phase(StrEnum):
    """The summary of an Operation."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def terminal(self) -> bool:
        return self in {Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED}


class StepState(StrEnum):
    """Where one step of the plan is."""

    PENDING = "Pending"
    RUNNING = "Running"
    WAITING = "Waiting"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    SKIPPED = "Skipped"


class AttemptCause(StrEnum):
    """Why an attempt was made."""

    INITIAL = "Initial"
    HUMAN = "Human"
    AUTOMATIC = "Automatic"
    RESET = "Reset"


# What a newer version wrote must not fail to parse. An unknown phase is neither new nor ended: nobody starts it again.
LenientPhase = Annotated[Phase, lenient(Phase, Phase.RUNNING)]
LenientStepState = Annotated[StepState, lenient(StepState, StepState.RUNNING)]
LenientCause = Annotated[AttemptCause, lenient(AttemptCause, AttemptCause.AUTOMATIC)]

Digest = Annotated[str, Keywords(max_length=128)]
Attempts = Annotated[int, Keywords(minimum=0, maximum=10_000)]


class Step(ApiModel):
    """One step of the current attempt's plan."""

    name: Annotated[str, Keywords(min_length=1, max_length=63)] = Field(description="The step's name.")
    state: LenientStepState = Field(
        default=StepState.PENDING,
        description="Pending (still to come), Running, Waiting (the message says for what), Succeeded, "
        "Failed or Skipped.",
    )
    started_at: Timestamp | None = Field(default=None, description="When it began.")
    finished_at: Timestamp | None = Field(default=None, description="When it ended.")
    message: Message | None = Field(default=None, description="What it does, waits for or found, for people.")


class Progress(ApiModel):
    """How far the attempt's work is."""

    percent: Annotated[int | None, Keywords(minimum=0, maximum=100)] = Field(
        default=None, description="Never backwards within an attempt, and 100 only at the end."
    )
    items_done: Count | None = Field(default=None, description="Kubernetes objects done.")
    items_total: Count | None = Field(default=None, description="Kubernetes objects known of; it may grow.")
    bytes_done: Count | None = Field(default=None, description="Bytes of volume data moved.")
    bytes_total: Count | None = Field(default=None, description="Bytes of volume data known of; it may grow.")


class Attempt(ApiModel):
    """One attempt at the work; each has a Velero object of its own."""

    number: Annotated[int, Keywords(minimum=1, maximum=10_000)] = Field(description="1 for the first; it only grows.")
    cause: LenientCause = Field(
        default=AttemptCause.INITIAL,
        description="Initial, Human (retry), Automatic (Velero restarted under it, or its storage location went away) "
        "or Reset (in the Temporal UI).",
    )
    velero_name: Name | None = Field(
        default=None,
        description="Name of the attempt's Velero object, written before that object is created.",
    )
    run_id: Annotated[str | None, Keywords(max_length=64)] = Field(
        default=None, description="The workflow run that began it."
    )
    started_at: Timestamp | None = Field(default=None, description="When it began.")
    finished_at: Timestamp | None = Field(default=None, description="When it ended.")
    outcome: Annotated[str | None, Keywords(max_length=63)] = Field(
        default=None, description="How it ended: Succeeded, Failed or Cancelled."
    )
    reason: Annotated[str | None, Keywords(max_length=256)] = Field(
        default=None, description="Why it ended so, as one CamelCase word."
    )


class WorkflowClaim(ApiModel):
    """Which workflow run owns the Operation; only that run changes anything for it."""

    id: Annotated[str, Keywords(max_length=1000)] = Field(description="Workflow id in Temporal.")
    run_id: Annotated[str, Keywords(max_length=64)] = Field(description="The run that owns the Operation now.")
    first_run_id: Annotated[str | None, Keywords(max_length=64)] = Field(
        default=None, description="The first run of the chain; a Reset in the Temporal UI keeps it."
    )
    spec_digest: Digest | None = Field(
        default=None,
        description="Digest of targetRef, type, engine and parameters as they were when work began.",
    )
    url: Url | None = Field(default=None, description="The workflow in the Temporal UI.")
    report: Count = Field(default=0, description="Serial number of the run's last report written here.")
    followed: Count = Field(default=0, description="The value of status.seq that this report was written on.")
    closed: bool | None = Field(
        default=None,
        description="True where that run ended without a word and the controller wrote the end: what comes late from "
        "the run does not count.",
    )


class Approval(ApiModel):
    """The approval that was accepted."""

    by: Line = Field(description="Who approved.")
    at: Timestamp | None = Field(default=None, description="When.")
    claim_digest: Digest | None = Field(
        default=None, description="Digest of the claim that was spent, if there was one."
    )
    spec_digest: Digest | None = Field(default=None, description="Digest of the spec that was approved.")
    because: Line | None = Field(
        default=None, description="Why it was needed though neither installation nor requester asked for it."
    )


class Lock(ApiModel):
    """The Operation's place in the queue for its namespace."""

    waiting_since: Timestamp | None = Field(default=None, description="Since when it waits: its place in the queue.")
    holder: Annotated[str | None, Keywords(max_length=512)] = Field(
        default=None, description="Who holds the namespace, as namespace/name of that Operation."
    )


class EngineRef(ApiModel):
    """The object that does the work: a Velero Backup or Restore, or a HelmRelease."""

    api_version: Annotated[str | None, Keywords(max_length=253)] = Field(default=None, description="Its API version.")
    kind: Annotated[str | None, Keywords(max_length=63)] = Field(default=None, description="Its kind.")
    namespace: Namespace | None = Field(default=None, description="Its namespace.")
    name: Name | None = Field(default=None, description="Its name.")


class Outputs(ApiModel):
    """What came of it; numbers are strings here, as the public interface has it."""

    backup_name: Line | None = Field(default=None, description="The Velero Backup that was made or used.")
    backup_uid: Line | None = Field(
        default=None, description="Its uid: every attempt of a restore takes this very backup, and no namesake of it."
    )
    backup_started_at: Line | None = Field(
        default=None,
        description="When Velero began the backup that is restored (RFC 3339): what came after is not in it.",
    )
    backup_item_count: Line | None = Field(default=None, description="Objects in the backup.")
    backup_size_bytes: Line | None = Field(
        default=None, description="Bytes of the backup's contents in the bucket; volume data is kept apart from them."
    )
    volume_count: Line | None = Field(
        default=None, description="Volumes whose data the backup can show, or the restore brought back."
    )
    volume_bytes: Line | None = Field(
        default=None,
        description="Bytes of volume data in the storage location, or brought back from it; snapshots that stay with "
        "their provider are not counted.",
    )
    storage_location: Line | None = Field(default=None, description="The storage location that holds it.")
    expires_at: Line | None = Field(default=None, description="When Velero deletes the backup (RFC 3339).")
    restore_name: Line | None = Field(default=None, description="The Velero Restore that did it.")
    restored_item_count: Line | None = Field(default=None, description="Objects created or updated by the restore.")
    previous_version: Line | None = Field(default=None, description="The chart version before the upgrade.")
    version: Line | None = Field(default=None, description="The chart version after it.")
    warnings: Annotated[tuple[Line, ...], Keywords(max_items=21)] = Field(
        default=(), description="The first 20 warnings, then how many more there are."
    )


class LogsRef(ApiModel):
    """Where the logs of the work are."""

    kind: Annotated[str | None, Keywords(max_length=63)] = Field(default=None, description="Kind of the object.")
    name: Name | None = Field(default=None, description="Name of the object.")
    namespace: Namespace | None = Field(default=None, description="Namespace of the object.")
    url: Url | None = Field(default=None, description="A link, where there is one.")


class Decision(ApiModel):
    """The last decision of a person about a failed attempt."""

    attempt: Attempts = Field(description="The attempt that it was about.")
    by: Line = Field(description="Who decided; with the prefix unverified: where the API server did not vouch for it.")
    at: Timestamp | None = Field(default=None, description="When.")
    verb: Annotated[str, Keywords(max_length=63)] = Field(description="What was decided: retry or abort.")


class OperationStatus(ApiModel):
    """Where the Operation is, what it did, and who has to do something next."""

    observed_generation: Annotated[int, Keywords(minimum=-1, format="int64")] = Field(
        default=-1,
        description="The metadata.generation this status speaks about; -1 before the engine has seen it.",
    )
    phase: LenientPhase = Field(
        default=Phase.PENDING, description="The summary: Pending, Running, Succeeded, Failed or Cancelled."
    )
    reason: Annotated[str | None, Keywords(max_length=256)] = Field(
        default=None, description="The most specific reason in force, as one CamelCase word."
    )
    message: Message | None = Field(default=None, description="What is going on and what to do next, for people.")
    conditions: Annotated[tuple[Condition, ...], Keywords(max_items=32, list_keys=("type",))] = Field(
        default=(),
        description="Accepted, Blocked, Running, Succeeded, Failed, Cancelled, Ready, Reconciling, Stalled; where they "
        "apply, Degraded, Verified and RolledBack.",
    )
    steps: Annotated[tuple[Step, ...], Keywords(max_items=64, list_keys=("name",))] = Field(
        default=(), description="The whole plan of the current attempt, from the first moment on."
    )
    step: Annotated[str | None, Keywords(max_length=63)] = Field(
        default=None, description="Name of the step that is in force."
    )
    progress: Progress | None = Field(default=None, description="How far the attempt's work is.")
    attempt: Attempts = Field(default=0, description="Number of the current attempt; 0 before the first.")
    attempts: Annotated[tuple[Attempt, ...], Keywords(max_items=64, list_keys=("number",))] = Field(
        default=(), description="The attempts: the first one and the latest ones."
    )
    workflow: WorkflowClaim | None = Field(default=None, description="The workflow run that owns the Operation.")
    approval: Approval | None = Field(default=None, description="The approval that was accepted.")
    lock: Lock | None = Field(default=None, description="The Operation's place in the queue for its namespace.")
    seq: Count = Field(default=0, description="Number of the last transition; Events, logs and reports carry the same.")
    engine_ref: EngineRef | None = Field(
        default=None,
        description="The object that does the work: a Velero Backup or Restore, or a HelmRelease.",
    )
    outputs: Outputs | None = Field(default=None, description="What came of it.")
    logs_ref: LogsRef | None = Field(default=None, description="Where the logs of the work are.")
    started_at: Timestamp | None = Field(default=None, description="When work began.")
    finished_at: Timestamp | None = Field(default=None, description="When it ended; set for every end.")
    decision: Decision | None = Field(default=None, description="The last decision of a person about a failed attempt.")

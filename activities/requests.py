"""What workflows hand to activities and get back: small frozen values, readable in the Temporal UI."""

from datetime import datetime, timedelta

from operation_engine.domain.admission import Gate
from operation_engine.domain.cancelling import Remnant
from operation_engine.domain.identity import OperationRef
from operation_engine.domain.plans import Plan
from operation_engine.domain.policy import Clocks, Verification
from operation_engine.domain.report import StatusReport
from operation_engine.domain.resources.common import ApiModel
from operation_engine.domain.resources.operation_spec import OperationType, PartialFailure
from operation_engine.domain.resources.operation_status import AttemptCause, OperationStatus
from operation_engine.domain.restores import Namespaces
from operation_engine.domain.velero import BackupObservation, RestoreObservation
from operation_engine.domain.verdicts import Verdict


class ClaimRequest(ApiModel):
    """Which Operation to claim, and the plan of steps that its first status shows."""

    ref: OperationRef
    steps: tuple[str, ...]


class Claimed(ApiModel):
    """The claimed Operation: its status, and what of its spec the workflow decides by."""

    status: OperationStatus
    type: OperationType
    target: str
    partial_failure: PartialFailure
    clocks: Clocks | None = None
    """None where a duration does not parse; admission says which."""
    verification: Verification = Verification()
    deletes_leftovers: bool = False
    cancel: bool = False
    """It was to be cancelled before it began."""
    dry_run: bool = False


class StepRequest(ApiModel):
    """An activity enters its step by writing this report: the write is its fence."""

    ref: OperationRef
    report: StatusReport


class GateAnswer(ApiModel):
    """A gate's answer, and the status as it stands."""

    status: OperationStatus
    gate: Gate
    storage_location: str | None = None


class CreateRequest(StepRequest):
    """A new attempt after number `after`, for `cause`."""

    after: int
    cause: AttemptCause


class Created(ApiModel):
    """The Velero object of the attempt."""

    status: OperationStatus
    name: str
    velero_namespace: str
    warnings: tuple[str, ...] = ()


class FollowRequest(StepRequest):
    """Follow a Backup until its phase is another than the one seen last."""

    name: str
    seen: BackupObservation | None = None
    is_the_work: bool = True
    """Whether its progress is the attempt's."""


class Followed(ApiModel):
    """The Backup in its new phase; None = it is gone."""

    status: OperationStatus
    observation: BackupObservation | None = None


class VerifyRequest(StepRequest):
    """Check that the bucket holds what this Backup claims."""

    observation: BackupObservation


class Verified(ApiModel):
    """The verdict on a backup's contents, with what was counted."""

    status: OperationStatus
    verdict: Verdict
    item_count: int
    size_bytes: int | None = None
    volume_count: int = 0
    volume_bytes: int = 0
    problems: tuple[str, ...] = ()


class FoundBackup(GateAnswer):
    """The gate's answer about the backup to restore from, and that backup."""

    backup: BackupObservation | None = None
    namespaces: Namespaces | None = None
    problems: tuple[str, ...] = ()
    """What the backup lacks, in Velero's words."""


class CreateRestoreRequest(StepRequest):
    """The Velero Restore of the attempt that was begun, from this backup."""

    backup_name: str


class FollowRestoreRequest(StepRequest):
    """Follow a Restore until its phase is another than the one seen last."""

    name: str
    seen: RestoreObservation | None = None
    is_the_work: bool = True


class FollowedRestore(ApiModel):
    """The Restore in its new phase; None = it is gone."""

    status: OperationStatus
    observation: RestoreObservation | None = None


class VerifyRestoreRequest(StepRequest):
    """Check what this Restore brought back from this backup."""

    observation: RestoreObservation
    backup_name: str
    source: str
    earlier: tuple[str, ...] = ()
    """The Restores of the attempts before: what they brought back counts, too."""


class RestoreVerified(ApiModel):
    """The verdict on what a restore did, with what was counted."""

    status: OperationStatus
    verdict: Verdict
    item_count: int = 0
    workloads: tuple[str, ...] = ()
    """`Kind/name` of what has to roll out."""
    claims: tuple[str, ...] = ()
    """Names of the claims that have to be bound."""
    volume_count: int = 0
    """Those of them whose data came back."""
    volume_bytes: int = 0
    warnings: tuple[str, ...] = ()


class CheckRequest(StepRequest):
    """Wait until what is named is as it should be."""

    namespace: str
    names: tuple[str, ...] = ()
    until: datetime
    patience: str
    """The time from the first look to `until`, as a person wrote it."""


class Planned(ApiModel):
    """What the Operation would do; its status as it stands."""

    status: OperationStatus
    plan: Plan


class LeftoversRequest(StepRequest):
    """The Velero Restores of the attempts before, and where they restored what backup into."""

    names: tuple[str, ...]
    destination: str
    backup_name: str
    unsettled: tuple[str, ...] = ()
    """Those that a worker which was killed, or reset, may only now be creating."""


class CleanedUp(ApiModel):
    """What was done about leftovers, for people."""

    status: OperationStatus
    message: str


class DrainRequest(ApiModel):
    """Let Velero end what it does for this Operation, until then. No report: it is done too where that is gone."""

    ref: OperationRef
    until: datetime


class Drained(ApiModel):
    """What Velero has, or had, of the Operation."""

    remnants: tuple[Remnant, ...] = ()


class Checked(ApiModel):
    """Whether it is."""

    status: OperationStatus
    verdict: Verdict


HEARTBEAT_TIMEOUT = timedelta(seconds=30)
VERIFY = timedelta(minutes=4)
"""One try to verify a backup, whose archive may be large."""
HEARTBEAT_EVERY = timedelta(seconds=8)

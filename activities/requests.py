"""What workflows hand to activities and get back: small frozen values, readable in the Temporal UI."""

from datetime import timedelta

from operation_engine.domain.admission import Gate
from operation_engine.domain.identity import OperationRef
from operation_engine.domain.policy import Clocks
from operation_engine.domain.report import StatusReport
from operation_engine.domain.resources.common import ApiModel
from operation_engine.domain.resources.operation_spec import OperationType, PartialFailure
from operation_engine.domain.resources.operation_status import AttemptCause, OperationStatus
from operation_engine.domain.velero import BackupObservation
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


HEARTBEAT_TIMEOUT = timedelta(seconds=30)
VERIFY = timedelta(minutes=4)
"""One try to verify a backup, whose archive may be large."""
HEARTBEAT_EVERY = timedelta(seconds=8)

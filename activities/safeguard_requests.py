"""What the safeguards of a Restore ask of activities and get back: consent, approval, suspension, what is replaced."""

from activities.requests import GateAnswer, StepRequest
from operation_engine.domain.identity import OperationRef
from operation_engine.domain.replacement import Replacement
from operation_engine.domain.resources.common import ApiModel
from operation_engine.domain.resources.operation_status import Approval, OperationStatus
from operation_engine.domain.safety import Holdings


class ConsentRequest(StepRequest):
    """May the data of this Velero Backup go where the Operation wants it?"""

    backup_name: str


class ConsentAnswer(GateAnswer):
    """The two ends, and what has to be approved whatever the installation's mode. A refusal may have neither."""

    source: str = ""
    destination: str = ""
    creates_destination: bool = False
    approval_because: str | None = None


class ApprovalRequest(StepRequest):
    """Is the Operation approved? `because`: a reason that neither the installation nor the requester can waive."""

    because: str | None = None


class ApprovalAnswer(GateAnswer):
    """The approval to be kept in the status; None where none is needed."""

    approval: Approval | None = None
    look_again: bool = False
    """The installation itself is at fault: nobody will tell when it is mended."""


class DestinationRequest(StepRequest):
    """Something about the namespace that is restored into."""

    source: str
    destination: str


class Suspended(ApiModel):
    """The HelmReleases that stand still now, as `namespace/name`."""

    status: OperationStatus
    releases: tuple[str, ...] = ()
    busy: tuple[str, ...] = ()
    """Those that Flux was still at when patience ended."""


class ResumeRequest(ApiModel):
    """Put back what this Operation suspended. No report: it is done too where the Operation is gone."""

    ref: OperationRef


class Survey(ApiModel):
    """What the destination holds, and whether a safety backup comes before it is touched."""

    status: OperationStatus
    holdings: Holdings
    is_wanted: bool


class SafetyRequest(DestinationRequest):
    """The safety backup number `number` of the destination, its volumes taken as in the backup of that name."""

    backup_name: str
    number: int


class ReplacementRequest(DestinationRequest):
    """What would have to go so that the volumes of this backup can come back.

    `saved_as` is the safety backup, without whose copy no claim goes; None where there is none by somebody's wish.
    """

    backup_name: str
    saved_as: str | None = None


class ReplacementAnswer(GateAnswer):
    """The objects that have to go; none where there is a refusal."""

    replacement: Replacement


class DeleteRequest(StepRequest):
    """Delete these very objects of a namespace, and wait until they are gone."""

    namespace: str
    replacement: Replacement

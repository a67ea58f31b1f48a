"""Whose an Operation is: which workflow run may write its status and act for it.

The fence that makes Reset, "Start Workflow Like This One" and a worker that comes back late harmless.
`records.operations` asks before every write.
"""

from enum import StrEnum

from operation_engine.domain.resources.common import ApiModel
from operation_engine.domain.resources.operation_status import OperationStatus, Phase, WorkflowClaim


class RunIdentity(ApiModel):
    """A workflow run as an activity of it knows itself."""

    workflow_id: str
    run_id: str


class HolderState(StrEnum):
    """What Temporal says of the run that holds the claim."""

    OPEN = "open"
    CLOSED = "closed"
    UNKNOWN_TO_TEMPORAL = "unknown"


class Holder(ApiModel):
    """The holder's state, and the run that its workflow id leads to today."""

    state: HolderState
    first_run_id: str | None = None
    """Of the workflow's latest run: a Reset keeps it, a new start does not."""
    latest_run_id: str | None = None


class Standing(StrEnum):
    """What a run may do with an Operation."""

    HELD = "held"
    FREE = "free"
    ASK = "ask"
    """Held by another run: Temporal must be asked about that one."""
    FENCED = "fenced"


def standing(own: RunIdentity, status: OperationStatus) -> Standing:
    """What can be said without asking Temporal."""
    claim = status.workflow
    if claim is None:
        return Standing.FENCED if status.phase.terminal else Standing.FREE
    if claim.id == own.workflow_id and claim.run_id == own.run_id:
        # Its end was written from outside: an activity of it that comes late must not open the Operation again.
        return Standing.FENCED if claim.closed else Standing.HELD
    if status.phase == Phase.SUCCEEDED:
        return Standing.FENCED  # never reopened, by nobody
    return Standing.ASK


def why_fenced(status: OperationStatus) -> str:
    """What a person reads on a run that may not act: in the Temporal UI it is all that is left of it."""
    if status.phase == Phase.SUCCEEDED:
        return "This run changes nothing: Succeeded is final. To do the work again, apply another Operation."
    owner = status.workflow.run_id if status.workflow else "none"
    again = f" To try again, Reset run {owner}." if status.phase.terminal else ""
    return f"This run changes nothing: the Operation is {status.phase} and belongs to run {owner}.{again}"


def may_take_over(own: RunIdentity, claim: WorkflowClaim, holder: Holder, status: OperationStatus) -> bool:
    """Whether this run may take the claim from its holder: a Reset, or a holder that Temporal lost.

    A Reset's run has the same workflow and first run, comes last, and the run before it is closed.
    """
    if status.phase == Phase.SUCCEEDED:
        return False
    if holder.state == HolderState.UNKNOWN_TO_TEMPORAL:
        return not status.phase.terminal and claim.id == own.workflow_id
    is_reset = claim.id == own.workflow_id and claim.first_run_id == holder.first_run_id
    return is_reset and holder.state == HolderState.CLOSED and holder.latest_run_id == own.run_id

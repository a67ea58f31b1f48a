"""What is to be done about an Operation whose workflow cannot say so itself: pure.

The controller looks from outside: Terminate runs no workflow code, a history may be deleted, a Reset may wait without
writing. Called by `controller.outside`, which takes the claim by compare-and-swap with what is decided here.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum

from operation_engine.domain import attempts, identity, lifecycle, steps
from operation_engine.domain.identity import OperationRef
from operation_engine.domain.lifecycle import Life
from operation_engine.domain.resources.common import ApiModel
from operation_engine.domain.resources.operation_status import OperationStatus, Phase, StepState, WorkflowClaim
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.steps import RestoreStep

Change = Callable[[OperationStatus], OperationStatus]
_REASONS = {str(reason): reason for reason in Reason}
_BY_THE_SERVER = "history-service"
"""Who terminates a run whose history has grown too large (Temporal's source, 1.32)."""


class How(StrEnum):
    """How a run stands, in Temporal's words."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    TERMINATED = "terminated"
    TIMED_OUT = "timed out"
    CANCELLED = "cancelled"


class RunSeen(ApiModel):
    """A workflow run from outside, and how it ended where it did."""

    run_id: str
    first_run_id: str
    how: How
    type: str = ""
    """Of its failure."""
    message: str = ""
    by: str = ""
    """Who terminated it."""
    result: OperationStatus | None = None


class Verb(StrEnum):
    """What the controller does about it."""

    NOTHING = "nothing"
    END = "ended"
    """Write the end that the workflow could not write."""
    REPEAT = "repeated"
    """Write the workflow's own last status again."""
    LOSE = "lost"
    """The history is gone: nobody will ever go on with it."""
    REOPEN = "reopened"
    """A Reset: point to the new run, which opens the Operation with its next activity."""


def verb(status: OperationStatus, run: RunSeen | None) -> Verb:
    """The row of the table; `run` is None where Temporal knows none."""
    claim, terminal = status.workflow, status.phase.terminal
    if run is None:
        # Without a claim it is new: the controller starts it, and nobody else.
        return Verb.LOSE if claim is not None and not terminal else Verb.NOTHING
    if run.how == How.RUNNING:
        return Verb.REOPEN if _is_reset(status, run) else Verb.NOTHING
    if terminal:
        return Verb.NOTHING
    return Verb.REPEAT if run.how == How.COMPLETED and _is_an_end(run.result) else Verb.END


def _is_an_end(result: OperationStatus | None) -> bool:
    return result is not None and result.phase.terminal


def _is_reset(status: OperationStatus, run: RunSeen) -> bool:
    claim = status.workflow
    reopens = status.phase in (Phase.FAILED, Phase.CANCELLED)
    return reopens and claim is not None and claim.first_run_id == run.first_run_id and claim.run_id != run.run_id


def is_unchanged(live: OperationStatus, decided_on: OperationStatus) -> bool:
    """Whether what was decided about still stands: nobody has ended it, and no other run has taken it."""
    return live.phase == decided_on.phase and _owner(live) == _owner(decided_on)


def _owner(status: OperationStatus) -> str | None:
    return status.workflow.run_id if status.workflow else None


def closed(status: OperationStatus, run: RunSeen | None = None) -> OperationStatus:
    """The claim's run may write no more: an activity of it may still be under way somewhere.

    `run` is the one that ended, where it is another of the same chain: a Reset's, before it wrote anything.
    """
    claim = status.workflow
    if claim is None:
        return status
    is_heir = run is not None and run.first_run_id == claim.first_run_id
    run_id = run.run_id if run is not None and is_heir else claim.run_id
    return status.model_copy(update={"workflow": claim.model_copy(update={"closed": True, "run_id": run_id})})


def pointed(status: OperationStatus, run: RunSeen, url: str) -> OperationStatus:
    """The claim given to a Reset's run, which has reported nothing yet."""
    claim = status.workflow
    if claim is None:
        return status
    theirs = WorkflowClaim(
        id=claim.id, run_id=run.run_id, first_run_id=run.first_run_id, spec_digest=claim.spec_digest, url=url
    )
    return status.model_copy(update={"workflow": theirs})


def repeated(status: OperationStatus, run: RunSeen) -> OperationStatus:
    """The workflow's own last status on top of what stands."""
    if run.result is None:
        return status
    claim = status.workflow or run.result.workflow
    return closed(attempts.rejoined(status, run.result.model_copy(update={"workflow": claim})), run)


def ended(
    status: OperationStatus, run: RunSeen | None, ref: OperationRef, resumed: Sequence[str], now: datetime
) -> OperationStatus:
    """The end, with every step told: what was under way failed, what Flux rested for goes on."""
    reason, message = _why(run, ref)
    told = steps.fail_current(status, now, message)
    if resumed:
        told = steps.end(told, RestoreStep.RESUME, StepState.SUCCEEDED, now, f"As before: {', '.join(resumed)}.")
    is_cancelled = run is not None and run.how == How.CANCELLED
    told = attempts.conclude(steps.skip_rest(told), "Cancelled" if is_cancelled else "Failed", str(reason), now)
    full = f"{message}{_remains(status, ref)}"
    return closed(lifecycle.enter(told, Life.CANCELLED if is_cancelled else Life.FAILED, reason, full, now), run)


def _why(run: RunSeen | None, ref: OperationRef) -> tuple[Reason, str]:
    if run is None:
        return Reason.HISTORY_LOST, (
            "Temporal does not know this Operation's workflow any more: its history was deleted, or kept for too "
            "short a time. Nobody goes on with it; create a new Operation."
        )
    text = f": {run.message}" if run.message else "."
    if run.how == How.TERMINATED:
        by = f" by {run.by}" if run.by else ""
        reason = Reason.ENGINE_UNAVAILABLE if run.by == _BY_THE_SERVER else Reason.ABORTED_BY_USER
        return reason, f"The workflow was terminated in Temporal{by}{text}"
    if run.how == How.TIMED_OUT:
        return Reason.TIMEOUT, "The workflow ran into a time-out of its own in Temporal."
    if run.how == How.CANCELLED:
        return Reason.CANCELLED_BY_USER, "The workflow was cancelled in Temporal, and could not write its end."
    reason = _REASONS.get(run.type, Reason.ENGINE_UNAVAILABLE)
    return reason, f"The workflow {run.how} in Temporal, and its end was not written{text}"


def _remains(status: OperationStatus, ref: OperationRef) -> str:
    """What may go on by itself: nobody has called it off."""
    engine = status.engine_ref
    if engine is None and not status.attempts:
        return ""
    where = f"-n {engine.namespace} " if engine and engine.namespace else "-A "
    label = f"{identity.OPERATION_LABEL}={ref.uid}"
    return (
        f" What Velero had begun goes on by itself: kubectl get backups.velero.io,restores.velero.io {where}-l {label}"
    )


def orphans(suspended_by: Sequence[str], at_work: Sequence[str]) -> tuple[str, ...]:
    """Of the uids that HelmReleases say they rest for, those that nobody works for any more."""
    return tuple(sorted(set(suspended_by) - set(at_work)))

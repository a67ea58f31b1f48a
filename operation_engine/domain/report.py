"""What is told of an Operation: the status to write, and the numbered transitions since the one before.

Made by workflows, written by `records`. Status write, Event, log line and metric of one transition carry the
same number, so each can be repeated without harm after a crash between them.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from operation_engine.domain.resources.common import ApiModel
from operation_engine.domain.resources.conditions import Condition, ConditionStatus, ConditionType
from operation_engine.domain.resources.operation_status import OperationStatus, StepState, WorkflowClaim

_C = ConditionType
# Ready, Reconciling and Stalled are other tools' words for what these already tell.
_TOLD = frozenset(
    {
        _C.ACCEPTED,
        _C.BLOCKED,
        _C.RUNNING,
        _C.SUCCEEDED,
        _C.FAILED,
        _C.CANCELLED,
        _C.DEGRADED,
        _C.VERIFIED,
        _C.ROLLED_BACK,
    }
)
_STEP_NEWS = frozenset({StepState.WAITING, StepState.SUCCEEDED, StepState.FAILED})


class TransitionKind(StrEnum):
    CONDITION = "Condition"
    STEP = "Step"


class Transition(ApiModel):
    """One change that readers are told of; its number is its place in the Operation's life."""

    number: int
    kind: TransitionKind
    subject: str
    """A condition's type or a step's name."""
    state: str
    """A condition's status or a step's state."""
    reason: str | None = None
    message: str | None = None
    at: datetime | None = None


class StatusReport(ApiModel):
    """A status to be written whole, and what its run knows to have changed.

    `serial` counts the reports of one run. The claim keeps the last one that was written, so a try that crashed
    after its write, and one that comes late, are told from the next report without a look at their contents.
    """

    status: OperationStatus
    serial: int
    transitions: tuple[Transition, ...] = ()

    def is_written(self, claim: WorkflowClaim) -> bool:
        """Whether this very report stands, written by a try that crashed after it."""
        return self.serial == claim.report

    def is_late(self, claim: WorkflowClaim) -> bool:
        """Whether the same run has reported something newer since."""
        return self.serial < claim.report

    def told_again(self, live: OperationStatus, claim: WorkflowClaim) -> tuple[Transition, ...]:
        """The transitions of this written report under the numbers they got; none where a take-over changed them."""
        if live.seq - claim.followed != len(self.transitions):
            return ()
        return _numbered(self.transitions, claim.followed)


def report(before: OperationStatus, after: OperationStatus, serial: int) -> StatusReport:
    """The report that leads from one status to the next."""
    return StatusReport(status=after, serial=serial, transitions=transitions(before, after))


def transitions(before: OperationStatus, after: OperationStatus) -> tuple[Transition, ...]:
    """What changed, steps first (they ended before the whole moved on), numbered from `before.seq`."""
    return _numbered((*_step_changes(before, after), *_condition_changes(before, after)), before.seq)


def _numbered(changes: Sequence[Transition], after: int) -> tuple[Transition, ...]:
    return tuple(c.model_copy(update={"number": after + i}) for i, c in enumerate(changes, start=1))


def _step_changes(before: OperationStatus, after: OperationStatus) -> list[Transition]:
    old = {step.name: step.state for step in before.steps}
    return [
        Transition(
            number=0,
            kind=TransitionKind.STEP,
            subject=step.name,
            state=str(step.state),
            message=step.message,
            at=step.finished_at or step.started_at,
        )
        for step in after.steps
        if step.state in _STEP_NEWS and old.get(step.name) != step.state
    ]


def _condition_changes(before: OperationStatus, after: OperationStatus) -> list[Transition]:
    old = {c.type: c for c in before.conditions}
    return [
        Transition(
            number=0,
            kind=TransitionKind.CONDITION,
            subject=str(c.type),
            state=str(c.status),
            reason=c.reason,
            message=c.message,
            at=c.last_transition_time,
        )
        for c in after.conditions
        if c.type in _TOLD and _is_news(old.get(c.type), c)
    ]


def _is_news(old: Condition | None, new: Condition) -> bool:
    """A first appearance is news only when it says True: nobody wants to hear that nothing failed yet."""
    if old is None:
        return new.status == ConditionStatus.TRUE
    return (old.status, old.reason) != (new.status, new.reason)

"""What is told of an Operation: the status to write, and the numbered transitions since the one before.

Made by workflows, written by `records`. Status write, Event, log line and metric of one transition carry the
same number, so each can be repeated without harm after a crash between them.
"""

from datetime import datetime
from enum import StrEnum

from operation_engine.domain.resources.common import ApiModel
from operation_engine.domain.resources.conditions import Condition, ConditionStatus, ConditionType
from operation_engine.domain.resources.operation_status import OperationStatus, StepState

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
    """A status to be written whole, and what changed to make it so.

    `status.seq` is the number of the last transition; `status.seq - len(transitions)` that of the status it
    follows. A write is only good on that one, or on its own result.
    """

    status: OperationStatus
    transitions: tuple[Transition, ...] = ()

    @property
    def follows(self) -> int:
        """The `seq` of the status that this report continues."""
        return self.status.seq - len(self.transitions)

    def is_written(self, live: OperationStatus) -> bool:
        """Whether the live status is this report's own result, written by a try that crashed after it."""
        return bool(self.transitions) and live.seq == self.status.seq


def report(before: OperationStatus, after: OperationStatus) -> StatusReport:
    """The report that leads from one status to the next."""
    found = transitions(before, after)
    return StatusReport(status=after.model_copy(update={"seq": before.seq + len(found)}), transitions=found)


def transitions(before: OperationStatus, after: OperationStatus) -> tuple[Transition, ...]:
    """What changed, steps first (they ended before the whole moved on), numbered from `before.seq`."""
    changes = [*_step_changes(before, after), *_condition_changes(before, after)]
    return tuple(c.model_copy(update={"number": before.seq + i}) for i, c in enumerate(changes, start=1))


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

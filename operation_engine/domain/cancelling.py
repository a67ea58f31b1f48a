"""What a cancelled Operation leaves, told to people: pure. Cancelled means asked, drained, told, and not undone."""

from collections.abc import Sequence

from operation_engine.domain.identity import Role
from operation_engine.domain.resources.common import ApiModel
from operation_engine.domain.resources.operation_status import OperationStatus, StepState
from operation_engine.domain.steps import RestoreStep, find_step

NOTHING_BEGUN = "Cancelled. Velero had begun nothing."
_COMPLETED = "Completed"


class Remnant(ApiModel):
    """A Velero object of the Operation, as it was left."""

    kind: str
    name: str
    role: str = ""
    phase: str = ""
    ended: bool = False
    withdrawn: bool = False
    """It had not begun, and was deleted."""


def told(remnants: Sequence[Remnant], status: OperationStatus) -> str:
    """One sentence an object, what people must know first: what was taken away, and what still works."""
    if not remnants:
        return " ".join((NOTHING_BEGUN, *_taken_away(status)))
    ordered = sorted(remnants, key=lambda remnant: (remnant.ended or remnant.withdrawn, remnant.name))
    return " ".join(("Cancelled.", *_taken_away(status), *(_sentence(remnant) for remnant in ordered)))


def _taken_away(status: OperationStatus) -> tuple[str, ...]:
    """Volumes that were to be replaced, and are not."""
    replace = find_step(status, RestoreStep.REPLACE)
    follow = find_step(status, RestoreStep.FOLLOW)
    has_begun = follow is not None and follow.started_at is not None
    if replace is None or has_begun:
        return ()
    if replace.state == StepState.SUCCEEDED:
        return (f"{replace.message} They were not restored.",)
    if replace.state == StepState.FAILED:
        return (f"{replace.message} What of it is gone was not restored.",)
    return ()


def _sentence(remnant: Remnant) -> str:
    name = f"Velero {remnant.kind} {remnant.name}"
    if remnant.withdrawn:
        return f"{name} had not begun and was deleted."
    if not remnant.ended:
        return f"{name} is still {remnant.phase or 'New'} and goes on by itself."
    if remnant.role == Role.SAFETY:
        holds = "holds what was there before" if remnant.phase == _COMPLETED else f"is {remnant.phase}"
        return f"{name} {holds}."
    if remnant.kind == "Backup":
        return f"{name} is {remnant.phase}, was not checked, and stays."
    return f"{name} is {remnant.phase}; what it restored stays, with the label velero.io/restore-name={remnant.name}."

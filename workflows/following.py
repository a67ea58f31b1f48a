"""Following a Velero object to its end: one activity a phase, each within what its clock has left."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar

from temporalio import workflow

from workflows.run import OperationRun, Stop, TimedOut

with workflow.unsafe.imports_passed_through():
    from activities.requests import FollowRequest, FollowRestoreRequest
    from activities.restores import RestoreActivities
    from activities.velero import VeleroActivities
    from operation_engine.domain import lifecycle, progress
    from operation_engine.domain.policy import Clocks
    from operation_engine.domain.resources.reasons import Reason
    from operation_engine.domain.velero import BackupObservation, Observation, RestoreObservation

O = TypeVar("O", bound=Observation)  # noqa: E741 - an observation


@dataclass(frozen=True)
class Followable(Generic[O]):
    """A kind of Velero object, and how it is followed."""

    kind: str
    verb: Callable[..., Any]
    request: type[FollowRequest] | type[FollowRestoreRequest]
    reason: Reason
    is_the_work: bool = True
    """Its progress is the attempt's."""


BACKUP: Followable[BackupObservation] = Followable(
    "Velero Backup", VeleroActivities.follow_backup, FollowRequest, Reason.VELERO_BACKUP_IN_PROGRESS
)
SAFETY_BACKUP: Followable[BackupObservation] = Followable(
    "Velero Backup", VeleroActivities.follow_backup, FollowRequest, Reason.VELERO_BACKUP_IN_PROGRESS, is_the_work=False
)
RESTORE: Followable[RestoreObservation] = Followable(
    "Velero Restore", RestoreActivities.follow_restore, FollowRestoreRequest, Reason.VELERO_RESTORE_IN_PROGRESS
)


async def follow(operation: OperationRun, what: Followable[O], name: str) -> O | None:
    """The object when Velero is done with it, None when it is gone. Raises Stop with Timeout at the bound."""
    clock = AttemptClock(operation.clocks)
    seen: O | None = None
    while True:
        request = what.request(
            ref=operation.ref, report=operation.report(), name=name, seen=seen, is_the_work=what.is_the_work
        )
        queued = seen is None or seen.queued
        began = workflow.now()
        try:
            followed = await operation.follow(
                what.verb,
                request,
                summary=f"Follow Velero ({(seen.phase or 'New') if seen else 'created'})",
                within=clock.left(queued),
            )
        except TimedOut:
            raise Stop(Reason.TIMEOUT, _timeout_message(what.kind, name, seen, queued)) from None
        clock.spend(queued, workflow.now() - began)
        operation.written(followed.status)
        seen = followed.observation
        if seen is None:
            return None
        if seen.terminal or seen.phase == "Deleting":
            return seen
        _show(operation, what, seen)


def _show(operation: OperationRun, what: Followable[O], observation: O) -> None:
    message = f"{what.kind} {observation.name} is {observation.phase or 'New'}."
    operation.next = lifecycle.say(operation.next, what.reason, message)
    if what.is_the_work:
        moved = progress.advance(operation.next.progress, observation)
        operation.next = operation.next.model_copy(update={"progress": moved})


class AttemptClock:
    """The time an attempt has left: its own work, and apart from it the wait in Velero's queue."""

    def __init__(self, clocks: Clocks) -> None:
        self._work, self._queue = clocks.timeout, clocks.wait_timeout

    def left(self, queued: bool) -> timedelta:
        return max(self._queue if queued else self._work, timedelta(seconds=1))

    def spend(self, queued: bool, spent: timedelta) -> None:
        if queued:
            self._queue -= spent
        else:
            self._work -= spent


def _timeout_message(kind: str, name: str, seen: Observation | None, queued: bool) -> str:
    phase = (seen.phase if seen else "") or "New"
    field = "waitTimeout (Velero's queue)" if queued else "timeout"
    return f"{kind} {name} was still {phase} when spec.policy.{field} ran out. It may go on by itself in Velero."

"""What the watcher does about an Operation: pure. A new one is started, a running one told what changed."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from operation_engine.domain import search
from operation_engine.domain.decisions import Verb
from operation_engine.domain.identity import ABORT_ANNOTATION, RETRY_ANNOTATION, SPEC_CHANGED_SIGNAL, OperationRef
from operation_engine.domain.resources.operation import Operation
from operation_engine.domain.resources.operation_spec import OperationType
from operation_engine.domain.resources.operation_status import Phase
from operation_engine.domain.resources.reasons import Reason

# By name: the controller starts workflows and knows nothing of what they do.
WORKFLOW_TYPES = {OperationType.BACKUP: "BackupWorkflow", OperationType.RESTORE: "RestoreWorkflow"}
_ANSWERS = {RETRY_ANNOTATION: Verb.RETRY, ABORT_ANNOTATION: Verb.ABORT}
ANNOTATION = "kubectl annotate"
"""Who decided, where only an annotation tells: the API server let somebody write it, and does not say whom."""
UNSUPPORTED = "UnsupportedWorkflow"


@dataclass(frozen=True)
class Seen:
    """An Operation as far as decisions need it: small, for there may be thousands."""

    ref: OperationRef
    type: OperationType
    target: str
    phase: Phase
    claimed: bool
    run_id: str = ""
    """The run that holds the claim."""
    finished_at: datetime | None = None
    generation: int = 0
    observed_generation: int = 0
    awaited: int | None = None
    """The attempt that a person is to decide about."""
    cancel: bool = False
    dry_run: bool = False
    answers: tuple[tuple[str, str], ...] = ()
    """What annotations decide, each with the attempt that it names."""


@dataclass(frozen=True)
class Start:
    """Start the workflow of a new Operation; started already, it stays as it is."""

    ref: OperationRef
    workflow_type: str
    type: OperationType
    target: str

    @property
    def summary(self) -> str:
        return search.summary(self.type, self.ref, self.target)


@dataclass(frozen=True)
class Signal:
    """Something that a running workflow is told, once for each token."""

    ref: OperationRef
    name: str
    token: str
    payload: Any = None


@dataclass(frozen=True)
class Cancel:
    """Ask a workflow's latest run to cancel, once for each run: a Reset's may not have heard of it."""

    ref: OperationRef
    token: str
    name: str = "cancel"


class Nothing(StrEnum):
    """Why there is nothing to do."""

    ENDED = "ended"
    CLAIMED = "claimed"


Decision = Start | Nothing


def see(operation: Operation) -> Seen:
    meta = operation.metadata
    return Seen(
        ref=OperationRef(namespace=meta.namespace or "", name=meta.name, uid=meta.uid),
        type=operation.spec.type,
        target=operation.spec.target_ref.name,
        phase=operation.status.phase,
        claimed=operation.status.workflow is not None,
        run_id=operation.status.workflow.run_id if operation.status.workflow else "",
        finished_at=operation.status.finished_at,
        generation=meta.generation,
        observed_generation=operation.status.observed_generation,
        cancel=operation.spec.cancel,
        dry_run=bool(operation.spec.policy.dry_run),
        awaited=operation.status.attempt if operation.status.reason == Reason.AWAITING_DECISION else None,
        answers=tuple((verb, meta.annotations[key]) for key, verb in _ANSWERS.items() if key in meta.annotations),
    )


def latest_backups(all_seen: Iterable[Seen]) -> dict[tuple[str, str], datetime]:
    """When the latest verified backup of each (namespace, target) ended."""
    latest: dict[tuple[str, str], datetime] = {}
    for seen in all_seen:
        is_backup = seen.type == OperationType.BACKUP and not seen.dry_run
        if is_backup and seen.phase == Phase.SUCCEEDED and seen.finished_at is not None:
            key = (seen.ref.namespace, seen.target)
            latest[key] = max(seen.finished_at, latest.get(key, seen.finished_at))
    return latest


def decide(seen: Seen) -> Decision:
    """New means: not ended, and claimed by no run. Everything else is its workflow's business."""
    if seen.phase.terminal:
        return Nothing.ENDED
    if seen.claimed:
        return Nothing.CLAIMED
    return Start(
        ref=seen.ref,
        workflow_type=WORKFLOW_TYPES.get(seen.type, UNSUPPORTED),
        type=seen.type,
        target=seen.target,
    )


def signals(seen: Seen) -> tuple[Signal | Cancel, ...]:
    """What the workflow of an Operation has to be told, for as long as its status does not show that it knows."""
    if seen.phase.terminal:
        return ()
    cancel = (Cancel(seen.ref, token=seen.run_id),) if seen.cancel else ()
    if not seen.claimed:
        return cancel
    changed = Signal(seen.ref, SPEC_CHANGED_SIGNAL, token=str(seen.generation))
    return (*((changed,) if seen.generation > seen.observed_generation else ()), *cancel, *_decisions(seen))


def _decisions(seen: Seen) -> tuple[Signal, ...]:
    """An annotation counts only while the attempt that it names is asked about: later it is a thing of the past."""
    return tuple(
        Signal(seen.ref, verb, token=attempt, payload={"attempt": seen.awaited, "by": ANNOTATION})
        for verb, attempt in seen.answers
        if seen.awaited is not None and attempt == str(seen.awaited)
    )

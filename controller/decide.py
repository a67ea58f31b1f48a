"""What the watcher does about an Operation: pure. Cancel and signals to a running workflow join `Start` here."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from operation_engine.domain import search
from operation_engine.domain.identity import OperationRef
from operation_engine.domain.resources.operation import Operation
from operation_engine.domain.resources.operation_spec import OperationType
from operation_engine.domain.resources.operation_status import Phase

# By name: the controller starts workflows and knows nothing of what they do.
WORKFLOW_TYPES = {OperationType.BACKUP: "BackupWorkflow"}
UNSUPPORTED = "UnsupportedWorkflow"


@dataclass(frozen=True)
class Seen:
    """An Operation as far as decisions need it: small, for there may be thousands."""

    ref: OperationRef
    type: OperationType
    target: str
    phase: Phase
    claimed: bool
    finished_at: datetime | None = None


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
        finished_at=operation.status.finished_at,
    )


def latest_backups(all_seen: Iterable[Seen]) -> dict[tuple[str, str], datetime]:
    """When the latest verified backup of each (namespace, target) ended."""
    latest: dict[tuple[str, str], datetime] = {}
    for seen in all_seen:
        if seen.type == OperationType.BACKUP and seen.phase == Phase.SUCCEEDED and seen.finished_at is not None:
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

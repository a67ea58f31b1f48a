"""Reports as a BackupWorkflow makes them, one after the other."""

from datetime import UTC, datetime

from operation_engine.domain import lifecycle, report, steps
from operation_engine.domain.admission import Gate
from operation_engine.domain.lifecycle import Life
from operation_engine.domain.report import StatusReport
from operation_engine.domain.resources.operation_status import OperationStatus, StepState
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.steps import BackupStep


def next_report(before: OperationStatus, after: OperationStatus) -> report.StatusReport:
    """The report that a run makes next, when it has heard of everything it wrote before."""
    serial = before.workflow.report + 1 if before.workflow else 1
    return report.report(before, after, serial)


def now() -> datetime:
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def first(live: OperationStatus) -> OperationStatus:
    """The first status of a run: the whole plan."""
    planned = steps.plan(live, list(BackupStep))
    return lifecycle.enter(planned, Life.CLAIMED, Reason.PENDING, "taken up", now())


def admitted(status: OperationStatus) -> StatusReport:
    """It may run: one step and one condition."""
    moment = now()
    after = steps.end(steps.begin(status, "Admit", moment), "Admit", StepState.SUCCEEDED, moment, "in order")
    return next_report(status, lifecycle.accept(after, "in order", moment))


def located(status: OperationStatus) -> StatusReport:
    """The next step after that."""
    return _step(status, "CheckStorageLocation")


def running(status: OperationStatus) -> StatusReport:
    """Past all gates: one condition, and the next step is under way."""
    after = steps.begin(status, "CreateBackup", now())
    return next_report(status, lifecycle.enter(after, Life.RUNNING, Reason.VELERO_BACKUP_IN_PROGRESS, "at work", now()))


def created(status: OperationStatus) -> StatusReport:
    """The Velero Backup is made and followed."""
    after = _step(status, "CreateBackup").status.model_copy(update={"seq": status.seq})
    return next_report(status, steps.begin(after, "FollowBackup", now()))


def blocked(status: OperationStatus, gate: Gate) -> StatusReport:
    """It waits at a gate."""
    reason = gate.reason or Reason.PENDING
    return next_report(status, lifecycle.enter(status, Life.WAITING, reason, gate.message, now()))


def failed(status: OperationStatus) -> StatusReport:
    """The end."""
    return next_report(status, lifecycle.enter(status, Life.FAILED, Reason.VERIFICATION_FAILED, "nothing in it", now()))


def succeeded(status: OperationStatus) -> StatusReport:
    """The other end."""
    return next_report(
        status, lifecycle.enter(status, Life.SUCCEEDED, Reason.VELERO_BACKUP_SUCCEEDED, "all in it", now())
    )


def _step(status: OperationStatus, name: str) -> StatusReport:
    moment = now()
    after = steps.end(steps.begin(status, name, moment), name, StepState.SUCCEEDED, moment, "done")
    return next_report(status, after)

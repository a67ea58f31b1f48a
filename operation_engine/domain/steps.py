"""The plan of an attempt: its steps, in order, from the first status write on.

One list feeds `kubectl`, the Temporal UI's current details and Odoo. Workflows call these.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from operation_engine.domain.lifecycle import bounded
from operation_engine.domain.resources.operation_spec import OperationSpec, OperationType
from operation_engine.domain.resources.operation_status import OperationStatus, Step, StepState

MAX_STEP_MESSAGE = 512
_ENDED = (StepState.SUCCEEDED, StepState.FAILED, StepState.SKIPPED)


class BackupStep(StrEnum):
    """The steps of a Backup, in the order in which they run."""

    ADMIT = "Admit"
    APPROVE = "AwaitApproval"
    """Only where the Operation asks for an approval."""
    STORAGE_LOCATION = "CheckStorageLocation"
    CREATE = "CreateBackup"
    FOLLOW = "FollowBackup"
    VERIFY = "VerifyBackup"


class RestoreStep(StrEnum):
    """The steps of a Restore, in the order in which they run."""

    ADMIT = "Admit"
    FIND = "FindBackup"
    CONSENT = "CheckConsent"
    APPROVE = "AwaitApproval"
    DRAIN = "DrainAttempts"
    SUSPEND = "SuspendReleases"
    SAFETY = "SafetyBackup"
    CLEAN_UP = "CleanUp"
    REPLACE = "ReplaceVolumes"
    CREATE = "CreateRestore"
    FOLLOW = "FollowRestore"
    VERIFY_CONTENTS = "VerifyContents"
    VERIFY_WORKLOADS = "VerifyWorkloads"
    VERIFY_VOLUMES = "VerifyVolumes"
    VERIFY_HTTP = "VerifyHttp"
    RESUME = "ResumeReleases"


def applicable(names: Sequence[str], spec: OperationSpec) -> tuple[str, ...]:
    """The steps that this Operation has: a Backup waits for an approval only where it says so."""
    asked = spec.approvals is not None and bool(spec.approvals.required)
    leaves_out = spec.type == OperationType.BACKUP and not asked
    return tuple(name for name in names if not (leaves_out and name == BackupStep.APPROVE))


def plan(status: OperationStatus, names: Sequence[str]) -> OperationStatus:
    """The status with a fresh plan: every step Pending."""
    steps = tuple(Step(name=name, state=StepState.PENDING) for name in names)
    return status.model_copy(update={"steps": steps, "step": None})


def plan_again(status: OperationStatus, names: Sequence[str]) -> OperationStatus:
    """The status with these steps Pending once more, for another attempt; the ones before them stand as they ended."""
    kept = tuple(step for step in status.steps if step.name not in names)
    fresh = tuple(Step(name=name, state=StepState.PENDING) for name in names)
    return status.model_copy(update={"steps": kept + fresh, "step": None})


def begin(status: OperationStatus, name: str, now: datetime, message: str = "") -> OperationStatus:
    """The step runs; it is the current one. Running already, it goes on as it is."""
    old = find_step(status, name)
    if old is not None and old.state == StepState.RUNNING and status.step == name:
        return status
    step = Step(name=name, state=StepState.RUNNING, started_at=now, message=_short(message))
    return _with_step(status, step).model_copy(update={"step": name})


def wait(status: OperationStatus, name: str, now: datetime, message: str) -> OperationStatus:
    """The step waits for something outside; it goes on by itself."""
    return _change(status, name, StepState.WAITING, now, message)


def end(status: OperationStatus, name: str, state: StepState, now: datetime, message: str) -> OperationStatus:
    """The step ended, and how."""
    return _change(status, name, state, now, message)


def fail_current(status: OperationStatus, now: datetime, message: str) -> OperationStatus:
    """The step under way failed; those after it will not run in this attempt."""
    if status.step is None:
        return status
    current = find_step(status, status.step)
    if current is None or current.state in _ENDED:
        return status
    return end(status, current.name, StepState.FAILED, now, message)


def stop_current(status: OperationStatus, now: datetime, message: str) -> OperationStatus:
    """The step under way was called off, through no fault of its own."""
    if status.step is None:
        return status
    current = find_step(status, status.step)
    if current is None or current.state in _ENDED:
        return status
    return end(status, current.name, StepState.SKIPPED, now, message)


def skip_rest(status: OperationStatus) -> OperationStatus:
    """Whatever has not begun will not."""
    steps = tuple(
        s.model_copy(update={"state": StepState.SKIPPED}) if s.state == StepState.PENDING else s for s in status.steps
    )
    return status.model_copy(update={"steps": steps})


def find_step(status: OperationStatus, name: str) -> Step | None:
    return next((s for s in status.steps if s.name == name), None)


def _change(status: OperationStatus, name: str, state: StepState, now: datetime, message: str) -> OperationStatus:
    old = find_step(status, name) or Step(name=name, state=StepState.PENDING)
    update = {
        "state": state,
        "started_at": old.started_at or now,
        "finished_at": now if state in _ENDED else None,
        "message": _short(message),
    }
    return _with_step(status, old.model_copy(update=update))


def _with_step(status: OperationStatus, step: Step) -> OperationStatus:
    if find_step(status, step.name) is None:
        return status.model_copy(update={"steps": (*status.steps, step)})
    return status.model_copy(update={"steps": tuple(step if s.name == step.name else s for s in status.steps)})


def _short(message: str) -> str | None:
    return bounded(message, MAX_STEP_MESSAGE) or None

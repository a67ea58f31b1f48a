"""The dry run of every workflow (`spec.policy.dryRun`): one look at what it would do, told as its steps.

It ends Succeeded with reason DryRun, or Failed with the reason for which the real one would be refused.
"""

from typing import NoReturn

from temporalio import workflow

from workflows.reading import READ_WITHIN
from workflows.run import OnCancel, OperationRun, Stop

with workflow.unsafe.imports_passed_through():
    from activities.planning import PlanActivities
    from activities.requests import VERIFY, Planned, StepRequest
    from operation_engine.domain import steps
    from operation_engine.domain.artefacts import bounded_warnings
    from operation_engine.domain.lifecycle import bounded
    from operation_engine.domain.plans import Plan, PlannedStep
    from operation_engine.domain.resources.operation_status import OperationStatus, Outputs, StepState
    from operation_engine.domain.resources.reasons import Reason


async def dry_run(operation: OperationRun, first: str) -> OperationStatus:
    """Make the plan while step `first` runs, and end. Raises Stop where the Operation would not go through."""
    operation.begin(first, "Looking what it would do.")
    request = StepRequest(ref=operation.ref, report=operation.report())
    planned: Planned = await operation.call(
        PlanActivities.plan_operation,
        request,
        summary="See what it would do",
        within=READ_WITHIN,
        one_try=VERIFY,
        on_cancel=OnCancel.LEAVE,
    )
    operation.written(planned.status)
    plan = planned.plan
    for step in plan.steps:
        _tell(operation, step, plan.fails_at)
    warnings = bounded_warnings([f"Cannot be told: {line}" for line in plan.cannot_tell])
    outputs = Outputs(backup_name=plan.backup_name, storage_location=plan.storage_location, warnings=warnings)
    operation.next = operation.next.model_copy(update={"outputs": outputs})
    if plan.fails_at is not None:
        _fail(operation, plan, plan.fails_at)
    operation.next = steps.skip_rest(operation.next)
    wait = f" But first it would wait: {plan.verdict.message}" if plan.waits else ""
    return await operation.succeed(Reason.DRY_RUN, bounded(plan.summary + wait))


def _fail(operation: OperationRun, plan: Plan, step: str) -> NoReturn:
    """Raises Stop, on the step that the Operation would not pass."""
    operation.begin(step)
    raise Stop(
        plan.verdict.reason or Reason.VALIDATION_FAILED,
        f"Dry run, nothing was done. It would not go through: {plan.verdict.message}",
        refused=True,
    )


def _tell(operation: OperationRun, step: PlannedStep, fails_at: str | None) -> None:
    """No step runs in a dry run: what it would do stands on it as it is skipped."""
    known = steps.find_step(operation.next, step.name)
    if known is None or known.state == StepState.SUCCEEDED or step.name == fails_at:
        return
    message = f"Would run: {step.message}" if step.would_run else f"Would be skipped: {step.message}"
    operation.end(step.name, message, StepState.SKIPPED)

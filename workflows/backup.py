"""BackupWorkflow: a Velero Backup of the Operation's namespace, followed and then verified.

Started by the controller with an OperationRef. Reads as the runbook it is; verdicts are pure (`domain.verdicts`).
"""

from datetime import datetime

from temporalio import workflow
from temporalio.exceptions import FailureError

from workflows.approval import approval
from workflows.attempts import Again, attempt_to_the_end
from workflows.cancelling import drained, let_go
from workflows.decisions import Cancelled, Decidable
from workflows.dry_run import dry_run
from workflows.following import BACKUP, follow
from workflows.gates import Gate, passed
from workflows.reading import READ_WITHIN, explained, verified_backup
from workflows.run import OperationRun, Stop, TimedOut, to_the_end

with workflow.unsafe.imports_passed_through():
    from activities.requests import Created, CreateRequest, Verified
    from activities.velero import VeleroActivities
    from operation_engine.domain import attempts, lifecycle, progress, steps
    from operation_engine.domain.artefacts import bounded_warnings
    from operation_engine.domain.identity import OperationRef
    from operation_engine.domain.resources.operation_status import (
        AttemptCause,
        EngineRef,
        LogsRef,
        OperationStatus,
        Outputs,
        StepState,
    )
    from operation_engine.domain.resources.reasons import Reason
    from operation_engine.domain.steps import BackupStep
    from operation_engine.domain.velero import BackupObservation
    from operation_engine.domain.verdicts import Outcome, Verdict, ended_verdict, may_cost_volumes, volumes_verdict

ATTEMPT_STEPS = (BackupStep.CREATE, BackupStep.FOLLOW, BackupStep.VERIFY)
LOCATION = Gate(
    BackupStep.STORAGE_LOCATION,
    VeleroActivities.check_storage_location,
    "Check the storage location",
    VeleroActivities.await_storage_location,
    "Wait for the storage location",
)


@workflow.defn
class BackupWorkflow(Decidable):
    """One Backup Operation."""

    @workflow.run
    async def run(self, ref: OperationRef) -> OperationStatus:
        """The final status; fails with the reason as the failure's type."""
        operation = OperationRun(ref, self.decisions)
        return await to_the_end(operation, _runbook(operation))


async def _runbook(operation: OperationRun) -> OperationStatus:
    try:
        return await _backed_up(operation)
    except Cancelled:
        raise Cancelled(await drained(operation)) from None
    except FailureError:
        await let_go(operation)
        raise


async def _backed_up(operation: OperationRun) -> OperationStatus:
    await operation.claim(list(BackupStep))
    await operation.admit(BackupStep.ADMIT)
    if operation.facts.dry_run:
        return await dry_run(operation, BackupStep.STORAGE_LOCATION)
    if steps.find_step(operation.status, BackupStep.APPROVE) is not None:
        await approval(operation, BackupStep.APPROVE)
    # Readiness is asked for here, and the namespace's lock is taken after it.
    location = await _storage_location(operation)
    return await attempt_to_the_end(operation, _Backup(operation, location))


async def _storage_location(operation: OperationRun) -> str:
    """The location that takes the backup, waited for until it is Available."""
    answer = await passed(operation, LOCATION)
    return answer.storage_location or ""


class _Backup:
    """The attempts of one Backup Operation, from the intent to the verdict."""

    def __init__(self, operation: OperationRun, location: str) -> None:
        self.operation = operation
        self.location = location
        self.name = ""

    async def attempt(self, cause: AttemptCause, skip: str | None) -> OperationStatus:
        """Create, follow and verify one Velero Backup."""
        await self._create(cause)
        self.operation.end(BackupStep.CREATE, f"Velero Backup {self.name} created.")
        self.operation.begin(BackupStep.FOLLOW)
        observation = await follow(self.operation, BACKUP, self.name)
        problems: tuple[str, ...] = ()
        if observation is not None and observation.errors:
            problems = await explained(self.operation, VeleroActivities.explain_backup, observation)
            self._warn(problems)
        ended = ended_verdict(observation, self.operation.facts.partial_failure, problems)
        if observation is not None and may_cost_volumes(ended):
            ended = volumes_verdict(ended, observation, await self._missing_volumes(observation))
        if ended.outcome == Outcome.RETRY:
            raise Again(ended)
        if ended.outcome == Outcome.FAILED or observation is None:
            raise Stop(ended.reason, ended.message)
        return await self._verified_end(ended, observation)

    async def plan_again(self, verdict: Verdict | None) -> None:
        """The attempt is over: tell it, and show the steps that come again."""
        operation = self.operation
        if verdict is not None:
            operation.end(BackupStep.FOLLOW, verdict.message, StepState.FAILED)
            operation.next = attempts.conclude(operation.next, "Failed", str(verdict.reason), operation.now())
        if verdict is not None and verdict.reason != Reason.STORAGE_LOCATION_UNAVAILABLE:
            operation.next = steps.plan_again(operation.next, ATTEMPT_STEPS)
            return
        operation.next = steps.plan_again(operation.next, (BackupStep.STORAGE_LOCATION, *ATTEMPT_STEPS))
        self.location = await _storage_location(operation)

    async def _missing_volumes(self, observation: BackupObservation) -> tuple[str, ...]:
        """Which volumes a failure cost, where it can be read; a run that began before this was asked goes without."""
        if not workflow.patched("explain-volumes"):
            return ()
        return await explained(
            self.operation, VeleroActivities.explain_volumes, observation, "Read which volumes are missing"
        )

    async def _create(self, cause: AttemptCause) -> None:
        operation = self.operation
        operation.begin(BackupStep.CREATE)
        operation.running(Reason.VELERO_BACKUP_IN_PROGRESS, f"Backing up to storage location {self.location}.")
        request = CreateRequest(
            ref=operation.ref, report=operation.report(), after=operation.status.attempt, cause=cause
        )
        created: Created = await operation.call(
            VeleroActivities.create_backup, request, summary="Create the Velero Backup"
        )
        operation.written(created.status)
        self.name = created.name
        outputs = Outputs(
            backup_name=created.name, storage_location=self.location, warnings=bounded_warnings(created.warnings)
        )
        velero_backup = EngineRef(
            api_version="velero.io/v1", kind="Backup", namespace=created.velero_namespace, name=created.name
        )
        logs = LogsRef(kind="Backup", name=created.name, namespace=created.velero_namespace)
        operation.next = operation.next.model_copy(
            update={"outputs": outputs, "engine_ref": velero_backup, "logs_ref": logs, "progress": None}
        )

    async def _verified_end(self, ended: Verdict, observation: BackupObservation) -> OperationStatus:
        """Check the bucket, and end: Succeeded, or Succeeded and Degraded where the policy accepts a partial backup."""
        operation = self.operation
        operation.end(BackupStep.FOLLOW, f"Velero says {observation.phase}.")
        operation.begin(BackupStep.VERIFY)
        verified = await self._verify(observation)
        if verified.verdict.outcome != Outcome.PASSED:
            self._set_verified(False, verified.verdict)
            self._warn(verified.problems)
            raise Stop(verified.verdict.reason, verified.verdict.message)
        self._set_verified(True, verified.verdict)
        self._warn(verified.problems)
        operation.end(BackupStep.VERIFY, verified.verdict.message)
        operation.next = operation.next.model_copy(
            update={
                "outputs": self._outputs(observation, verified),
                "progress": progress.complete(operation.next.progress, verified.item_count, verified.volume_bytes),
            }
        )
        message = f"Velero Backup {self.name}: {verified.verdict.message}"
        if ended.outcome == Outcome.DEGRADED:
            operation.next = lifecycle.degraded(operation.next, ended.reason, ended.message, operation.now())
            return await operation.succeed(Reason.PARTIAL_FAILURE, f"{message} Accepted though {ended.message}")
        return await operation.succeed(Reason.VELERO_BACKUP_SUCCEEDED, message)

    async def _verify(self, observation: BackupObservation) -> Verified:
        try:
            return await verified_backup(self.operation, observation, "Verify what the bucket holds")
        except TimedOut as bound:
            raise Stop(
                Reason.VERIFICATION_FAILED,
                f"Velero says {observation.phase}, but the bucket could not be read for {READ_WITHIN}: {bound}",
            ) from None

    def _set_verified(self, holds: bool, verdict: Verdict) -> None:
        operation = self.operation
        operation.next = lifecycle.verified(operation.next, holds, verdict.reason, verdict.message, operation.now())

    def _warn(self, problems: tuple[str, ...]) -> None:
        before = self.operation.next.outputs or Outputs()
        warnings = bounded_warnings(tuple(dict.fromkeys((*before.warnings, *problems))))
        outputs = before.model_copy(update={"warnings": warnings})
        self.operation.next = self.operation.next.model_copy(update={"outputs": outputs})

    def _outputs(self, observation: BackupObservation, verified: Verified) -> Outputs:
        before = self.operation.next.outputs or Outputs()
        return before.model_copy(
            update={
                "backup_item_count": str(verified.item_count),
                "backup_size_bytes": str(verified.size_bytes) if verified.size_bytes is not None else None,
                "volume_count": str(verified.volume_count),
                "volume_bytes": str(verified.volume_bytes),
                "expires_at": _rfc3339(observation.expiration),
            }
        )


def _rfc3339(moment: datetime | None) -> str | None:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None

"""BackupWorkflow: a Velero Backup of the Operation's namespace, followed and then verified.

Started by the controller with an OperationRef. Reads as the runbook it is; verdicts are pure (`domain.verdicts`).
"""

from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta

from temporalio import workflow

from workflows.run import OperationRun, Stop, TimedOut, to_the_end

with workflow.unsafe.imports_passed_through():
    from activities.requests import (
        VERIFY,
        Created,
        CreateRequest,
        Followed,
        FollowRequest,
        GateAnswer,
        StepRequest,
        Verified,
        VerifyRequest,
    )
    from activities.velero import VeleroActivities
    from operation_engine.domain import attempts, lifecycle, progress, steps
    from operation_engine.domain.admission import Answer
    from operation_engine.domain.artefacts import bounded_warnings
    from operation_engine.domain.identity import OperationRef
    from operation_engine.domain.policy import Clocks
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
AUTOMATIC_ATTEMPTS = {Reason.STORAGE_LOCATION_UNAVAILABLE: 3}
"""How often a Backup is begun anew without asking: once where Velero's own restart ended it, but for these."""
READ_WITHIN = timedelta(minutes=10)
"""How long the bucket may be unreadable before a backup counts as not verified."""
EXPLAIN_WITHIN = timedelta(minutes=2)
"""How long Velero's own words are waited for; without them a failure is told by its count of errors."""


@workflow.defn
class BackupWorkflow:
    """One Backup Operation."""

    @workflow.run
    async def run(self, ref: OperationRef) -> OperationStatus:
        """The final status; fails with the reason as the failure's type."""
        operation = OperationRun(ref)
        return await to_the_end(operation, _runbook(operation))


async def _runbook(operation: OperationRun) -> OperationStatus:
    await operation.claim(list(BackupStep))
    await operation.admit(BackupStep.ADMIT)
    # Approval and readiness are asked for here, and the namespace's lock is taken after them.
    location = await _storage_location(operation)
    return await _Backup(operation, location).run()


async def _storage_location(operation: OperationRun) -> str:
    """The location that takes the backup, waited for until it is Available."""
    deadline = workflow.now() + operation.clocks.wait_timeout
    operation.begin(BackupStep.STORAGE_LOCATION)
    answer = await operation.enter(VeleroActivities.check_storage_location, "Check the storage location")
    while answer.gate.answer == Answer.WAIT:
        operation.wait(BackupStep.STORAGE_LOCATION, answer.gate)
        request = StepRequest(ref=operation.ref, report=operation.report())
        try:
            answer = await _await_location(operation, request, deadline - workflow.now())
        except TimedOut:
            raise Stop(answer.gate.reason or Reason.TIMEOUT, f"Waited in vain. {answer.gate.message}") from None
        operation.written(answer.status)
    if answer.gate.answer == Answer.REFUSE or answer.storage_location is None:
        raise Stop(answer.gate.reason or Reason.VALIDATION_FAILED, answer.gate.message, refused=True)
    operation.end(BackupStep.STORAGE_LOCATION, answer.gate.message)
    return answer.storage_location


async def _await_location(operation: OperationRun, request: StepRequest, within: timedelta) -> GateAnswer:
    if within <= timedelta(0):
        raise TimedOut
    answer: GateAnswer = await operation.follow(
        VeleroActivities.await_storage_location, request, summary="Wait for the storage location", within=within
    )
    return answer


class _Backup:
    """The attempts of one Backup Operation, from the intent to the verdict."""

    def __init__(self, operation: OperationRun, location: str) -> None:
        self.operation = operation
        self.location = location
        self.name = ""

    async def run(self) -> OperationStatus:
        """Attempt until there is a verdict. A person's retry of failed work takes its place in this loop."""
        cause, automatic = AttemptCause.INITIAL, Counter[Reason]()
        while True:
            verdict, observation = await self._attempt(cause)
            bound = AUTOMATIC_ATTEMPTS.get(verdict.reason, 1)
            if verdict.outcome == Outcome.RETRY and automatic[verdict.reason] < bound:
                cause = AttemptCause.AUTOMATIC
                automatic[verdict.reason] += 1
                await self._plan_again(verdict)
                continue
            if verdict.outcome in (Outcome.RETRY, Outcome.FAILED) or observation is None:
                raise Stop(verdict.reason, verdict.message)
            return await self._verified_end(verdict, observation)

    async def _attempt(self, cause: AttemptCause) -> tuple[Verdict, BackupObservation | None]:
        """Create and follow one Velero Backup: how it ended, by Velero's own words."""
        await self._create(cause)
        self.operation.end(BackupStep.CREATE, f"Velero Backup {self.name} created.")
        self.operation.begin(BackupStep.FOLLOW)
        observation = await self._follow()
        problems: tuple[str, ...] = ()
        if observation is not None and observation.errors:
            problems = await self._problems(observation)
            self._warn(problems)
        verdict = ended_verdict(observation, self.operation.facts.partial_failure, problems)
        if observation is None or not may_cost_volumes(verdict):
            return verdict, observation
        return volumes_verdict(verdict, observation, await self._missing_volumes(observation)), observation

    async def _missing_volumes(self, observation: BackupObservation) -> tuple[str, ...]:
        """Which volumes a failure cost, where it can be read; a run that began before this was asked goes without."""
        if not workflow.patched("explain-volumes"):
            return ()
        with suppress(TimedOut):
            missing: tuple[str, ...] = await self.operation.call(
                VeleroActivities.explain_volumes,
                observation,
                summary="Read which volumes are missing",
                within=EXPLAIN_WITHIN,
            )
            return missing
        return ()

    async def _problems(self, observation: BackupObservation) -> tuple[str, ...]:
        """Velero's own words, where they can be had: a verdict does not hang on them."""
        summary = "Read Velero's errors"
        with suppress(TimedOut):
            found: tuple[str, ...] = await self.operation.call(
                VeleroActivities.explain_backup, observation, summary=summary, within=EXPLAIN_WITHIN
            )
            return found
        return ()

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

    async def _follow(self) -> BackupObservation | None:
        """Follow until Velero is done with it: one activity a phase. Raises Stop with Timeout at the bound."""
        operation, clock = self.operation, AttemptClock(self.operation.clocks)
        seen: BackupObservation | None = None
        while True:
            request = FollowRequest(ref=operation.ref, report=operation.report(), name=self.name, seen=seen)
            queued = seen is None or seen.queued
            began = workflow.now()
            try:
                followed: Followed = await operation.follow(
                    VeleroActivities.follow_backup,
                    request,
                    summary=f"Follow Velero ({(seen.phase or 'New') if seen else 'created'})",
                    within=clock.left(queued),
                )
            except TimedOut:
                raise Stop(Reason.TIMEOUT, _timeout_message(self.name, seen, queued)) from None
            clock.spend(queued, workflow.now() - began)
            operation.written(followed.status)
            seen = followed.observation
            if seen is None or seen.terminal or seen.phase == "Deleting":
                return seen
            self._show(seen)

    def _show(self, observation: BackupObservation) -> None:
        operation = self.operation
        phase = observation.phase or "New"
        operation.next = lifecycle.say(
            operation.next, Reason.VELERO_BACKUP_IN_PROGRESS, f"Velero Backup {self.name} is {phase}."
        ).model_copy(update={"progress": progress.advance(operation.next.progress, observation)})

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
        operation = self.operation
        request = VerifyRequest(
            ref=operation.ref,
            report=operation.report(),
            observation=observation,
        )
        try:
            verified: Verified = await operation.call(
                VeleroActivities.verify_backup,
                request,
                summary="Verify what the bucket holds",
                within=READ_WITHIN,
                one_try=VERIFY,
            )
        except TimedOut as bound:
            raise Stop(
                Reason.VERIFICATION_FAILED,
                f"Velero says {observation.phase}, but the bucket could not be read for {READ_WITHIN}: {bound}",
            ) from None
        operation.written(verified.status)
        return verified

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

    async def _plan_again(self, verdict: Verdict) -> None:
        """The attempt is over through no fault of the work: tell it, and show the steps that come again."""
        operation, now = self.operation, self.operation.now()
        operation.end(BackupStep.FOLLOW, verdict.message, StepState.FAILED)
        concluded = attempts.conclude(operation.next, "Failed", str(verdict.reason), now)
        if verdict.reason != Reason.STORAGE_LOCATION_UNAVAILABLE:
            operation.next = steps.plan_again(concluded, ATTEMPT_STEPS)
            return
        operation.next = steps.plan_again(concluded, (BackupStep.STORAGE_LOCATION, *ATTEMPT_STEPS))
        self.location = await _storage_location(operation)


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


def _timeout_message(name: str, seen: BackupObservation | None, queued: bool) -> str:
    phase = (seen.phase if seen else "") or "New"
    field = "waitTimeout (Velero's queue)" if queued else "timeout"
    return f"Velero Backup {name} was still {phase} when spec.policy.{field} ran out. It may go on by itself in Velero."


def _rfc3339(moment: datetime | None) -> str | None:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None

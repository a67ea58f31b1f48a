"""RestoreWorkflow: a Velero Restore from a backup that was found usable, followed, and then verified in the namespace.

Started by the controller with an OperationRef. Reads as the runbook it is; verdicts are pure
(`domain.restore_verdicts`), what protects the destination and whose data it is stands in `workflows.safeguards`.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import FailureError

from workflows.attempts import Again, attempt_to_the_end
from workflows.cancelling import drained, let_go
from workflows.checks import Checks
from workflows.decisions import Cancelled, Decidable
from workflows.dry_run import dry_run
from workflows.following import RESTORE, follow
from workflows.gates import Gate, passed
from workflows.reading import READ_WITHIN, explained
from workflows.run import STATUS_WITHIN, AttemptOfAnotherRun, OnCancel, OperationRun, Stop, TimedOut, to_the_end
from workflows.safeguards import Safeguards

with workflow.unsafe.imports_passed_through():
    from activities.leftovers import LeftoverActivities
    from activities.operations import OperationActivities
    from activities.requests import (
        CleanedUp,
        Created,
        CreateRequest,
        CreateRestoreRequest,
        FoundBackup,
        LeftoversRequest,
        RestoreVerified,
        VerifyRestoreRequest,
    )
    from activities.restores import RestoreActivities
    from operation_engine.domain import attempts, lifecycle, progress, steps
    from operation_engine.domain.artefacts import bounded_warnings
    from operation_engine.domain.decisions import SAFETY_BACKUP
    from operation_engine.domain.identity import OperationRef
    from operation_engine.domain.pinned import pin
    from operation_engine.domain.resources.operation_status import (
        AttemptCause,
        EngineRef,
        LogsRef,
        OperationStatus,
        Outputs,
        StepState,
    )
    from operation_engine.domain.resources.reasons import Reason
    from operation_engine.domain.restore_verdicts import restore_ended_verdict
    from operation_engine.domain.restores import Namespaces
    from operation_engine.domain.steps import RestoreStep
    from operation_engine.domain.velero import BackupObservation, BackupPhase, RestoreObservation
    from operation_engine.domain.verdicts import Outcome, Verdict

ATTEMPT_STEPS = tuple(step for step in RestoreStep if step != RestoreStep.ADMIT)
CLEAN_WITHIN = timedelta(minutes=10)
"""How long leftovers may take to be gone: pods end gracefully, finalizers take their time."""
LATE_CREATE = timedelta(minutes=1)
"""How long the creation of a worker that was lost may still be under way."""
NONE_BEFORE = "There was no attempt before."
KEPT = "What the attempt before created stays (cleanup: Keep): Velero skips what exists."
FIND = Gate(
    RestoreStep.FIND,
    RestoreActivities.find_backup,
    "Find the backup",
    RestoreActivities.await_backup,
    "Wait for the backup's storage location",
)


@workflow.defn
class RestoreWorkflow(Decidable):
    """One Restore Operation."""

    @workflow.run
    async def run(self, ref: OperationRef) -> OperationStatus:
        """The final status; fails with the reason as the failure's type."""
        operation = OperationRun(ref, self.decisions)
        return await to_the_end(operation, _runbook(operation))


async def _runbook(operation: OperationRun) -> OperationStatus:
    restore = _Restore(operation)
    try:
        await operation.claim(list(RestoreStep))
        await operation.admit(RestoreStep.ADMIT)
        if operation.facts.dry_run:
            return await dry_run(operation, RestoreStep.FIND)
        await restore.gates()
        return await attempt_to_the_end(operation, restore)
    except Cancelled:
        told = await drained(operation)
        fault = await restore.safeguards.resume()
        raise Cancelled(f"{told} But: {fault}" if fault else told) from None
    except FailureError as end:
        await let_go(operation)
        await restore.safeguards.resume(str(end))
        raise
    except (Stop, TimedOut) as end:
        await restore.safeguards.resume(str(end))
        raise


class _Restore:
    """The attempts of one Restore Operation, from the backup that is found to what is verified."""

    def __init__(self, operation: OperationRun) -> None:
        self.operation = operation
        self.safeguards = Safeguards(operation)
        self.found: FoundBackup | None = None

    async def gates(self) -> None:
        """Whether there is a backup that may be restored here, now."""
        self.found = await passed(self.operation, FIND)
        await self.safeguards.consent(self.backup.name)
        # Told only now that its owner has agreed, and before anybody is asked to approve it: a later attempt, and a
        # Reset, find it there.
        settled = pin(self.operation.next.outputs, self.backup)
        self.operation.next = self.operation.next.model_copy(update={"outputs": settled})
        await self.safeguards.approve()

    async def attempt(self, cause: AttemptCause, skip: str | None) -> OperationStatus:
        """One Velero Restore, from its intent to what it did. A later attempt asks the gates again."""
        if cause == AttemptCause.RESET:
            self.safeguards.forget()
        await self._begin(cause)
        if cause != AttemptCause.INITIAL:
            await self.gates()
            self._say_running()
        await self._drain()
        await self.safeguards.prepare(skip_safety_backup=skip == SAFETY_BACKUP, clean_up=self._clean_up)
        created = await self._create()
        ended, observation = await self._follow(created.name)
        if ended.outcome == Outcome.RETRY:
            raise Again(ended)
        if ended.outcome == Outcome.FAILED or observation is None:
            raise Stop(ended.reason, ended.message)
        self.operation.end(RestoreStep.FOLLOW, f"Velero says {observation.phase}.")
        return await self._verified_end(ended, observation)

    async def plan_again(self, verdict: Verdict | None) -> None:
        """The attempt is over: tell it, and show the steps that come again."""
        operation = self.operation
        if verdict is not None:
            operation.end(RestoreStep.FOLLOW, verdict.message, StepState.FAILED)
            operation.next = attempts.conclude(operation.next, "Failed", str(verdict.reason), operation.now())
        operation.next = steps.plan_again(operation.next, ATTEMPT_STEPS)

    @property
    def backup(self) -> BackupObservation:
        """Only after the gates."""
        if self.found is None or self.found.backup is None:
            raise RuntimeError("no backup was found usable")
        return self.found.backup

    @property
    def namespaces(self) -> Namespaces:
        """Only after the gates."""
        if self.found is None or self.found.namespaces is None:
            raise RuntimeError("no backup was found usable")
        return self.found.namespaces

    async def _begin(self, cause: AttemptCause) -> None:
        """Number the attempt before anything is done in it, so that whatever fails in it can be decided about."""
        operation = self.operation
        self._say_running()
        request = CreateRequest(
            ref=operation.ref, report=operation.report(), after=operation.status.attempt, cause=cause
        )
        # As patiently as an end is written: until the attempt has its number, nobody could be asked about it.
        operation.written(
            await operation.call(
                OperationActivities.begin_attempt, request, summary="Begin an attempt", within=STATUS_WITHIN
            )
        )

    def _say_running(self) -> None:
        """Past the gates, which may have been waited for."""
        self.operation.running(
            Reason.VELERO_RESTORE_IN_PROGRESS,
            f"Restoring Velero Backup {self.backup.name} into namespace {self.namespaces.destination}.",
        )

    async def _drain(self) -> None:
        """Velero is done with every attempt before: another Restore would wait behind it, or meet it half way."""
        operation, step = self.operation, RestoreStep.DRAIN
        names = self._earlier()
        if not names:
            operation.end(step, NONE_BEFORE, StepState.SKIPPED)
            return
        operation.begin(step)
        operation.written(await self._about_leftovers(LeftoverActivities.drain_restores, names))
        operation.end(step, f"Velero is done with {', '.join(names)}.")

    async def _clean_up(self) -> None:
        """What the attempts before created is gone where that was asked for; everything is saved by now."""
        operation, step, names = self.operation, RestoreStep.CLEAN_UP, self._earlier()
        if not names:
            operation.end(step, NONE_BEFORE, StepState.SKIPPED)
            return
        operation.begin(step)
        if not operation.facts.deletes_leftovers:
            operation.end(step, KEPT)
            return
        cleaned: CleanedUp = await self._about_leftovers(LeftoverActivities.delete_leftovers, names)
        operation.written(cleaned.status)
        operation.end(step, cleaned.message)

    def _earlier(self) -> tuple[str, ...]:
        """The Velero Restores of the attempts before, by the names that they were to have."""
        found, own = self.operation.next.attempts, self.operation.next.attempt
        return tuple(a.velero_name for a in found if a.number < own and a.velero_name)

    async def _about_leftovers(self, verb: Callable[..., Any], names: tuple[str, ...]) -> Any:
        operation, is_drain = self.operation, verb is LeftoverActivities.drain_restores
        unsettled = {a.velero_name for a in operation.next.attempts if attempts.is_unsettled(a)}
        request = LeftoversRequest(
            ref=operation.ref,
            report=operation.report(),
            names=names,
            destination=self.namespaces.destination,
            backup_name=self.backup.name,
            unsettled=tuple(name for name in names if name in unsettled),
        )
        within = operation.clocks.wait_timeout + LATE_CREATE if is_drain else CLEAN_WITHIN
        summary = "Wait for the Restores before" if is_drain else "Delete what the attempt before created"
        try:
            # Once it deletes it deletes to the end; to wait for Velero is for whoever cancelled.
            on_cancel = OnCancel.LEAVE if is_drain else OnCancel.FINISH
            return await operation.follow(verb, request, summary=summary, within=within, on_cancel=on_cancel)
        except TimedOut as bound:
            what = "Velero was still at it" if is_drain else "Not all of it was gone"
            raise Stop(Reason.CLEANUP_FAILED, f"{what} after {within}: {bound}") from None

    async def _create(self) -> Created:
        operation, backup = self.operation, self.backup
        operation.begin(RestoreStep.CREATE)
        request = CreateRestoreRequest(ref=operation.ref, report=operation.report(), backup_name=backup.name)
        created: Created = await operation.call(
            RestoreActivities.create_restore, request, summary="Create the Velero Restore"
        )
        operation.written(created.status)
        operation.end(RestoreStep.CREATE, f"Velero Restore {created.name} created from Backup {backup.name}.")
        velero_restore = EngineRef(
            api_version="velero.io/v1", kind="Restore", namespace=created.velero_namespace, name=created.name
        )
        logs = LogsRef(kind="Restore", name=created.name, namespace=created.velero_namespace)
        operation.next = operation.next.model_copy(
            update={"outputs": self._outputs(created), "engine_ref": velero_restore, "logs_ref": logs}
        )
        return created

    def _must_be_the_latest(self, name: str) -> None:
        """A Reset may lead into an attempt that others came after: what it did, they may have undone.

        Known from the status that an activity gave back. Raises AttemptOfAnotherRun.
        """
        if name in self._earlier():
            raise AttemptOfAnotherRun("There has been another attempt since.")

    def _outputs(self, created: Created) -> Outputs:
        problems = self.found.problems if self.found else ()
        return pin(None, self.backup).model_copy(
            update={
                "restore_name": created.name,
                "warnings": bounded_warnings((*problems, *created.warnings)),
            }
        )

    async def _follow(self, name: str) -> tuple[Verdict, RestoreObservation | None]:
        """How it ended, by Velero's own words."""
        self.operation.begin(RestoreStep.FOLLOW)
        observation = await follow(self.operation, RESTORE, name)
        self._must_be_the_latest(name)
        problems: tuple[str, ...] = ()
        if observation is not None and observation.errors:
            problems = await explained(self.operation, RestoreActivities.explain_restore, observation)
        return restore_ended_verdict(observation, self.operation.facts.partial_failure, problems), observation

    async def _verified_end(self, ended: Verdict, observation: RestoreObservation) -> OperationStatus:
        """See what came back and that it runs, and end: Succeeded, Degraded where a part is missing and accepted."""
        operation = self.operation
        verified = await self._contents(observation)
        wanted = operation.facts.verification
        checks = Checks(
            operation,
            wanted,
            self.namespaces.destination,
            (verified.verdict.message,),
            lambda: self._must_be_the_latest(observation.name),
        )
        await checks.run(verified.workloads, verified.claims)
        message = " ".join(checks.held)
        done = progress.complete(operation.next.progress, verified.item_count, verified.volume_bytes)
        operation.next = lifecycle.verified(
            operation.next, True, Reason.VELERO_RESTORE_COMPLETED, message, operation.now()
        ).model_copy(update={"progress": done})
        missing = self._missing(ended)
        if (fault := await self.safeguards.resume()) is not None:
            message = f"{message} But: {fault}"
        operation.next = steps.skip_rest(operation.next)
        if missing is None:
            return await operation.succeed(Reason.VELERO_RESTORE_COMPLETED, message)
        operation.next = lifecycle.degraded(operation.next, Reason.PARTIAL_FAILURE, missing, operation.now())
        return await operation.succeed(Reason.PARTIAL_FAILURE, f"{message} Accepted though {missing}")

    def _missing(self, ended: Verdict) -> str | None:
        """What the policy accepts to be missing: of the backup, or of the restore."""
        if ended.outcome == Outcome.DEGRADED:
            return ended.message
        if self.backup.phase != BackupPhase.PARTIALLY_FAILED:
            return None
        first = "; ".join(self.found.problems[:3]) if self.found else ""
        return f"Velero Backup {self.backup.name} is PartiallyFailed with {self.backup.errors} errors: {first}"

    async def _contents(self, observation: RestoreObservation) -> RestoreVerified:
        """What the Restore brought back. Raises Stop where that is nothing, too little, or unknown."""
        operation = self.operation
        operation.begin(RestoreStep.VERIFY_CONTENTS)
        verified = await self._read(observation)
        before = operation.next.outputs or Outputs()
        outputs = before.model_copy(
            update={
                "restored_item_count": str(verified.item_count),
                "volume_count": str(verified.volume_count),
                "volume_bytes": str(verified.volume_bytes),
                "warnings": bounded_warnings((*before.warnings, *verified.warnings)),
            }
        )
        operation.next = operation.next.model_copy(update={"outputs": outputs})
        verdict = verified.verdict
        if verdict.outcome != Outcome.PASSED:
            operation.next = lifecycle.verified(operation.next, False, verdict.reason, verdict.message, operation.now())
            raise Stop(verdict.reason, verdict.message)
        operation.end(RestoreStep.VERIFY_CONTENTS, verdict.message)
        return verified

    async def _read(self, observation: RestoreObservation) -> RestoreVerified:
        operation = self.operation
        request = VerifyRestoreRequest(
            ref=operation.ref,
            report=operation.report(),
            observation=observation,
            backup_name=self.backup.name,
            source=self.namespaces.source,
            earlier=self._earlier(),
        )
        try:
            verified: RestoreVerified = await operation.call(
                RestoreActivities.verify_contents,
                request,
                summary="Verify what was restored",
                within=READ_WITHIN,
                on_cancel=OnCancel.LEAVE,
            )
        except TimedOut as bound:
            raise Stop(
                Reason.VERIFICATION_FAILED,
                f"Velero says {observation.phase}, but the bucket could not be read for {READ_WITHIN}: {bound}",
            ) from None
        operation.written(verified.status)
        self._must_be_the_latest(observation.name)
        return verified

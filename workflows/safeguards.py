"""What keeps a Restore from harm, step by step: both sides agree, Flux rests, a backup comes first, volumes make room.

RestoreWorkflow has one `Safeguards` and calls it in this order for every attempt.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from workflows.approval import approval
from workflows.following import SAFETY_BACKUP, follow
from workflows.reading import READ_WITHIN, explained, verified_backup
from workflows.run import CALL_WITHIN, OnCancel, OperationRun, Stop, TimedOut

with workflow.unsafe.imports_passed_through():
    from activities.namespaces import NamespaceActivities
    from activities.releases import ReleaseActivities
    from activities.requests import StepRequest
    from activities.safeguard_requests import (
        ConsentAnswer,
        ConsentRequest,
        DeleteRequest,
        DestinationRequest,
        ReplacementAnswer,
        ReplacementRequest,
        ResumeRequest,
        SafetyCreated,
        SafetyRequest,
        Survey,
        Suspended,
    )
    from activities.safety import SafetyActivities
    from activities.velero import VeleroActivities
    from activities.workloads import WorkloadActivities
    from operation_engine.domain import steps
    from operation_engine.domain.admission import Answer
    from operation_engine.domain.resources.operation_spec import PartialFailure
    from operation_engine.domain.resources.operation_status import StepState
    from operation_engine.domain.resources.reasons import Reason
    from operation_engine.domain.steps import RestoreStep
    from operation_engine.domain.verdicts import Outcome, Verdict, ended_verdict

SUSPEND_WITHIN = timedelta(minutes=10)
REPLACE_WITHIN = timedelta(minutes=15)
RESUME_WITHIN = timedelta(hours=24)
"""How long an API server may be away before HelmReleases stay suspended."""

CleanUp = Callable[[], Awaitable[None]]


class Safeguards:
    """What protects the two namespaces of one Restore, through all of its attempts in this run."""

    def __init__(self, operation: OperationRun) -> None:
        self.operation = operation
        self.backup_name = ""
        self.agreed: ConsentAnswer | None = None
        self.saved_as: str | None = None
        """The safety backup that was verified."""
        self.settled: str | None = None
        """What became of the question of a safety backup, once that is known: it is asked before anything changes."""
        self.safety_number = 1
        self.suspended: tuple[str, ...] = ()

    def forget(self) -> None:
        """A Reset may come days later: what was saved before it shows what was there then."""
        self.saved_as = self.settled = None

    async def consent(self, backup_name: str) -> None:
        """Both namespaces agree. Raises Stop."""
        operation, self.backup_name = self.operation, backup_name
        operation.begin(RestoreStep.CONSENT)
        request = ConsentRequest(ref=operation.ref, report=operation.report(), backup_name=backup_name)
        answer = await self._call(NamespaceActivities.check_consent, request, "Check whose data goes where")
        if answer.gate.answer != Answer.PASS:
            raise Stop(answer.gate.reason or Reason.CONSENT_MISSING, answer.gate.message, refused=True)
        operation.end(RestoreStep.CONSENT, answer.gate.message)
        self.agreed = answer

    async def approve(self) -> None:
        """Somebody approved it, where that is needed. Raises Stop."""
        if await approval(self.operation, RestoreStep.APPROVE, self._agreed.approval_because):
            # Before anything is touched: hours may have passed.
            await self._still_agreed()

    async def prepare(self, *, skip_safety_backup: bool = False, clean_up: CleanUp | None = None) -> None:
        """Everything that comes before the Velero Restore; `clean_up` once all of it is saved. Raises Stop."""
        if self._agreed.creates_destination:
            request = StepRequest(ref=self.operation.ref, report=self.operation.report())
            await self._call(NamespaceActivities.create_destination, request, "Make the destination")
        await self._suspend()
        saved_as = await self._safety_backup(skip_safety_backup)
        await self._still_agreed()
        if clean_up is not None:
            await clean_up()
        await self._replace_volumes(saved_as)
        await self._still_agreed()

    async def _still_agreed(self) -> None:
        """After every wait: the same backup and namespaces, both still agreeing. Raises Stop."""
        request = ConsentRequest(ref=self.operation.ref, report=self.operation.report(), backup_name=self.backup_name)
        answer = await self._call(NamespaceActivities.check_consent, request, "See that both sides still agree")
        if answer.gate.answer != Answer.PASS:
            raise Stop(answer.gate.reason or Reason.CONSENT_MISSING, answer.gate.message)
        before = self._agreed
        was, now = list(before.identities), list(answer.identities)
        if before.creates_destination:
            was[-1:] = now[-1:]  # the engine has made it meanwhile
        if was != now or answer.approval_because != before.approval_because:
            raise Stop(
                Reason.CONSENT_MISSING,
                f"The backup or one of the namespaces {answer.source} and {answer.destination} was made anew while "
                "this Operation waited; what was agreed and approved was about the one before.",
            )
        self.agreed = answer

    async def resume(self, failure: str | None = None) -> str | None:
        """Put back what was suspended, whatever the end; what went wrong with that, or None. Never raises.

        A run that lost its claim changes nothing here: the one that took over restores on, and resumes. An Operation
        that is gone has nobody else. `failure` is told on the step that it ended.
        """
        operation, suspended = self.operation, self.suspended
        if not suspended and not operation.status.attempts:
            return None
        if suspended:
            if failure is not None:
                operation.next = steps.fail_current(operation.next, operation.now(), failure)
            operation.begin(RestoreStep.RESUME)
        resumed: tuple[str, ...]
        try:
            resumed = await operation.call(
                ReleaseActivities.resume_releases,
                ResumeRequest(ref=operation.ref),
                summary="Resume the HelmReleases",
                within=RESUME_WITHIN,
                even_cancelled=True,
            )
        except (Stop, TimedOut, ApplicationError) as error:
            fault = f"HelmReleases are still suspended ({', '.join(suspended)}): {error}"
            operation.end(RestoreStep.RESUME, fault, StepState.FAILED)
            return fault
        # Those count, too, that came out of the backup: they were suspended on the way.
        if names := sorted({*suspended, *resumed}):
            operation.end(RestoreStep.RESUME, f"As before: {', '.join(names)}.")
        self.suspended = ()
        return None

    async def _suspend(self) -> None:
        """Flux leaves the destination alone from here until `resume`."""
        operation = self.operation
        operation.begin(RestoreStep.SUSPEND)
        suspended: Suspended = await self._follow(
            ReleaseActivities.suspend_releases, self._about(), "Suspend the HelmReleases", SUSPEND_WITHIN
        )
        self.suspended = suspended.releases
        if not suspended.releases:
            operation.end(RestoreStep.SUSPEND, "No HelmRelease installs into the destination.", StepState.SKIPPED)
            return
        busy = f" Flux was still at {', '.join(suspended.busy)}." if suspended.busy else ""
        operation.end(RestoreStep.SUSPEND, f"Suspended: {', '.join(suspended.releases)}.{busy}")

    async def _safety_backup(self, skip: bool) -> str | None:
        """A verified backup of the destination: its name, None where there is none by somebody's wish or for no need.

        Settled once: what a later attempt finds are leftovers. Raises Stop: a person may retry, skip it, or abort.
        """
        operation, step = self.operation, RestoreStep.SAFETY
        operation.begin(step)
        if skip:
            self.saved_as, self.settled = None, "Skipped by a person's decision."
        if self.settled is not None:
            operation.end(step, self.settled, StepState.SKIPPED)
            return self.saved_as
        survey: Survey = await self._call(
            WorkloadActivities.survey_destination, self._about(), "See what the destination holds"
        )
        if not survey.is_wanted:
            why = "spec.parameters.safetyBackup is false." if not survey.holdings.is_empty else "Nothing could be lost."
            self.settled = f"The destination held {survey.holdings}. {why}"
            operation.end(step, self.settled, StepState.SKIPPED)
            return None
        try:
            self.saved_as = await self._saved()
        except (Stop, TimedOut) as fault:
            message = f"Nothing was touched: the backup before it failed. {fault}"
            raise Stop(Reason.SAFETY_BACKUP_FAILED, message) from None
        self.settled = f"Velero Backup {self.saved_as} was made before anything changed."
        operation.end(step, f"Velero Backup {self.saved_as} holds what was there: {survey.holdings}.")
        return self.saved_as

    async def _saved(self) -> str:
        """The name of the verified safety backup. Raises Stop; begun anew by itself where Velero restarted under it."""
        verdict = await self._try_to_save()
        if verdict.outcome == Outcome.RETRY:
            verdict = await self._try_to_save()
        if verdict.outcome != Outcome.PASSED:
            raise Stop(Reason.SAFETY_BACKUP_FAILED, verdict.message)
        return verdict.message

    async def _try_to_save(self) -> Verdict:
        """How one safety backup ended; passed, its message is the backup's name."""
        operation = self.operation
        request = SafetyRequest(
            ref=operation.ref,
            report=operation.report(),
            source=self._agreed.source,
            destination=self._agreed.destination,
            backup_name=self.backup_name,
            number=self.safety_number,
        )
        created: SafetyCreated = await self._call(
            SafetyActivities.create_safety_backup, request, "Back up what is there before it is touched"
        )
        self.safety_number = created.number + 1
        observation = await follow(operation, SAFETY_BACKUP, created.name)
        problems: tuple[str, ...] = ()
        if observation is not None and observation.errors:
            problems = await explained(operation, VeleroActivities.explain_backup, observation)
        verdict = ended_verdict(observation, PartialFailure.FAIL, problems)
        if verdict.outcome == Outcome.PASSED and observation is not None:
            verdict = (await verified_backup(operation, observation, "Verify what was saved")).verdict
        if verdict.outcome != Outcome.PASSED:
            return verdict
        return verdict.model_copy(update={"message": created.name})

    async def _replace_volumes(self, saved_as: str | None) -> None:
        """`existingVolumes: Replace`: what is in the way of the backup's volumes goes. Raises Stop."""
        operation, step = self.operation, RestoreStep.REPLACE
        operation.begin(step)
        asked = ReplacementRequest(**dict(self._about()), backup_name=self.backup_name, saved_as=saved_as)
        found: ReplacementAnswer = await self._call(
            WorkloadActivities.plan_replacement, asked, "See which volumes are in the way", READ_WITHIN
        )
        if found.gate.answer != Answer.PASS:
            raise Stop(found.gate.reason or Reason.VALIDATION_FAILED, found.gate.message)
        if not found.replacement.claims:
            operation.end(step, found.gate.message, StepState.SKIPPED)
            return
        request = DeleteRequest(
            ref=operation.ref,
            report=operation.report(),
            namespace=self._agreed.destination,
            replacement=found.replacement,
        )
        try:
            await self._follow(WorkloadActivities.delete_replaced, request, "Make room for volumes", REPLACE_WITHIN)
        except TimedOut as bound:
            raise Stop(
                Reason.CLEANUP_FAILED,
                f"{found.gate.message} Not all of it was gone after {REPLACE_WITHIN}: {bound} See what holds it: "
                f"kubectl get pods,persistentvolumeclaims -n {self._agreed.destination}",
            ) from None
        operation.end(step, found.gate.message.replace("To be replaced", "Deleted, to be replaced"))

    @property
    def _agreed(self) -> ConsentAnswer:
        """Only after `consent`."""
        if self.agreed is None:
            raise RuntimeError("nobody has asked for consent yet")
        return self.agreed

    def _about(self) -> DestinationRequest:
        operation, agreed = self.operation, self._agreed
        return DestinationRequest(
            ref=operation.ref, report=operation.report(), source=agreed.source, destination=agreed.destination
        )

    async def _call(self, verb: Callable[..., Any], request: Any, summary: str, within: timedelta = CALL_WITHIN) -> Any:
        """A short call that enters with the report; what it says of the status stands from here on."""
        answer = await self.operation.call(verb, request, summary=summary, within=within)
        self.operation.written(getattr(answer, "status", answer))
        return answer

    async def _follow(self, verb: Callable[..., Any], request: Any, summary: str, within: timedelta) -> Any:
        """A wait that enters with the report, for something that is not left half done."""
        answer = await self.operation.follow(verb, request, summary=summary, within=within, on_cancel=OnCancel.FINISH)
        self.operation.written(getattr(answer, "status", answer))
        return answer

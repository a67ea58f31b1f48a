"""A Restore's safeguards as a script: stand-ins at the activity boundary, under the real activities' names."""

from collections.abc import Callable, Sequence
from itertools import count
from typing import TypeVar

from support.guards import APPROVAL, APPROVED, UNREADABLE, Guards
from support.scripted import VELERO_NAMESPACE, Scripts
from temporalio import activity

from activities.operations import own_run
from activities.requests import StepRequest
from activities.safeguard_requests import (
    ApprovalAnswer,
    ApprovalRequest,
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
from operation_engine.domain import safety
from operation_engine.domain.resources.operation_status import OperationStatus
from operation_engine.records.operations import OperationStore

T = TypeVar("T")


class ScriptedSafeguards:
    """The verbs of `activities.safeguarding`. Each enters through the real store, as those do."""

    def __init__(self, store: OperationStore, scripts: Scripts) -> None:
        self._store, self._scripts = store, scripts

    @property
    def short(self) -> Sequence[Callable[..., object]]:
        return [
            self.check_consent,
            self.create_destination,
            self.check_approval,
            self.resume_releases,
            self.create_safety_backup,
            self.survey_destination,
            self.plan_replacement,
        ]

    @property
    def waits(self) -> Sequence[Callable[..., object]]:
        return [self.suspend_releases, self.delete_replaced]

    @activity.defn
    async def check_consent(self, request: ConsentRequest) -> ConsentAnswer:
        guards = self._guards
        return ConsentAnswer(
            status=await self._entered(request),
            gate=_next(guards.consents),
            source="shop",
            destination="shop",
            creates_destination=guards.creates_destination,
            approval_because=guards.because,
            identities=_next(guards.identities),
        )

    @activity.defn
    async def create_destination(self, request: StepRequest) -> OperationStatus:
        return await self._entered(request)

    @activity.defn
    async def check_approval(self, request: ApprovalRequest) -> ApprovalAnswer:
        status, guards = await self._entered(request), self._guards
        guards.asked_because.append(request.because)
        gate = _next(guards.approvals)
        approval = APPROVAL if gate == APPROVED else None
        return ApprovalAnswer(status=status, gate=gate, approval=approval, look_again=gate == UNREADABLE)

    @activity.defn
    async def suspend_releases(self, request: DestinationRequest) -> Suspended:
        status, guards = await self._in_attempt(request), self._guards
        guards.suspended.append("suspend")
        return Suspended(status=status, releases=guards.releases, busy=guards.busy)

    @activity.defn
    async def resume_releases(self, request: ResumeRequest) -> tuple[str, ...]:
        self._guards.suspended.append("resume")
        return self._guards.releases

    @activity.defn
    async def create_safety_backup(self, request: SafetyRequest) -> SafetyCreated:
        status, guards, run_id = await self._in_attempt(request), self._guards, own_run().run_id
        for number in count(request.number):
            name = safety.backup_name(request.ref, number)
            if guards.made_by.setdefault(name, run_id) == run_id:
                break
        if name not in guards.made:
            guards.made.append(name)
        return SafetyCreated(status=status, name=name, velero_namespace=VELERO_NAMESPACE, number=number)

    @activity.defn
    async def survey_destination(self, request: DestinationRequest) -> Survey:
        status, guards = await self._entered(request), self._guards
        return Survey(
            status=status,
            holdings=guards.holdings,
            is_wanted=safety.wants_safety_backup(None, guards.holdings),
        )

    @activity.defn
    async def plan_replacement(self, request: ReplacementRequest) -> ReplacementAnswer:
        status, guards = await self._entered(request), self._guards
        guards.saved_as.append(request.saved_as)
        found = guards.replacement
        return ReplacementAnswer(status=status, gate=found.gate, replacement=found)

    @activity.defn
    async def delete_replaced(self, request: DeleteRequest) -> OperationStatus:
        status, guards = await self._in_attempt(request), self._guards
        guards.deleted.append(request.replacement)
        return status

    async def _entered(self, request: StepRequest) -> OperationStatus:
        return await self._store.write(request.ref, own_run(), request.report)

    async def _in_attempt(self, request: StepRequest) -> OperationStatus:
        return await self._store.write_in_attempt(request.ref, own_run(), request.report)

    @property
    def _guards(self) -> Guards:
        return self._scripts[activity.info().workflow_id or ""].guards


def _next(answers: list[T]) -> T:
    """The next answer; the last one stands."""
    return answers.pop(0) if len(answers) > 1 else answers[0]

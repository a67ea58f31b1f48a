"""Velero and the bucket as a script: stand-ins at the activity boundary, under the real activities' names.

What the store and the activities on Operations do is real; only what Velero would answer is written down beforehand.
Faults strike any activity, before it enters its step or after.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import repeat
from typing import Any, TypeVar

from support.guards import Guards
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.failures import UNAVAILABLE
from activities.operations import own_run
from activities.requests import (
    Created,
    CreateRequest,
    Drained,
    DrainRequest,
    Followed,
    FollowRequest,
    GateAnswer,
    StepRequest,
    Verified,
    VerifyRequest,
)
from activities.velero import verified
from operation_engine.domain import attempts
from operation_engine.domain.admission import Answer, Gate, wait
from operation_engine.domain.cancelling import Remnant
from operation_engine.domain.plans import Plan
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.restore_verdicts import RestoredContents
from operation_engine.domain.velero import BackupObservation, Observation
from operation_engine.domain.verdicts import BackupContents, Verdict
from operation_engine.records.operations import OperationStore

T = TypeVar("T")

VELERO_NAMESPACE = "velero"
RESTARTED = 'found a backup with status "InProgress" during the server starting, mark it as "Failed"'
WENT_AWAY = "backup can't be created because BackupStorageLocation default is in Unavailable status."
AVAILABLE = Gate(answer=Answer.PASS, message="Storage location default is Available.")
UNAVAILABLE_LOCATION = wait(Reason.STORAGE_LOCATION_UNAVAILABLE, "Storage location default is Unavailable: no route.")
FOUND = Gate(answer=Answer.PASS, message="Velero Backup nightly-main-1 is Completed and can be read.")
GOOD = BackupContents(resources={"v1/Secret": ("shop/keys",), "v1/ConfigMap": ("shop/a", "shop/b")}, size_bytes=2048)
EMPTY = BackupContents(resources={}, size_bytes=45)

Faults = Iterable[Exception | None]
Phase = Observation | None
"""A Backup in its next phase; None = it is gone."""


def seen(phase: str, **parts: Any) -> BackupObservation:
    """A Backup in a phase; its name is filled in by the stand-in."""
    return BackupObservation(name="", uid="backup-uid", phase=phase, **parts)


def phases(*names: str) -> list[Phase]:
    return [seen(name) for name in names]


SOON = timedelta(milliseconds=50)
"""Until the next try where no time has to be skipped: a skip takes the server most of a second."""
HAPPY = [*phases("New", "InProgress", "Finalizing"), seen("Completed", items_done=3, items_total=3)]


def unavailable(comes_back_after: timedelta) -> ApplicationError:
    """A transient failure whose next try is that far away: the environment skips the time between."""
    return ApplicationError("the other side does not answer", type=UNAVAILABLE, next_retry_delay=comes_back_after)


def always(error: Exception) -> Faults:
    return repeat(error)


@dataclass
class Script:
    """What the outside answers in one run, in order; where it has nothing more to say, it hangs."""

    locations: list[Gate] = field(default_factory=lambda: [AVAILABLE])
    attempts: Sequence[list[Phase]] = field(default_factory=lambda: [list(HAPPY)])
    contents: BackupContents = GOOD
    problems: tuple[str, ...] = ()
    usable: Gate = FOUND
    """What is said of the backup to restore from, once `locations` has nothing more to say."""
    backup_phase: str = "Completed"
    restored: list[RestoredContents] = field(default_factory=list)
    """What each Restore did; all that was wanted where nothing is said."""
    min_items: int | None = None
    checks: dict[str, list[Verdict]] = field(default_factory=dict)
    """Answers by the activity that checks; it holds where nothing is said."""
    guards: Guards = field(default_factory=Guards)
    """What the safeguards of a Restore find."""
    plan: Plan | None = None
    """What a dry run finds; all in order where nothing is said."""
    create_warnings: tuple[str, ...] = ()
    before: dict[str, Faults] = field(default_factory=dict)
    """Faults by activity, one a call, before it does anything."""
    after: dict[str, Faults] = field(default_factory=dict)
    """Faults by activity after it has done its work: its answer is lost."""
    on_call: dict[str, Callable[[], None]] = field(default_factory=dict)
    """What happens outside when an activity is called."""
    meanwhile: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    """What happens, once, while an activity is under way and before it does anything."""
    remnants: tuple[Remnant, ...] = ()
    """What Velero has of a cancelled Operation."""
    calls: list[str] = field(default_factory=list)
    created: list[str] = field(default_factory=list)
    drained: list[tuple[str, ...]] = field(default_factory=list)
    """The Restores of earlier attempts that each later one asked about."""

    def __post_init__(self) -> None:
        self.before = {name: iter(faults) for name, faults in self.before.items()}
        self.after = {name: iter(faults) for name, faults in self.after.items()}

    def strike(self, when: dict[str, Faults], name: str) -> None:
        faults = when.get(name)
        error = next(faults, None) if isinstance(faults, Iterator) else None
        if error is not None:
            raise error


Scripts = dict[str, Script]
"""By workflow id."""


class Scripted(Interceptor):
    """Writes down every call and lets the script's faults strike."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        return _Striking(next, self._scripts)


class _Striking(ActivityInboundInterceptor):
    def __init__(self, inner: ActivityInboundInterceptor, scripts: Scripts) -> None:
        super().__init__(inner)
        self._scripts = scripts

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        info = activity.info()
        script, name = self._scripts[info.workflow_id or ""], info.activity_type
        script.calls.append(name)
        script.on_call.get(name, lambda: None)()
        if name in script.meanwhile:
            await script.meanwhile.pop(name)()
        script.strike(script.before, name)
        result = await super().execute_activity(input)
        script.strike(script.after, name)
        return result


class ScriptedVelero:
    """The verbs of VeleroActivities. Each enters through the real store, as those do."""

    def __init__(self, store: OperationStore, scripts: Scripts) -> None:
        self._store, self._scripts = store, scripts

    @property
    def short(self) -> Sequence[Callable[..., object]]:
        return [
            self.check_storage_location,
            self.create_backup,
            self.explain_backup,
            self.explain_volumes,
            self.verify_backup,
        ]

    @property
    def waits(self) -> Sequence[Callable[..., object]]:
        return [self.await_storage_location, self.follow_backup, self.drain]

    @activity.defn
    async def check_storage_location(self, request: StepRequest) -> GateAnswer:
        status = await self._store.write(request.ref, own_run(), request.report)
        gate = await next_answer(self._script.locations)
        chosen = "default" if gate.answer == Answer.PASS else None
        return GateAnswer(status=status, gate=gate, storage_location=chosen)

    @activity.defn
    async def await_storage_location(self, request: StepRequest) -> GateAnswer:
        return await self.check_storage_location(request)

    @activity.defn
    async def create_backup(self, request: CreateRequest) -> Created:
        status = await self._store.begin_attempt(request.ref, own_run(), request.report, request.after, request.cause)
        attempt = attempts.find(status, status.attempt)
        assert attempt is not None
        assert attempt.velero_name is not None
        script = self._script
        script.strike(script.after, "begin_attempt")
        if attempt.velero_name not in script.created:
            script.created.append(attempt.velero_name)
        return Created(
            status=status,
            name=attempt.velero_name,
            velero_namespace=VELERO_NAMESPACE,
            warnings=script.create_warnings,
        )

    @activity.defn
    async def follow_backup(self, request: FollowRequest) -> Followed:
        status = await self._store.write(request.ref, own_run(), request.report)
        script = self._script
        saved, guards = request.name in script.guards.made, script.guards
        phases = guards.safety[len(guards.made) - 1] if saved else script.attempts[len(script.created) - 1]
        observation = await next_answer(phases)
        assert observation is None or isinstance(observation, BackupObservation)
        named = observation.model_copy(update={"name": request.name}) if observation else None
        return Followed(status=status, observation=named)

    @activity.defn
    async def explain_backup(self, observation: BackupObservation) -> tuple[str, ...]:
        return self._script.problems

    @activity.defn
    async def explain_volumes(self, observation: BackupObservation) -> tuple[str, ...]:
        return self._script.contents.counted(observation.wish).missing

    @activity.defn
    async def drain(self, request: DrainRequest) -> Drained:
        return Drained(remnants=self._script.remnants)

    @activity.defn
    async def verify_backup(self, request: VerifyRequest) -> Verified:
        status = await self._store.write(request.ref, own_run(), request.report)
        script = self._script
        # A fault here strikes while the bucket is read: the step has been entered.
        script.strike(script.before, "read_bucket")
        return verified(status, request.observation, script.contents)

    @property
    def _script(self) -> Script:
        return self._scripts[activity.info().workflow_id or ""]


async def next_answer(answers: list[T]) -> T:
    """The next answer; without one it hangs as a real wait does, until Temporal calls it off."""
    while not answers:
        activity.heartbeat()
        await asyncio.sleep(0.1)
    return answers.pop(0)

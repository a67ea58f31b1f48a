"""Velero's Restores as a script: stand-ins at the activity boundary, under the real activities' names."""

from collections.abc import Callable, Sequence

from support.scripted import VELERO_NAMESPACE, Script, Scripts, next_answer
from temporalio import activity

from activities.operations import own_run
from activities.requests import (
    Checked,
    CheckRequest,
    CleanedUp,
    Created,
    CreateRestoreRequest,
    FollowedRestore,
    FollowRestoreRequest,
    FoundBackup,
    LeftoversRequest,
    RestoreVerified,
    StepRequest,
    VerifyRestoreRequest,
)
from operation_engine.domain import attempts, restored
from operation_engine.domain.resources.operation_status import OperationStatus
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.restore_verdicts import RestoredContents, restore_warnings, restored_verdict
from operation_engine.domain.restores import Namespaces
from operation_engine.domain.velero import BackupObservation, RestoreObservation
from operation_engine.domain.verdicts import Outcome, Verdict
from operation_engine.records.operations import OperationStore

BACKED_UP = {"v1/Secret": ("shop/keys",), "v1/ConfigMap": ("shop/a", "shop/b"), "apps/v1/Deployment": ("shop/web",)}
LIST = {
    "v1/Namespace": ["shop(created)"],
    "v1/Secret": ["shop/keys(created)"],
    "v1/ConfigMap": ["shop/a(created)", "shop/b(updated)"],
    "apps/v1/Deployment": ["shop/web(created)"],
    "v1/PersistentVolumeClaim": ["shop/data(created)"],
}
CAME_BACK = RestoredContents(items=restored.restored_items(LIST), backed_up=BACKED_UP)
NOTHING_CAME = RestoredContents(
    items=restored.restored_items({"v1/Secret": ["shop/keys(skipped)"], "v1/Namespace": ["shop(created)"]}),
    backed_up=BACKED_UP,
)
RESTORE_RESTARTED = 'found a restore with status "InProgress" during the server starting, mark it as "Failed"'
READY = Verdict(outcome=Outcome.PASSED, reason=Reason.VELERO_RESTORE_COMPLETED, message="1 as it should be.")
UNREADY = Verdict(
    outcome=Outcome.FAILED,
    reason=Reason.VERIFICATION_FAILED,
    message="After 10m0s: Deployment/web: 0 of 1 pods are ready (pod web-1: 0/1 nodes are available)",
)


def observed(phase: str, **parts: object) -> RestoreObservation:
    """A Restore in a phase; its name is filled in by the stand-in."""
    return RestoreObservation.model_validate({"name": "", "uid": "restore-uid", "phase": phase, **parts})


HAPPY_RESTORE: list[RestoreObservation | None] = [
    observed("New"),
    observed("InProgress"),
    observed("Completed", items_done=4, items_total=4),
]


def restore_script(**parts: object) -> Script:
    """A script whose outside lets a Restore succeed, unless parts of it say otherwise."""
    usual: dict[str, object] = {"locations": [], "attempts": [list(HAPPY_RESTORE)]}
    return Script(**{**usual, **parts})  # type: ignore[arg-type]


class ScriptedRestores:
    """The verbs of RestoreActivities and RolloutActivities. Each enters through the real store, as those do."""

    def __init__(self, store: OperationStore, scripts: Scripts) -> None:
        self._store, self._scripts = store, scripts

    @property
    def short(self) -> Sequence[Callable[..., object]]:
        return [self.find_backup, self.create_restore, self.explain_restore, self.verify_contents]

    @property
    def waits(self) -> Sequence[Callable[..., object]]:
        return [
            self.await_backup,
            self.follow_restore,
            self.await_workloads,
            self.await_volumes,
            self.await_http,
            self.drain_restores,
            self.delete_leftovers,
        ]

    @activity.defn
    async def find_backup(self, request: StepRequest) -> FoundBackup:
        status = await self._store.write(request.ref, own_run(), request.report)
        script = self._script
        gate = await next_answer(script.locations) if script.locations else script.usable
        backup = BackupObservation(
            name="nightly-main-1", uid="backup-uid", phase=script.backup_phase, storage_location="default", errors=1
        )
        own = Namespaces(source="shop", destination="shop")
        return FoundBackup(status=status, gate=gate, backup=backup, namespaces=own, problems=script.problems)

    @activity.defn
    async def await_backup(self, request: StepRequest) -> FoundBackup:
        return await self.find_backup(request)

    @activity.defn
    async def create_restore(self, request: CreateRestoreRequest) -> Created:
        status = await self._store.write_in_attempt(request.ref, own_run(), request.report)
        attempt = attempts.find(status, status.attempt)
        assert attempt is not None
        assert attempt.velero_name is not None
        if attempt.velero_name not in self._script.created:
            self._script.created.append(attempt.velero_name)
        return Created(status=status, name=attempt.velero_name, velero_namespace=VELERO_NAMESPACE)

    @activity.defn
    async def follow_restore(self, request: FollowRestoreRequest) -> FollowedRestore:
        status = await self._store.write(request.ref, own_run(), request.report)
        script = self._script
        seen = await next_answer(script.attempts[len(script.created) - 1])
        named = seen and RestoreObservation.model_validate({**seen.model_dump(), "name": request.name})
        return FollowedRestore(status=status, observation=named)

    @activity.defn
    async def explain_restore(self, observation: RestoreObservation) -> tuple[str, ...]:
        return self._script.problems

    @activity.defn
    async def verify_contents(self, request: VerifyRestoreRequest) -> RestoreVerified:
        status = await self._store.write(request.ref, own_run(), request.report)
        script = self._script
        # A fault here strikes while the bucket is read: the step has been entered.
        script.strike(script.before, "read_bucket")
        contents = script.restored.pop(0) if script.restored else CAME_BACK
        items = contents.items or ()
        return RestoreVerified(
            status=status,
            verdict=restored_verdict(request.observation, contents, script.min_items),
            item_count=restored.restored_count(items),
            workloads=restored.workloads(items),
            claims=restored.claims(items),
            warnings=restore_warnings(contents),
        )

    @activity.defn
    async def await_workloads(self, request: CheckRequest) -> Checked:
        return await self._checked(request)

    @activity.defn
    async def await_volumes(self, request: CheckRequest) -> Checked:
        return await self._checked(request)

    @activity.defn
    async def await_http(self, request: CheckRequest) -> Checked:
        return await self._checked(request)

    @activity.defn
    async def drain_restores(self, request: LeftoversRequest) -> OperationStatus:
        self._script.drained.append(request.names)
        return await self._store.write(request.ref, own_run(), request.report)

    @activity.defn
    async def delete_leftovers(self, request: LeftoversRequest) -> CleanedUp:
        status = await self._store.write_in_attempt(request.ref, own_run(), request.report)
        return CleanedUp(status=status, message="Deleted what the attempt before created: Secret keys.")

    async def _checked(self, request: CheckRequest) -> Checked:
        status = await self._store.write(request.ref, own_run(), request.report)
        name = activity.info().activity_type
        answers = self._script.checks.get(name, [])
        return Checked(status=status, verdict=answers.pop(0) if answers else READY)

    @property
    def _script(self) -> Script:
        return self._scripts[activity.info().workflow_id or ""]

"""Activities on Velero: choose the storage location, create a Backup, follow it, verify what the bucket holds.

Called by BackupWorkflow. All waits here are fed by the worker's shared watches: API load does not grow with them.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from temporalio import activity

from activities.artefacts import Artefacts, Download, DownloadRefused
from activities.creating import create_once
from activities.evidence import TOO_LARGE, Evidence
from activities.following import Follower, Pace, tell_numbers
from activities.operations import own_run
from activities.requests import (
    HEARTBEAT_EVERY,
    Created,
    CreateRequest,
    Followed,
    FollowRequest,
    GateAnswer,
    StepRequest,
    Verified,
    VerifyRequest,
)
from activities.transfers import Transfers
from operation_engine.domain import artefacts as parsed
from operation_engine.domain import attempts, lifecycle
from operation_engine.domain.admission import Answer, Gate, wait
from operation_engine.domain.locations import allowed_locations, choose_location
from operation_engine.domain.parameters import resolve_aliases
from operation_engine.domain.resources.operation import Operation
from operation_engine.domain.resources.operation_status import OperationStatus
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.velero import (
    BackupObservation,
    RestoreObservation,
    StorageLocation,
    backup_manifest,
    marks_of,
    observe_backup,
)
from operation_engine.domain.verdicts import BackupContents, Outcome, Verdict, contents_verdict
from operation_engine.records.operations import OperationStore
from operation_engine.runtime.kubernetes import (
    BACKUPS,
    NAMESPACES,
    VOLUME_SNAPSHOT_CLASSES,
    KubernetesApi,
    NotFound,
    Refused,
)
from operation_engine.runtime.watching import ANY, Reflector

WRITE_MESSAGE_EVERY_S = 60.0
SYNC_WITHIN_S = 5.0
ARCHIVE_WITHIN_S = 150.0
"""Reading a backup's archive; with the other reads it stays below the bound of one try (requests.VERIFY)."""


@dataclass(frozen=True)
class VeleroWatches:
    """The worker's view of Velero's objects, one watch a kind."""

    backups: Reflector[BackupObservation]
    downloads: Reflector[Download]
    locations: Reflector[StorageLocation]
    restores: Reflector[RestoreObservation]
    """All of them, not only ours: Velero works on one at a time, and whoever waits is told behind which."""
    backup_transfers: Transfers
    restore_transfers: Transfers

    @property
    def all(self) -> tuple["Reflector[Any] | Transfers", ...]:
        """Each of them is to run for as long as the worker does."""
        return (
            self.backups,
            self.downloads,
            self.locations,
            self.restores,
            self.backup_transfers,
            self.restore_transfers,
        )


class VeleroActivities:
    """Verbs on Velero."""

    def __init__(
        self,
        api: KubernetesApi,
        store: OperationStore,
        watches: VeleroWatches,
        artefacts: Artefacts,
        *,
        velero_namespace: str,
        cluster_id: str,
        storage_locations: Mapping[str, Sequence[str]],
    ) -> None:
        self._api, self._store, self._watches = api, store, watches
        self._evidence = Evidence(artefacts, watches.locations, velero_namespace)
        self._namespace, self._cluster_id = velero_namespace, cluster_id
        self._storage_locations = storage_locations
        self._follower = Follower(
            "Velero Backup",
            api,
            store,
            watches.backups,
            BACKUPS,
            observe_backup,
            velero_namespace,
            watches.backup_transfers,
        )

    @activity.defn
    async def check_storage_location(self, request: StepRequest) -> GateAnswer:
        """Whether the backup's storage location can take it now."""
        status = await self._store.write(request.ref, own_run(), request.report)
        return self._answer(status, *await self.locate(await self._store.current(request.ref)))

    @activity.defn
    async def await_storage_location(self, request: StepRequest) -> GateAnswer:
        """Wait until the answer of `check_storage_location` is another one than the status tells.

        Velero's words may change with every look of its own (request ids): they are told at a pace of their own.
        """
        own = own_run()
        status = await self._store.write(request.ref, own, request.report)
        operation, told = await self._store.current(request.ref), Pace(WRITE_MESSAGE_EVERY_S)
        while True:
            location, gate = await self.locate(operation)
            if gate.answer != Answer.WAIT or gate.reason != status.reason:
                return self._answer(status, location, gate)
            wanted = lifecycle.say(status, gate.reason or Reason.PENDING, gate.message)
            if wanted != status and told.due():
                status = await tell_numbers(self._store, request, wanted)
            activity.heartbeat()
            await self._watches.locations.changed(ANY, HEARTBEAT_EVERY.total_seconds())

    @activity.defn
    async def create_backup(self, request: CreateRequest) -> Created:
        """A Velero Backup for a new attempt: the intent is written first, so no try makes a second one."""
        own = own_run()
        status = await self._store.begin_attempt(request.ref, own, request.report, request.after, request.cause)
        operation = await self._store.current(request.ref)
        attempt = attempts.find(status, status.attempt)
        if attempt is None or attempt.velero_name is None:
            raise Refused(f"attempt {status.attempt} has no name in the status")
        manifest, warnings = await self._manifest(operation, attempt.velero_name, attempt.number)
        await create_once(self._api, BACKUPS, manifest)
        return Created(status=status, name=attempt.velero_name, velero_namespace=self._namespace, warnings=warnings)

    @activity.defn
    async def follow_backup(self, request: FollowRequest) -> Followed:
        """Follow a Backup until it enters another phase than the one seen last, or is gone."""
        status, observation = await self._follower.follow(request, request.name, request.seen, request.is_the_work)
        return Followed(status=status, observation=observation)

    @activity.defn
    async def explain_backup(self, observation: BackupObservation) -> tuple[str, ...]:
        """What failed hooks printed, then Velero's own errors and warnings of a Backup."""
        return await self._evidence.problems(observation)

    @activity.defn
    async def explain_volumes(self, observation: BackupObservation) -> tuple[str, ...]:
        """Volumes that a Backup was asked for and does not hold, each with the cause; none where nobody can say."""
        with suppress(DownloadRefused):
            contents = await self._evidence.contents(observation)
            if contents.volumes is not None:
                return parsed.bounded_warnings(contents.counted(observation.wish).missing)
        return ()

    @activity.defn
    async def verify_backup(self, request: VerifyRequest) -> Verified:
        """Check that the bucket holds what the Backup claims."""
        status = await self._store.write(request.ref, own_run(), request.report)
        try:
            observation = await self._with_wish(request.observation)
            async with beating():
                contents = await self._evidence.contents(observation, ARCHIVE_WITHIN_S)
        except DownloadRefused as error:
            verdict = Verdict(outcome=Outcome.FAILED, reason=Reason.VERIFICATION_FAILED, message=f"{error}.")
            return Verified(status=status, verdict=verdict, item_count=0)
        return verified(status, observation, contents)

    async def _with_wish(self, observation: BackupObservation) -> BackupObservation:
        """An observation of an engine that did not look for volumes, completed where the Backup is still there."""
        now = await self._follower.ask(observation.name) if observation.volumes is None else None
        return observation if now is None else observation.model_copy(update={"volumes": now.volumes})

    def _answer(self, status: OperationStatus, location: StorageLocation | None, gate: Gate) -> GateAnswer:
        return GateAnswer(status=status, gate=gate, storage_location=location.name if location else None)

    async def locate(self, operation: Operation) -> tuple[StorageLocation | None, Gate]:
        """Where its backup goes, and whether it can go there now."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SYNC_WITHIN_S):
                await self._watches.locations.synced.wait()
        if not self._watches.locations.synced.is_set():
            return None, wait(
                Reason.DEPENDENCY_MISSING,
                "Velero's BackupStorageLocations cannot be listed: is Velero installed? `vop doctor` tells more.",
            )
        allowed = allowed_locations(self._storage_locations, operation.metadata.namespace or "")
        known = sorted(self._watches.locations.index.values(), key=lambda location: location.name)
        return choose_location(operation.spec.parameters.storage_location, known, allowed)

    async def _manifest(self, operation: Operation, name: str, attempt: int) -> tuple[dict[str, Any], tuple[str, ...]]:
        marks = marks_of(await self._api.get(NAMESPACES, operation.metadata.namespace or ""), self._cluster_id)
        driver, warnings = await self._csi_driver(operation)
        return backup_manifest(operation, name, attempt, self._namespace, marks, driver), warnings

    async def _csi_driver(self, operation: Operation) -> tuple[str | None, tuple[str, ...]]:
        """The driver of the snapshot class asked for: Velero takes the class by an annotation named after it."""
        name = resolve_aliases(operation.spec.parameters).csi_snapshot_class_name
        if name is None:
            return None, ()
        try:
            found = await self._api.get(VOLUME_SNAPSHOT_CLASSES, name)
        except NotFound:
            return None, (f"VolumeSnapshotClass {name} does not exist; volumes use their driver's default class.",)
        return found.get("driver"), ()


@asynccontextmanager
async def beating() -> AsyncIterator[None]:
    """Heartbeats for as long as the block lasts, each of whose waits has a bound of its own."""

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(HEARTBEAT_EVERY.total_seconds())

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating


def verified(status: OperationStatus, observation: BackupObservation, contents: BackupContents) -> Verified:
    """The answer of `verify_backup`: the verdict on the contents, their counts, and what a person should hear of."""
    count = contents.counted(observation.wish)
    missing = tuple(f"Not in the backup: {volume}" for volume in count.missing)
    why = ": its hook failed" if observation.hooks_failed else ""
    lost = tuple(f"Pod {pod} is listed and not in the backup{why}." for pod in contents.pods_not_held)
    unread = (TOO_LARGE,) if contents.holds_volumes and contents.held is None else ()
    return Verified(
        status=status,
        verdict=contents_verdict(observation, contents),
        item_count=contents.item_count,
        size_bytes=contents.size_bytes,
        volume_count=count.taken,
        volume_bytes=count.size_bytes,
        problems=parsed.bounded_warnings((*missing, *count.left_out, *lost, *unread, *contents.problems)),
    )

"""Activities on Velero's Restores: find the backup, create the Restore of an attempt, follow it, see what it did.

Called by RestoreWorkflow. Waits are fed by the worker's shared watches.
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from temporalio import activity

from activities.artefacts import Artefacts, DownloadRefused
from activities.claims_data import ClaimsData
from activities.creating import create_once
from activities.following import Follower, Pace, tell_numbers
from activities.operations import own_run
from activities.requests import (
    HEARTBEAT_EVERY,
    Created,
    CreateRestoreRequest,
    FollowedRestore,
    FollowRestoreRequest,
    FoundBackup,
    RestoreVerified,
    StepRequest,
    VerifyRestoreRequest,
)
from activities.velero import SYNC_WITHIN_S, WRITE_MESSAGE_EVERY_S, VeleroWatches
from operation_engine.domain import artefacts as parsed
from operation_engine.domain import attempts, lifecycle, pinned, restored, restores, suspension
from operation_engine.domain.admission import Answer, Gate
from operation_engine.domain.pinned import Pinned
from operation_engine.domain.policy import clocks_of
from operation_engine.domain.resources.operation import Operation
from operation_engine.domain.resources.operation_spec import PartialFailure
from operation_engine.domain.resources.operation_status import OperationStatus
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.restore_verdicts import RestoredContents, restore_warnings, restored_verdict
from operation_engine.domain.velero import (
    BackupObservation,
    BackupPhase,
    RestoreObservation,
    StorageLocation,
    observe_backup,
    observe_restore,
)
from operation_engine.domain.verdicts import Outcome, Verdict
from operation_engine.records.operations import OperationStore
from operation_engine.records.suspension import Suspensions
from operation_engine.runtime.kubernetes import (
    BACKUPS,
    CONFIG_MAPS,
    RESTORES,
    Conflict,
    KubernetesApi,
    Manifest,
    NotFound,
    Refused,
    Unavailable,
)
from operation_engine.runtime.watching import ANY


class RestoreActivities:
    """Verbs on Velero's Restores."""

    def __init__(
        self,
        api: KubernetesApi,
        store: OperationStore,
        watches: VeleroWatches,
        artefacts: Artefacts,
        *,
        velero_namespace: str,
        cluster_id: str,
    ) -> None:
        self._api, self._store, self._watches, self._artefacts = api, store, watches, artefacts
        self._suspensions = Suspensions(api)
        self._claims = ClaimsData(api, artefacts, velero_namespace)
        self._namespace, self._cluster_id = velero_namespace, cluster_id
        self._follower = Follower(
            "Velero Restore",
            api,
            store,
            watches.restores,
            RESTORES,
            observe_restore,
            velero_namespace,
            watches.restore_transfers,
        )

    @activity.defn
    async def find_backup(self, request: StepRequest) -> FoundBackup:
        """The backup that the Operation names, and whether it can be restored now."""
        status = await self._store.write(request.ref, own_run(), request.report)
        return await self.found(await self._store.current(request.ref), status)

    @activity.defn
    async def await_backup(self, request: StepRequest) -> FoundBackup:
        """Wait until the answer of `find_backup` is another one than the status tells."""
        status = await self._store.write(request.ref, own_run(), request.report)
        operation, told = await self._store.current(request.ref), Pace(WRITE_MESSAGE_EVERY_S)
        while True:
            found = await self.found(operation, status)
            if found.gate.answer != Answer.WAIT or found.gate.reason != status.reason:
                return found
            wanted = lifecycle.say(status, found.gate.reason or Reason.PENDING, found.gate.message)
            if wanted != status and told.due():
                status = await tell_numbers(self._store, request, wanted)
            activity.heartbeat()
            await self._watches.locations.changed(ANY, HEARTBEAT_EVERY.total_seconds())

    @activity.defn
    async def create_restore(self, request: CreateRestoreRequest) -> Created:
        """The Velero Restore of the attempt that this run began: it has its name, so no try makes a second one."""
        status = await self._store.write_in_attempt(request.ref, own_run(), request.report)
        operation = await self._store.current(request.ref)
        attempt = attempts.find(status, status.attempt)
        if attempt is None or attempt.velero_name is None:
            raise Refused(f"attempt {status.attempt} has no name in the status")
        rules = await self._rules(operation)
        manifest = restores.restore_manifest(
            operation,
            attempt.velero_name,
            attempt.number,
            self._namespace,
            self._cluster_id,
            request.backup_name,
            is_modified=bool(rules),
        )
        await self._create(manifest, rules)
        return Created(status=status, name=attempt.velero_name, velero_namespace=self._namespace)

    @activity.defn
    async def follow_restore(self, request: FollowRestoreRequest) -> FollowedRestore:
        """Follow a Restore until it enters another phase than the one seen last, or is gone."""
        status, observation = await self._follower.follow(
            request, request.name, request.seen, request.is_the_work, self._queue
        )
        return FollowedRestore(status=status, observation=observation)

    @activity.defn
    async def explain_restore(self, observation: RestoreObservation) -> tuple[str, ...]:
        """Velero's own errors and warnings of a Restore, errors first.

        They lie in the bucket; where that is away or never got them, what the data movers say is to be had.
        """
        movers = await self._claims.words(observation.name)
        try:
            location = await self._location_of(observation.backup_name)
            results = await self._artefacts.read_json("RestoreResults", observation.name, location)
        except DownloadRefused as error:
            return (str(error), *movers)
        except (Unavailable, NotFound):
            if not movers:
                raise
            return parsed.bounded_warnings(movers)
        return parsed.bounded_warnings(parsed.problems(results) or movers)

    @activity.defn
    async def verify_contents(self, request: VerifyRestoreRequest) -> RestoreVerified:
        """What the Restore brought back, by its own list and the backup's."""
        status = await self._store.write(request.ref, own_run(), request.report)
        try:
            swapped = await self._swapped(request.backup_name, pinned.pinned(status.outputs))
            if swapped is not None:
                return _unverified(status, Reason.BACKUP_NOT_USABLE, swapped)
            contents = await self._contents(request)
        except DownloadRefused as error:
            return _unverified(status, Reason.VERIFICATION_FAILED, f"{error}.")
        except NotFound:
            gone = f"Velero Backup {request.backup_name} is gone, so nobody can say what came back."
            return _unverified(status, Reason.BACKUP_NOT_FOUND, gone)
        verify = (await self._store.current(request.ref)).spec.parameters.verify
        items = contents.items or ()
        return RestoreVerified(
            status=status,
            verdict=restored_verdict(request.observation, contents, verify.min_items if verify else None),
            item_count=contents.count,
            workloads=restored.workloads(items),
            claims=restored.claims(items),
            volume_count=len(contents.data.filled),
            volume_bytes=contents.data.size_bytes,
            warnings=parsed.bounded_warnings(restore_warnings(contents)),
        )

    async def found(self, operation: Operation, status: OperationStatus) -> FoundBackup:
        """The backup of an Operation, looked up without a write; `status` as it stands."""
        namespaces, settled = restores.namespaces_of(operation), pinned.pinned(status.outputs)
        policy = operation.spec.policy.partial_failure or PartialFailure.FAIL
        found = await self._choose(operation, namespaces.source, policy, settled)
        if isinstance(found, Gate):
            return FoundBackup(status=status, gate=found)
        backup, now = found, datetime.now(UTC)
        location = await self.location(backup)
        gate = restores.usable(backup, location, policy, now, clocks_of(operation.spec).timeout)
        if settled is None and namespaces.source != operation.metadata.namespace:
            gate = restores.before_consent(gate, backup.name, namespaces.source)
        problems: tuple[str, ...] = ()
        if gate.answer == Answer.PASS and backup.phase == BackupPhase.PARTIALLY_FAILED:
            problems = await self._problems(backup, location)
        return FoundBackup(status=status, gate=gate, backup=backup, namespaces=namespaces, problems=problems)

    async def _choose(
        self, operation: Operation, source: str, policy: PartialFailure, settled: Pinned | None
    ) -> BackupObservation | Gate:
        """The backup to restore from: once one was settled on that very one, whatever was backed up meanwhile."""
        name = operation.spec.parameters.backup_name or ""
        manifest = await (self._named(settled.name) if settled else self._look_up(name, source, policy))
        if manifest is None:
            return pinned.gone(settled) if settled else restores.backup_not_found(name, source, self._namespace)
        if manifest.get("spec", {}).get("includedNamespaces") != [source]:
            return restores.not_of(name, source)
        backup = observe_backup(manifest)
        return backup if settled is None or pinned.is_same(settled, backup) else pinned.another(settled, backup)

    async def _named(self, name: str) -> Mapping[str, Any] | None:
        with suppress(NotFound):
            return await self._api.get(BACKUPS, name, self._namespace)
        return None

    async def _look_up(self, name: str, source: str, policy: PartialFailure) -> Mapping[str, Any] | None:
        """A Velero Backup of that name, or the newest that the Backup Operation of that name made.

        A Backup of another namespace that happens to have the name does not hide the Operation's own.
        """
        named = await self._named(name)
        if named is not None and named.get("spec", {}).get("includedNamespaces") == [source]:
            return named
        return await self._made_by(name, source, policy) or named

    async def _made_by(self, name: str, source: str, policy: PartialFailure) -> Mapping[str, Any] | None:
        labels = restores.of_operation_named(name, source, self._cluster_id)
        if not all(restores.is_label_value(value) for value in labels.values()):
            return None
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        listed = await self._api.list(BACKUPS, self._namespace, labelSelector=selector)
        return restores.newest_usable(listed["items"], policy)

    async def _problems(self, backup: BackupObservation, location: StorageLocation | None) -> tuple[str, ...]:
        try:
            results = await self._artefacts.read_json("BackupResults", backup.name, location)
        except DownloadRefused as error:
            return (str(error),)
        return parsed.bounded_warnings(parsed.problems(results))

    async def _rules(self, operation: Operation) -> list[Manifest]:
        """What is changed in objects on their way out of the backup."""
        rules = restores.class_rules(operation.spec.parameters.storage_class_mapping or {})
        if await self._suspensions.known():
            destination = restores.namespaces_of(operation).destination
            live = await self._suspensions.get(destination)
            rules += suspension.rest_rules(operation.metadata.uid, destination, live)
        return rules

    async def _create(self, manifest: Manifest, rules: Sequence[Manifest]) -> None:
        """The Restore, after what it reads; that goes when the Restore goes."""
        modifier = restores.modifier_manifest(manifest, rules) if rules else None
        if modifier is not None:
            with suppress(Conflict):
                await self._api.create(CONFIG_MAPS, modifier, self._namespace)
        restore = await create_once(self._api, RESTORES, manifest)
        if modifier is not None:
            name = modifier["metadata"]["name"]
            await self._api.merge_patch(CONFIG_MAPS, name, restores.owner_of(restore), self._namespace)

    def _queue(self, observation: RestoreObservation) -> str:
        """Velero works on one Restore at a time: behind which one this waits."""
        if not observation.queued:
            return ""
        others = (o for o in self._watches.restores.index.values() if not (o.queued or o.terminal))
        ahead = next((o.name for o in others if o.name != observation.name), None)
        return f" Velero works on Restore {ahead} first." if ahead else ""

    async def _swapped(self, name: str, settled: Pinned | None) -> str | None:
        """A Restore may wait in Velero's queue for long: what is said where another backup has the name by now."""
        found = observe_backup(await self._api.get(BACKUPS, name, self._namespace))
        if settled is None or pinned.is_same(settled, found):
            return None
        return f"Nobody can say which backup was restored. {pinned.another(settled, found).message}"

    async def _contents(self, request: VerifyRestoreRequest) -> RestoredContents:
        observation, location = request.observation, await self._location_of(request.backup_name)
        has_problems = observation.errors or observation.warnings
        listed, backed_up, results, *before = await asyncio.gather(
            self._artefacts.read_json("RestoreResourceList", observation.name, location),
            self._artefacts.read_json("BackupResourceList", request.backup_name, location),
            self._artefacts.read_json("RestoreResults", observation.name, location) if has_problems else _nothing(),
            *(self._brought(name, location) for name in request.earlier),
        )
        items = None if listed is None else restored.restored_items(listed)
        return RestoredContents(
            items=items,
            carried=frozenset().union(*before),
            data=await self._claims.read(request, items or (), location),
            backed_up=None if backed_up is None else parsed.resource_list(backed_up),
            problems=parsed.problems(results),
        )

    async def _brought(self, name: str, location: StorageLocation | None) -> frozenset[tuple[str, str]]:
        """What an earlier Restore brought back; nothing where that cannot be read."""
        try:
            listed = await self._artefacts.read_json("RestoreResourceList", name, location)
        except (DownloadRefused, Unavailable):
            return frozenset()
        return restored.brought(restored.restored_items(listed))

    async def _location_of(self, backup_name: str) -> StorageLocation | None:
        return await self.location(observe_backup(await self._api.get(BACKUPS, backup_name, self._namespace)))

    async def location(self, backup: BackupObservation) -> StorageLocation | None:
        """Where the backup lies; None where there is no such location."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SYNC_WITHIN_S):
                await self._watches.locations.synced.wait()
        return self._watches.locations.index.get((self._namespace, backup.storage_location or ""))


def _unverified(status: OperationStatus, reason: Reason, message: str) -> RestoreVerified:
    return RestoreVerified(status=status, verdict=Verdict(outcome=Outcome.FAILED, reason=reason, message=message))


def _nothing() -> Awaitable[None]:
    return asyncio.sleep(0)

"""Activities on what the attempts before left: Restores that Velero still has, and objects that they created.

Called by RestoreWorkflow before another attempt.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime

from temporalio import activity

from activities.artefacts import Artefacts, DownloadRefused
from activities.claims_data import ClaimsData
from activities.draining import LATE_CREATE_S, withdrawn
from activities.following import Teller
from activities.operations import own_run
from activities.removing import remove
from activities.requests import HEARTBEAT_EVERY, CleanedUp, LeftoversRequest
from activities.velero import VeleroWatches
from operation_engine.domain import identity, leftovers, restored
from operation_engine.domain.identity import label_value
from operation_engine.domain.leftovers import Leftover
from operation_engine.domain.resources.operation_parameters import ExistingResourcePolicy
from operation_engine.domain.resources.operation_status import OperationStatus
from operation_engine.domain.velero import RestoreObservation, observe_backup, observe_restore
from operation_engine.records.operations import OperationStore
from operation_engine.runtime.kubernetes import (
    BACKUPS,
    LEFTOVER_KINDS,
    RESTORES,
    KubernetesApi,
    Manifest,
    NotFound,
)

_RESTORE_LABEL = "velero.io/restore-name"


class LeftoverActivities:
    """Verbs on what failed attempts left."""

    def __init__(
        self, api: KubernetesApi, store: OperationStore, watches: VeleroWatches, artefacts: Artefacts, namespace: str
    ) -> None:
        self._api, self._store, self._watches, self._artefacts = api, store, watches, artefacts
        self._namespace, self._claims = namespace, ClaimsData(api, artefacts, namespace)

    @activity.defn
    async def drain_restores(self, request: LeftoversRequest) -> OperationStatus:
        """Until Velero works on none of these Restores any more: what it has not begun is deleted, the rest awaited.

        A Restore that runs cannot be called off, and another one would wait behind it.
        """
        status = await self._store.write(request.ref, own_run(), request.report)
        await self._settle(request.unsettled)
        for name in request.names:
            while (found := await self._look(name)) is not None and not found.terminal:
                if found.labels.get(identity.OPERATION_LABEL) != request.ref.uid:
                    break
                if found.queued and await withdrawn(self._api, found, self._namespace):
                    break
                activity.heartbeat(f"{name} is {found.phase or 'New'}")
                await self._watches.restores.changed((self._namespace, name), HEARTBEAT_EVERY.total_seconds())
        return status

    @activity.defn
    async def delete_leftovers(self, request: LeftoversRequest) -> CleanedUp:
        """Delete what these Restores created in the destination, and wait until it is gone."""
        status = await self._store.write_in_attempt(request.ref, own_run(), request.report)
        policy = (await self._store.current(request.ref)).spec.parameters.existing_resource_policy
        doomed: list[Leftover] = []
        kept: set[str] = set()
        unreadable: list[str] = []
        unlisted: list[str] = []
        for name in request.names:
            found = await self._look(name)
            is_there = found is not None and found.labels.get(identity.OPERATION_LABEL) == request.ref.uid
            try:
                created = await self._created(name, request) if is_there else None
            except DownloadRefused:
                is_there, created = False, None  # there may be a list
            if created is not None:
                kept |= {kind for kind in created if kind not in LEFTOVER_KINDS}
                doomed += await self._doomed(name, created, request.destination)
            elif is_there and policy != ExistingResourcePolicy.UPDATE:
                unlisted.append(name)
                doomed += await self._unlisted(name, request.destination)
            else:
                unreadable.append(name)
        tell = Teller(self._store, request, status)
        await remove(self._api, LEFTOVER_KINDS, request.destination, doomed, tell)
        return CleanedUp(status=tell.status, message=leftovers.told(doomed, sorted(kept), unreadable, unlisted))

    async def _look(self, name: str) -> RestoreObservation | None:
        held = self._watches.restores.index.get((self._namespace, name))
        if held is not None and held.terminal:
            return held
        try:
            return observe_restore(await self._api.get(RESTORES, name, self._namespace))
        except NotFound:
            return None

    async def _settle(self, names: Sequence[str]) -> None:
        """A creation that was under way when its worker was lost may arrive as long as one call lasts."""
        until = time.monotonic() + LATE_CREATE_S
        for name in names:
            while await self._look(name) is None and time.monotonic() < until:
                activity.heartbeat(f"whether {name} is still created")
                await self._watches.restores.changed((self._namespace, name), HEARTBEAT_EVERY.total_seconds())

    async def _created(self, name: str, request: LeftoversRequest) -> Mapping[str, frozenset[str]] | None:
        """Names by kind; None where the Restore never wrote its list. Raises DownloadRefused, Unavailable."""
        backup = observe_backup(await self._api.get(BACKUPS, request.backup_name, self._namespace))
        location = self._watches.locations.index.get((self._namespace, backup.storage_location or ""))
        listed = await self._artefacts.read_json("RestoreResourceList", name, location)
        if listed is None:
            return None
        return leftovers.created_in(request.destination, restored.restored_items(listed))

    async def _doomed(self, name: str, created: Mapping[str, frozenset[str]], destination: str) -> Sequence[Leftover]:
        since = await self._since(name)
        found: list[Leftover] = []
        for kind in created.keys() & LEFTOVER_KINDS.keys():
            found += leftovers.deletable(kind, created[kind], await self._labelled(kind, destination, name), since)
        return found

    async def _unlisted(self, name: str, destination: str) -> Sequence[Leftover]:
        since, filled = await self._since(name), await self._claims.touched(name)
        found: list[Leftover] = []
        for kind in LEFTOVER_KINDS:
            found += leftovers.unlisted(kind, await self._labelled(kind, destination, name), since, filled)
        return found

    async def _since(self, name: str) -> datetime:
        restore = await self._api.get(RESTORES, name, self._namespace)
        return datetime.fromisoformat(restore["metadata"]["creationTimestamp"])

    async def _labelled(self, kind: str, destination: str, restore: str) -> Sequence[Manifest]:
        selector = f"{_RESTORE_LABEL}={label_value(restore)}"
        return await self._api.list_metadata(LEFTOVER_KINDS[kind], destination, labelSelector=selector)

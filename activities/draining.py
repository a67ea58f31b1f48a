"""The activity that has Velero let go of a cancelled Operation: what has not begun is withdrawn, the rest told to stop.

Called by every workflow that is cancelled. Velero's Backups and Restores cannot be called off; their data movers can.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from temporalio import activity

from activities.operations import is_left_to, own_run
from activities.requests import HEARTBEAT_EVERY, Drained, DrainRequest
from activities.velero import VeleroWatches
from operation_engine.domain import attempts, identity
from operation_engine.domain.cancelling import Remnant
from operation_engine.domain.identity import OperationRef
from operation_engine.domain.transfers import is_to_be_stopped
from operation_engine.domain.velero import (
    BackupPhase,
    Observation,
    RestoreObservation,
    observe_backup,
    observe_restore,
)
from operation_engine.records.operations import OperationGone, OperationStore
from operation_engine.runtime.kubernetes import (
    BACKUPS,
    DATA_DOWNLOADS,
    DATA_UPLOADS,
    POD_VOLUME_BACKUPS,
    POD_VOLUME_RESTORES,
    RESTORES,
    Conflict,
    KubernetesApi,
    NotFound,
    Resource,
)
from operation_engine.runtime.watching import ANY

LATE_CREATE_S = 45.0
"""How long a creation that was under way when its worker was lost may still arrive: as long as one call lasts."""
_BACKUP_MOVERS = ("velero.io/backup-uid", (POD_VOLUME_BACKUPS, DATA_UPLOADS))
_RESTORE_MOVERS = ("velero.io/restore-uid", (POD_VOLUME_RESTORES, DATA_DOWNLOADS))


class DrainActivities:
    """The verb on everything that Velero does for one Operation."""

    def __init__(self, api: KubernetesApi, store: OperationStore, watches: VeleroWatches, namespace: str) -> None:
        self._api, self._store, self._watches, self._namespace = api, store, watches, namespace

    @activity.defn
    async def drain(self, request: DrainRequest) -> Drained:
        """Until Velero works on none of the Operation's objects, or that time has come; all of them, as they are."""
        if not await is_left_to(self._store, request.ref, own_run()):
            return Drained()
        withdrawn: dict[str, Remnant] = {}
        late = await self._may_come_late(request.ref)
        late_until = datetime.now(UTC) + timedelta(seconds=LATE_CREATE_S)
        while True:
            found = await self._ours(request.ref.uid)
            working = [one for one in found if not _has_ended(one)]
            late -= {one.name for one in found}
            is_settled = not late or datetime.now(UTC) >= late_until
            if (is_settled and not working) or datetime.now(UTC) >= request.until:
                return Drained(remnants=(*(_remnant(one) for one in found), *withdrawn.values()))
            for one in working:
                if await self._stopped(one):
                    withdrawn[one.name] = _remnant(one, withdrawn=True)
            doing = [f"{one.name} is {one.phase or 'New'}" for one in working]
            activity.heartbeat(", ".join([*doing, *(f"whether {name} is still created" for name in sorted(late))]))
            await self._changed(request.until if is_settled else min(late_until, request.until))

    async def _may_come_late(self, ref: OperationRef) -> set[str]:
        """What another run was about to create when it lost the Operation: its call may still be under way."""
        try:
            found = (await self._store.read(ref)).operation.status.attempts
        except OperationGone:
            return set()
        mine = own_run().run_id
        return {a.velero_name for a in found if a.velero_name and a.run_id != mine and attempts.is_unsettled(a)}

    async def _ours(self, uid: str) -> Sequence[Observation]:
        """Asked of the server: a watch may not hold yet what was made a moment ago."""
        selector = f"{identity.OPERATION_LABEL}={uid}"
        backups = await self._api.list(BACKUPS, self._namespace, labelSelector=selector)
        restores = await self._api.list(RESTORES, self._namespace, labelSelector=selector)
        return (*map(observe_backup, backups["items"]), *map(observe_restore, restores["items"]))

    async def _stopped(self, one: Observation) -> bool:
        """Withdraw it where Velero has not begun: whether it is gone. Else its movers are told to stop."""
        if isinstance(one, RestoreObservation) and one.queued:
            return await withdrawn(self._api, one, self._namespace)
        label, kinds = _RESTORE_MOVERS if isinstance(one, RestoreObservation) else _BACKUP_MOVERS
        for kind in kinds:
            await self._stop_movers(kind, f"{label}={one.uid}")
        return False

    async def _stop_movers(self, kind: Resource, selector: str) -> None:
        with suppress(NotFound):
            listed = await self._api.list(kind, self._namespace, labelSelector=selector)
            for mover in listed["items"]:
                if is_to_be_stopped(mover):
                    await self._stop_mover(kind, mover)

    async def _stop_mover(self, kind: Resource, mover: Mapping[str, dict[str, str]]) -> None:
        with suppress(NotFound, Conflict):
            await self._api.merge_patch(kind, mover["metadata"]["name"], {"spec": {"cancel": True}}, self._namespace)

    async def _changed(self, until: datetime) -> None:
        """One of Velero's objects has changed, or it is time for a heartbeat, or for the end."""
        left_s = (until - datetime.now(UTC)).total_seconds()
        within_s = max(0.0, min(HEARTBEAT_EVERY.total_seconds(), left_s))
        watches = (self._watches.backups, self._watches.restores)
        waits = [asyncio.ensure_future(watch.changed(ANY, within_s)) for watch in watches]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()


async def withdrawn(api: KubernetesApi, found: RestoreObservation, namespace: str) -> bool:
    """Delete a Restore that Velero has not begun; whether it is gone.

    Velero may begin it in this moment: then it is awaited like any that runs.
    """
    with suppress(NotFound, Conflict):
        # Velero's first write moves the version: what it has begun since is not deleted under it.
        now = await api.get(RESTORES, found.name, namespace)
        version = now["metadata"]["resourceVersion"]
        if observe_restore(now).queued:
            await api.delete(RESTORES, found.name, namespace, uid=found.uid, resource_version=version)
    try:
        await api.get(RESTORES, found.name, namespace)
    except NotFound:
        return True
    return False


def _has_ended(one: Observation) -> bool:
    return one.terminal or one.phase == BackupPhase.DELETING


def _remnant(one: Observation, *, withdrawn: bool = False) -> Remnant:
    return Remnant(
        kind="Restore" if isinstance(one, RestoreObservation) else "Backup",
        name=one.name,
        role=one.labels.get(identity.ROLE_LABEL, ""),
        phase=one.phase,
        ended=_has_ended(one),
        withdrawn=withdrawn,
    )

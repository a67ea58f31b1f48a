"""Activities on what a Restore's destination holds: what could be lost, and what must go before volumes come back.

The rules are pure, in `domain.holdings` and `domain.replacement`.
"""

import asyncio
from collections.abc import Mapping, Sequence

from temporalio import activity

from activities.artefacts import Artefacts, DownloadRefused
from activities.following import Teller
from activities.operations import own_run
from activities.removing import remove
from activities.safeguard_requests import (
    DeleteRequest,
    DestinationRequest,
    ReplacementAnswer,
    ReplacementRequest,
    Survey,
)
from operation_engine.domain import artefacts as parsed
from operation_engine.domain import replacement
from operation_engine.domain.admission import Gate, refuse
from operation_engine.domain.replacement import Claim, Replacement, User
from operation_engine.domain.resources.operation import Operation
from operation_engine.domain.resources.operation_parameters import ExistingVolumes
from operation_engine.domain.resources.operation_status import OperationStatus
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.restored import CLAIM
from operation_engine.domain.safety import Holdings, is_default, wants_safety_backup
from operation_engine.domain.velero import StorageLocation
from operation_engine.domain.volumes import VolumeResult
from operation_engine.records.operations import OperationStore
from operation_engine.runtime.kubernetes import (
    BACKUPS,
    CONFIG_MAPS,
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    JOBS,
    PODS,
    PVCS,
    PVS,
    REPLICA_SETS,
    SECRETS,
    STATEFUL_SETS,
    WORKLOADS,
    KubernetesApi,
    NotFound,
    Resource,
)
from operation_engine.runtime.watching import Reflector

_KINDS = {
    "Deployment": DEPLOYMENTS,
    "StatefulSet": STATEFUL_SETS,
    "DaemonSet": DAEMON_SETS,
    "ReplicaSet": REPLICA_SETS,
    "Job": JOBS,
    "CronJob": CRON_JOBS,
    "Pod": PODS,
    "PersistentVolumeClaim": PVCS,
}
_WORTH_SAVING = (PVCS, SECRETS, CONFIG_MAPS, PODS, *WORKLOADS)


class WorkloadActivities:
    """Verbs on a destination's objects."""

    def __init__(
        self,
        api: KubernetesApi,
        store: OperationStore,
        artefacts: Artefacts,
        locations: Reflector[StorageLocation],
        velero_namespace: str,
    ) -> None:
        self._api, self._store, self._artefacts = api, store, artefacts
        self._locations, self._velero_namespace = locations, velero_namespace

    @activity.defn
    async def survey_destination(self, request: DestinationRequest) -> Survey:
        """What the destination holds, and whether it is backed up before it is touched."""
        status = await self._store.write(request.ref, own_run(), request.report)
        operation = await self._store.current(request.ref)
        holdings = await self.holdings(request.destination)
        wanted = wants_safety_backup(operation.spec.parameters.safety_backup, holdings)
        return Survey(status=status, holdings=holdings, is_wanted=wanted)

    @activity.defn
    async def plan_replacement(self, request: ReplacementRequest) -> ReplacementAnswer:
        """What has to go so that the backup's volumes can come back; or why nothing may be touched."""
        status = await self._store.write(request.ref, own_run(), request.report)
        operation = await self._store.current(request.ref)
        if operation.spec.parameters.existing_volumes != ExistingVolumes.REPLACE:
            gate = await self.kept(operation, request.source, request.destination, request.backup_name)
            return ReplacementAnswer(status=status, gate=gate, replacement=Replacement(gate=gate))
        try:
            found = await self.planned_replacement(
                operation, request.source, request.destination, request.backup_name, request.saved_as
            )
        except DownloadRefused as error:
            gate = refuse(Reason.BACKUP_NOT_USABLE, f"{error}: nobody can tell which volumes could come back.")
            found = Replacement(gate=gate)
        return ReplacementAnswer(status=status, gate=found.gate, replacement=found)

    @activity.defn
    async def delete_replaced(self, request: DeleteRequest) -> OperationStatus:
        """Delete what was planned, workloads first, and wait until all of it is gone.

        By uid: tried again, or come late, it never deletes what was restored since under the same names.
        """
        status = await self._store.write_in_attempt(request.ref, own_run(), request.report)
        going, tell = request.replacement, Teller(self._store, request, status)
        await remove(self._api, _KINDS, request.namespace, (*going.workloads, *going.pods), tell)
        await remove(self._api, _KINDS, request.namespace, going.claims, tell)
        return tell.status

    async def holdings(self, namespace: str) -> Holdings:
        """What a namespace holds that could be lost; one that does not exist holds nothing."""
        listed = await asyncio.gather(*(self._count(kind, namespace) for kind in _WORTH_SAVING))
        return Holdings(counts={kind.plural: n for kind, n in zip(_WORTH_SAVING, listed, strict=True)})

    async def _count(self, resource: Resource, namespace: str) -> int:
        items = await self._api.list_metadata(resource, namespace)
        return sum(not is_default(resource.plural, item) for item in items)

    async def planned_replacement(
        self, operation: Operation, source: str, destination: str, backup_name: str, saved_as: str | None = None
    ) -> Replacement:
        """What has to go, looked up without a write.

        Raises DownloadRefused where the backup, or the safety backup, does not tell what it holds.
        """
        volumes, contents = await self._saved(backup_name)
        claims, users = await self._claims(destination), await self._users(destination)
        planned = replacement.plan(source, volumes, contents, operation.spec.parameters, claims, users)
        if saved_as is None or not planned.claims:
            return planned
        kept, _ = await self._saved(saved_as)
        attempts = operation.status.attempts
        restores, since = [a.velero_name for a in attempts if a.velero_name], attempts[0].started_at
        own = [claim.name for claim in claims if claim.came_with(restores, since)]
        return replacement.kept_safe(planned, destination, saved_as, kept, own)

    async def kept(self, operation: Operation, source: str, destination: str, backup_name: str) -> Gate:
        """Whether Velero would leave the claims alone that exist; looked up without a write."""
        attempts = operation.status.attempts
        restores = [a.velero_name for a in attempts if a.velero_name]
        since = attempts[0].started_at if attempts else None
        items = (await self._api.list(PVCS, destination))["items"]
        found = [replacement.observe_claim(item, {}) for item in items]
        claims = [claim.name for claim in found if not claim.came_with(restores, since)]
        try:
            volumes = await self._volumes(backup_name) if claims else ()
        except DownloadRefused as error:
            return refuse(Reason.BACKUP_NOT_USABLE, f"{error}: nobody can tell which volumes Velero would write into.")
        pods = {item["metadata"]["name"] for item in await self._api.list_metadata(PODS, destination)}
        return replacement.kept(source, volumes, operation.spec.parameters, claims, pods)

    async def _volumes(self, backup_name: str) -> Sequence[VolumeResult]:
        """The backup's volumes; none where Velero writes `null`, as it does for a backup without any."""
        location = await self._location(backup_name)
        return parsed.volumes(await self._artefacts.read_json("BackupVolumeInfos", backup_name, location))

    async def _saved(self, backup_name: str) -> tuple[Sequence[VolumeResult], Mapping[str, Sequence[str]]]:
        """The backup's volumes and its list. Raises DownloadRefused where they cannot be told."""
        location = await self._location(backup_name)
        infos, listed = await asyncio.gather(
            self._artefacts.read_json("BackupVolumeInfos", backup_name, location),
            self._artefacts.read_json("BackupResourceList", backup_name, location),
        )
        contents = parsed.resource_list(listed)
        # Without any volume Velero writes `null`, which is not to be told from a list that is lost.
        if not contents or (infos is None and contents.get(CLAIM)):
            raise DownloadRefused(f"The lists of Velero Backup {backup_name} cannot be read")
        return parsed.volumes(infos), contents

    async def _location(self, backup_name: str) -> StorageLocation | None:
        backup = await self._api.get(BACKUPS, backup_name, self._velero_namespace)
        name = backup.get("spec", {}).get("storageLocation") or ""
        return self._locations.index.get((self._velero_namespace, name))

    async def _claims(self, namespace: str) -> Sequence[Claim]:
        items = (await self._api.list(PVCS, namespace))["items"]
        volumes = {item.get("spec", {}).get("volumeName") for item in items} - {None, ""}
        policies = {name: await self._reclaim_policy(name) for name in sorted(volumes)}
        return [replacement.observe_claim(item, policies) for item in items]

    async def _reclaim_policy(self, volume: str) -> str:
        try:
            found = await self._api.get(PVS, volume)
        except NotFound:
            return ""
        return str(found.get("spec", {}).get("persistentVolumeReclaimPolicy", ""))

    async def _users(self, namespace: str) -> Sequence[User]:
        found: list[User | None] = []
        for kind, resource in _KINDS.items():
            if resource != PVCS:
                items = (await self._api.list(resource, namespace))["items"]
                found += [replacement.observe_user(kind, item) for item in items]
        return [user for user in found if user is not None]

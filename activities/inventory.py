"""What a backup holds and what a namespace holds, for plans. Writes nothing but Velero's DownloadRequests."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from activities.artefacts import Artefacts, DownloadRefused, Wanted
from activities.restores import RestoreActivities
from activities.velero import ARCHIVE_WITHIN_S
from operation_engine.domain import artefacts as parsed
from operation_engine.domain import discovery, restore_plan
from operation_engine.domain.discovery import ServedKind
from operation_engine.domain.plans import Fate, PlannedObject
from operation_engine.domain.resources.operation import Operation
from operation_engine.domain.restore_plan import ACCOUNT, Held, Live, Selection, observe_account
from operation_engine.domain.restored import VOLUME
from operation_engine.domain.velero import BackupObservation, StorageLocation, backup_spec
from operation_engine.domain.volumes import LEAVE_OUT, VolumeResult
from operation_engine.runtime.kubernetes import PVS, SERVICE_ACCOUNTS, KubernetesApi, NotFound, Refused, Resource

AT_ONCE = 8
"""Lists that are asked for at the same time."""
_OBJECTS = Wanted(restore_plan.is_object, restore_plan.outline)


@dataclass(frozen=True)
class Inventory:
    """Lists objects by name, in the bucket and in the cluster."""

    api: KubernetesApi
    restores: RestoreActivities
    artefacts: Artefacts

    async def kinds(self) -> tuple[ServedKind, ...]:
        """The kinds that the cluster serves."""
        return discovery.observe_kinds(*await self.api.discovery())

    async def backed_up(self, operation: Operation, namespace: str) -> tuple[PlannedObject, ...]:
        """What a Velero Backup of the namespace would hold."""
        kinds = await self.kinds()
        spec = backup_spec(operation)
        selection = Selection(
            source=namespace,
            destination=namespace,
            included=discovery.resolved(spec.get("includedResources"), kinds),
            excluded=discovery.resolved(spec["excludedResources"], kinds),
            labels=operation.spec.parameters.label_selector,
        )
        wanted = [kind for kind in kinds if kind.is_backed_up and selection.takes(kind.resource)]
        listed = await self._all(*(self._of_kind(kind, selection) for kind in wanted))
        return tuple(planned for part in listed for planned in part)

    async def _of_kind(self, kind: ServedKind, selection: Selection) -> Sequence[PlannedObject]:
        resource = Resource(kind.group, kind.version, kind.plural)
        try:
            items = await self.api.list_metadata(resource, selection.source)
        except NotFound:
            return ()
        except Refused:
            return (PlannedObject(kind=kind.listed_as, name="*", fate=Fate.UNKNOWN, why="it may not be listed"),)
        taken = [item["metadata"] for item in items if _is_taken(item["metadata"], selection)]
        return [
            PlannedObject(kind=kind.listed_as, namespace=selection.source, name=meta["name"], fate=Fate.BACK_UP)
            for meta in taken
        ]

    async def held(
        self, backup: BackupObservation, kinds: Sequence[ServedKind]
    ) -> tuple[Sequence[Held], Sequence[VolumeResult], bool]:
        """The backup's objects and volumes; whether it is the archive that told them. Raises DownloadRefused."""
        location = await self.restores.location(backup)
        infos, objects = await asyncio.gather(
            self.artefacts.read_json("BackupVolumeInfos", backup.name, location),
            self.artefacts.read_archive("BackupContents", backup.name, location, _OBJECTS, ARCHIVE_WITHIN_S),
        )
        volumes = parsed.volumes(infos)
        if objects is not None:
            return objects, volumes, True
        return await self._listed(backup, location, kinds), volumes, False

    async def _listed(
        self, backup: BackupObservation, location: StorageLocation | None, kinds: Sequence[ServedKind]
    ) -> Sequence[Held]:
        """By the backup's list alone. Raises DownloadRefused."""
        listed = await self.artefacts.read_json("BackupResourceList", backup.name, location)
        if listed is None:
            raise DownloadRefused("its list of resources cannot be read")
        return restore_plan.listed(parsed.resource_list(listed), {kind.listed_as: kind.resource for kind in kinds})

    async def live(self, held: Sequence[Held], destination: str, kinds: Sequence[ServedKind], *, is_new: bool) -> Live:
        """What the destination holds of the kinds of a backup."""
        if is_new:
            return Live(is_new=True)
        wanted = {item.kind: item.resource for item in held if item.namespace and item.resource}
        found = await self._all(*(self._names(kind, plural, destination) for kind, plural in wanted.items()))
        names = {kind: seen for kind, seen in zip(wanted, found, strict=True) if seen is not None}
        known = {kind.resource for kind in kinds}
        accounts = await self._accounts(destination) if ACCOUNT in wanted and ACCOUNT in names else {}
        volumes = [item.name for item in held if item.kind == VOLUME and not item.goes_with_claim]
        present = await self._all(*(self._is_there(name) for name in volumes))
        return Live(
            names=names,
            not_served=frozenset(kind for kind, plural in wanted.items() if plural not in known),
            accounts=accounts,
            volumes=frozenset(name for name, is_there in zip(volumes, present, strict=True) if is_there),
        )

    async def _names(self, kind: str, plural: str, namespace: str) -> frozenset[str] | None:
        """Names of the objects of one kind; None where they may not be listed, or the kind is not served."""
        api_version, resource = kind.rpartition("/")[0], plural.partition(".")[0]
        group, _, version = api_version.rpartition("/")
        try:
            items = await self.api.list_metadata(Resource(group, version, resource), namespace)
        except (NotFound, Refused):
            return None
        return frozenset(item["metadata"]["name"] for item in items)

    async def _accounts(self, namespace: str) -> dict[str, Any]:
        items = (await self.api.list(SERVICE_ACCOUNTS, namespace))["items"]
        return {item["metadata"]["name"]: observe_account(item) for item in items}

    async def _is_there(self, volume: str) -> bool:
        try:
            await self.api.get(PVS, volume)
        except NotFound:
            return False
        return True

    async def _all(self, *looks: Any) -> list[Any]:
        """The answers, in order; so many at once as an API server takes without a thought."""
        free = asyncio.Semaphore(AT_ONCE)

        async def look(one: Any) -> Any:
            async with free:
                return await one

        return list(await asyncio.gather(*(look(one) for one in looks)))


def _is_taken(meta: Any, selection: Selection) -> bool:
    labels = meta.get("labels") or {}
    key, _, value = LEAVE_OUT.partition("=")
    return labels.get(key) != value and restore_plan.matches(selection.labels, labels)

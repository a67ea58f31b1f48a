"""What became of the data of claims that a Restore brought back. Part of the activities on Restores."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from activities.artefacts import Artefacts
from activities.requests import VerifyRestoreRequest
from operation_engine.domain import artefacts as parsed
from operation_engine.domain import claim_data, identity
from operation_engine.domain.claim_data import Brought, ClaimData, Mover
from operation_engine.domain.restored import CLAIM, RestoredItem
from operation_engine.domain.transfers import RESTORE_NAME_LABEL
from operation_engine.domain.velero import StorageLocation
from operation_engine.runtime.kubernetes import (
    DATA_DOWNLOADS,
    POD_VOLUME_RESTORES,
    PVCS,
    KubernetesApi,
    NotFound,
    Resource,
)


class ClaimsData:
    """Reads it: of the bucket's lists, of Velero's data movers, and of the claims themselves."""

    def __init__(self, api: KubernetesApi, artefacts: Artefacts, velero_namespace: str) -> None:
        self._api, self._artefacts, self._namespace = api, artefacts, velero_namespace

    async def read(
        self, request: VerifyRestoreRequest, items: Sequence[RestoredItem], location: StorageLocation | None
    ) -> ClaimData:
        """Of each claim in the Restore's list. Raises Unavailable, DownloadRefused."""
        claims = [item for item in items if item.kind == CLAIM]
        if not claims:
            return ClaimData()
        name = request.observation.name
        held, listed, movers, young = await asyncio.gather(
            self._artefacts.read_json("BackupVolumeInfos", request.backup_name, location),
            self._artefacts.read_json("RestoreVolumeInfo", name, location),
            self._movers((name, *request.earlier)),
            self._young(request, claims[0].namespace or ""),
        )
        brought = Brought(restore=name, listed=listed, movers=movers, young=young)
        return claim_data.claim_data(items, request.source, parsed.volumes(held), brought)

    async def words(self, restore: str) -> tuple[str, ...]:
        """What the data movers of a Restore that failed say of it."""
        return claim_data.words(await self._movers((restore,)))

    async def touched(self, restore: str) -> frozenset[str]:
        """The uids of the claims that data movers of a Restore were at work on."""
        return frozenset(mover.claim_uid for mover in await self._movers((restore,)) if mover.claim_uid)

    async def _movers(self, restores: Sequence[str]) -> list[Mover]:
        names = ",".join(map(identity.label_value, restores))
        kinds = (POD_VOLUME_RESTORES, DATA_DOWNLOADS)
        found = await asyncio.gather(*(self._listed(kind, f"{RESTORE_NAME_LABEL} in ({names})") for kind in kinds))
        return [mover for movers in found for mover in movers]

    async def _listed(self, kind: Resource, selector: str) -> list[Mover]:
        """None where the cluster has no such kind."""
        with suppress(NotFound):
            listed = await self._api.list(kind, self._namespace, labelSelector=selector)
            return [claim_data.observe_mover(item) for item in listed["items"]]
        return []

    async def _young(self, request: VerifyRestoreRequest, destination: str) -> Mapping[str, str]:
        """Claims that came up since the first attempt began, uid by name; none in that attempt itself."""
        began = request.report.status.attempts[0].started_at if request.earlier else None
        if began is None:
            return {}
        since = began.replace(microsecond=0)  # the API server's clock tells whole seconds
        found = [item["metadata"] for item in await self._api.list_metadata(PVCS, destination)]
        return {meta["name"]: meta["uid"] for meta in found if _made_at(meta) >= since}


def _made_at(meta: Mapping[str, str]) -> datetime:
    return datetime.fromisoformat(meta["creationTimestamp"])

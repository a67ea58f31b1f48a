"""The activities on Velero's objects as one worker has them, on what they stand on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
from support.world import VELERO

from activities.artefacts import Artefacts
from activities.leftovers import LeftoverActivities
from activities.restores import RestoreActivities
from activities.velero import VeleroActivities, VeleroWatches
from operation_engine.domain import identity
from operation_engine.records.operations import OperationStore
from operation_engine.runtime.kubernetes import KubernetesApi
from operation_engine.worker import velero_watches

CLUSTER = "a-cluster"
LABELS = {identity.MANAGED_BY_LABEL: identity.MANAGED_BY, identity.CLUSTER_ID_LABEL: CLUSTER}
SYNCED_WITHIN_S = 30.0


@dataclass
class Verbs:
    """The activities of one worker, and what they stand on."""

    velero: VeleroActivities
    restores: RestoreActivities
    leftovers: LeftoverActivities
    artefacts: Artefacts
    watches: VeleroWatches


@asynccontextmanager
async def velero_verbs(api: KubernetesApi, store: OperationStore) -> AsyncIterator[Verbs]:
    """A worker's verbs for the block's length; its watches have seen everything."""
    watches = velero_watches(api, VELERO, LABELS)
    async with AsyncExitStack() as stack:
        for watching in watches.all:
            await stack.enter_async_context(watching.running())
        session = await stack.enter_async_context(aiohttp.ClientSession())
        async with asyncio.timeout(SYNCED_WITHIN_S):
            for watch in (watches.backups, watches.restores, watches.locations):
                await watch.synced.wait()
        reader = Artefacts(api, watches.downloads, session, VELERO, LABELS)
        whose = {"velero_namespace": VELERO, "cluster_id": CLUSTER}
        yield Verbs(
            VeleroActivities(api, store, watches, reader, **whose, storage_locations={}),
            RestoreActivities(api, store, watches, reader, **whose),
            LeftoverActivities(api, store, watches, reader, VELERO),
            reader,
            watches,
        )

"""The worker: runs workflows and activities. The composition root where the outside systems are put together."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import aiohttp
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from activities.artefacts import Artefacts, observe_download
from activities.draining import DrainActivities
from activities.failures import Failures
from activities.inventory import Inventory
from activities.leftovers import LeftoverActivities
from activities.operations import OperationActivities
from activities.planning import PlanActivities, Planner
from activities.probes import ProbeActivities
from activities.restores import RestoreActivities
from activities.rollouts import RolloutActivities
from activities.safeguarding import Safeguarding, safeguarding
from activities.transfers import backup_transfers, restore_transfers
from activities.velero import VeleroActivities, VeleroWatches
from operation_engine.domain import identity
from operation_engine.domain.velero import observe_backup, observe_restore, observe_storage_location
from operation_engine.records.announcer import Announcer
from operation_engine.records.events import EventWriter
from operation_engine.records.operations import OperationStore
from operation_engine.runtime.http import Health
from operation_engine.runtime.kubernetes import (
    BACKUP_STORAGE_LOCATIONS,
    BACKUPS,
    DOWNLOAD_REQUESTS,
    RESTORES,
    KubernetesApi,
    cluster_id,
    cluster_id_patiently,
)
from operation_engine.runtime.settings import Settings
from operation_engine.runtime.temporal import Runs, missing_search_attributes
from operation_engine.runtime.watching import Reflector, watch_checks, watch_metric
from workflows.backup import BackupWorkflow
from workflows.restore import RestoreWorkflow
from workflows.unsupported import UnsupportedWorkflow

WORKFLOWS: Sequence[type] = (BackupWorkflow, RestoreWorkflow, UnsupportedWorkflow)
WAITS = 2000
"""Activity slots of the queue for long waits: a wait costs memory and a heartbeat, no processor."""
GRACE = timedelta(seconds=10)


class NotSetUp(Exception):
    """Temporal lacks what workflows need; the text says which command makes it."""


@dataclass(frozen=True)
class WorkerParts:
    """What a running worker is made of."""

    operations: OperationActivities
    velero: VeleroActivities
    restores: RestoreActivities
    rollouts: RolloutActivities
    leftovers: LeftoverActivities
    draining: DrainActivities
    probes: ProbeActivities
    safeguards: Safeguarding
    plans: PlanActivities
    watches: VeleroWatches

    @property
    def short(self) -> list[Callable[..., object]]:
        """Activities that answer at once."""
        o, v, r = self.operations, self.velero, self.restores
        return [
            o.claim_operation,
            o.admit_operation,
            o.write_report,
            o.begin_attempt,
            v.check_storage_location,
            v.create_backup,
            v.explain_backup,
            v.explain_volumes,
            v.verify_backup,
            r.find_backup,
            r.create_restore,
            r.explain_restore,
            r.verify_contents,
            self.plans.plan_operation,
            *self.safeguards.short,
        ]

    @property
    def waits(self) -> list[Callable[..., object]]:
        """Activities that heartbeat for as long as the outside takes."""
        v, r = self.velero, self.restores
        return [
            v.await_storage_location,
            v.follow_backup,
            r.await_backup,
            r.follow_restore,
            self.rollouts.await_workloads,
            self.rollouts.await_volumes,
            self.probes.await_http,
            self.leftovers.drain_restores,
            self.leftovers.delete_leftovers,
            self.draining.drain,
            *self.safeguards.waits,
        ]


@asynccontextmanager
async def working(settings: Settings, client: Client, api: KubernetesApi, health: Health) -> AsyncIterator[WorkerParts]:
    """Run a worker for as long as the block lasts. Raises NotSetUp before it polls."""
    await _check_set_up(client)
    async with AsyncExitStack() as stack:
        parts = await _assemble(settings, client, api, stack)
        _watch_health(parts.watches, health)
        workers = _workers(settings, client, parts)
        for worker in workers:
            await stack.enter_async_context(worker)
        health.ready["pollers"] = lambda: None if all(w.is_running for w in workers) else "not polling"
        yield parts


def _workers(settings: Settings, client: Client, parts: WorkerParts) -> tuple[Worker, Worker]:
    short = Worker(
        client,
        task_queue=settings.task_queue,
        workflows=WORKFLOWS,
        activities=parts.short,
        interceptors=[Failures()],
        graceful_shutdown_timeout=GRACE,
    )
    waits = Worker(
        client,
        task_queue=settings.waits_queue,
        activities=parts.waits,
        interceptors=[Failures()],
        max_concurrent_activities=WAITS,
        # A wait that is told to stop writes nothing more; another worker takes it up after the heartbeat timeout.
        graceful_shutdown_timeout=timedelta(0),
    )
    return short, waits


async def _assemble(settings: Settings, client: Client, api: KubernetesApi, stack: AsyncExitStack) -> WorkerParts:
    cluster = settings.cluster_id or await cluster_id_patiently(api)
    watches = velero_watches(api, settings.velero_namespace, _labels(cluster))
    for watch in watches.all:
        await stack.enter_async_context(watch.running())
    return await _parts(settings, client, api, cluster, watches, stack)


@asynccontextmanager
async def planning(settings: Settings, client: Client, api: KubernetesApi) -> AsyncIterator[Planner]:
    """The worker's planner for a command: it watches what answers it and nothing else, and never asks Temporal."""
    cluster = settings.cluster_id or await cluster_id(api)
    watches = velero_watches(api, settings.velero_namespace, _labels(cluster))
    async with AsyncExitStack() as stack:
        for watch in (watches.downloads, watches.locations):
            await stack.enter_async_context(watch.running())
        yield (await _parts(settings, client, api, cluster, watches, stack)).plans.planner


def _labels(cluster: str) -> dict[str, str]:
    return {identity.MANAGED_BY_LABEL: identity.MANAGED_BY, identity.CLUSTER_ID_LABEL: identity.label_value(cluster)}


async def _parts(
    settings: Settings,
    client: Client,
    api: KubernetesApi,
    cluster: str,
    watches: VeleroWatches,
    stack: AsyncExitStack,
) -> WorkerParts:
    session = await stack.enter_async_context(aiohttp.ClientSession())
    announcer = Announcer(EventWriter(api))
    store = OperationStore(api, Runs(client), announcer, settings.temporal_namespace, settings.temporal_ui_url)
    velero, labels = settings.velero_namespace, _labels(cluster)
    artefacts = Artefacts(api, watches.downloads, session, velero, labels)
    operations = OperationActivities(api, store, require_managed_namespace=settings.require_managed_namespace)
    backups = VeleroActivities(
        api,
        store,
        watches,
        artefacts,
        velero_namespace=velero,
        cluster_id=cluster,
        storage_locations=settings.storage_locations,
    )
    restores = RestoreActivities(api, store, watches, artefacts, velero_namespace=velero, cluster_id=cluster)
    safeguards = safeguarding(settings, api, store, artefacts, watches.locations, cluster)
    planner = Planner(
        operations=operations,
        velero=backups,
        restores=restores,
        namespaces=safeguards.namespaces,
        workloads=safeguards.workloads,
        suspensions=safeguards.suspensions,
        inventory=Inventory(api, restores, artefacts),
        mode=settings.approvals_mode,
    )
    return WorkerParts(
        operations=operations,
        velero=backups,
        restores=restores,
        rollouts=RolloutActivities(api, store),
        probes=ProbeActivities(api, store, session),
        leftovers=LeftoverActivities(api, store, watches, artefacts, velero),
        draining=DrainActivities(api, store, watches, velero),
        safeguards=safeguards,
        plans=PlanActivities(planner, store),
        watches=watches,
    )


def velero_watches(api: KubernetesApi, namespace: str, labels: dict[str, str]) -> VeleroWatches:
    """What one worker watches of Velero, for all who wait; of Backups and downloads only what carries the labels."""
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    backups = Reflector(api, BACKUPS, observe_backup, namespace=namespace, selector=selector)
    restores = Reflector(api, RESTORES, observe_restore, namespace=namespace)
    return VeleroWatches(
        backups=backups,
        downloads=Reflector(api, DOWNLOAD_REQUESTS, observe_download, namespace=namespace, selector=selector),
        locations=Reflector(api, BACKUP_STORAGE_LOCATIONS, observe_storage_location, namespace=namespace),
        restores=restores,
        backup_transfers=backup_transfers(api, namespace, backups),
        restore_transfers=restore_transfers(api, namespace, restores),
    )


def _watch_health(watches: VeleroWatches, health: Health) -> None:
    watch_checks(health, "backups", watches.backups)
    watch_checks(health, "restores", watches.restores)
    watch_checks(health, "downloadrequests", watches.downloads)
    watch_checks(health, "backupstoragelocations", watches.locations)
    for transfers in (watches.backup_transfers, watches.restore_transfers):
        for name, watch in transfers.watches.items():
            watch_metric(name, watch)


async def _check_set_up(client: Client) -> None:
    try:
        missing = await missing_search_attributes(client)
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
        raise NotSetUp(f"Temporal has no namespace {client.namespace}: run `vop setup`") from None
    if missing:
        raise NotSetUp(
            f"Temporal namespace {client.namespace} lacks the search attributes {', '.join(missing)}: run `vop setup`"
        )

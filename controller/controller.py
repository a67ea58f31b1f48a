"""The controller: list and watch Operations, decide, start. It keeps nothing, so it may be killed anywhere."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

from pydantic import ValidationError
from temporalio.client import Client
from temporalio.service import RPCError

from controller.decide import Cancel, Seen, Signal, Start, decide, latest_backups, see, signals
from controller.outside import Outside
from controller.starter import Starter
from controller.work_queue import WorkQueue
from operation_engine.domain.resources.operation import Operation
from operation_engine.records.announcer import Announcer
from operation_engine.records.events import EventWriter
from operation_engine.records.operations import OperationStore
from operation_engine.records.suspension import Suspensions
from operation_engine.runtime.ends import Ends
from operation_engine.runtime.http import Health
from operation_engine.runtime.kubernetes import OPERATIONS, KubernetesApi, Manifest
from operation_engine.runtime.settings import Settings
from operation_engine.runtime.telemetry import LAST_SUCCESSFUL_BACKUP, MANAGED_NAMESPACES, RECONCILES, get_logger
from operation_engine.runtime.telemetry import OPERATIONS as OPERATIONS_GAUGE
from operation_engine.runtime.temporal import Runs
from operation_engine.runtime.watching import Key, Reflector, watch_checks

STARTS_AT_ONCE = 10
LOOK_AGAIN_S = 30.0
"""How often unclaimed Operations are looked at again: a start whose answer was lost, a run that never claimed."""

_log = get_logger(__name__)


class Controller:
    """Turns new Operations into workflows, and tells running ones what changed."""

    def __init__(self, api: KubernetesApi, starter: Starter) -> None:
        self._starter = starter
        self._queue = WorkQueue[Key](self._reconcile, STARTS_AT_ONCE)
        self._told: dict[Key, dict[str, Signal | Cancel]] = {}
        """What was told last, by its name. Lost with the process, which costs a signal too many."""
        self.watch = Reflector[Seen](api, OPERATIONS, parse, on_change=self._changed)

    async def run(self) -> None:
        """Watch and act until cancelled."""
        async with self.watch.running(), asyncio.TaskGroup() as group:
            group.create_task(self._queue.run())
            group.create_task(self._look_again())

    def refresh_gauges(self) -> None:
        """Counts of Operations by type and phase, from the index."""
        counts = Counter((str(seen.type), str(seen.phase)) for seen in self.watch.index.values())
        OPERATIONS_GAUGE.clear()
        LAST_SUCCESSFUL_BACKUP.clear()
        for (type_, phase), count in counts.items():
            OPERATIONS_GAUGE.labels(type=type_, phase=phase).set(count)
        for (namespace, target), ended in latest_backups(self.watch.index.values()).items():
            LAST_SUCCESSFUL_BACKUP.labels(operation_namespace=namespace, target=target).set(ended.timestamp())
        MANAGED_NAMESPACES.set(len({namespace for namespace, _ in self.watch.index}))

    def _changed(self, key: Key, seen: Seen | None) -> None:
        if seen is None or seen.phase.terminal:
            self._told.pop(key, None)
        elif isinstance(decide(seen), Start) or self._untold(key, seen):
            self._queue.add(key)

    def _untold(self, key: Key, seen: Seen) -> list[Signal | Cancel]:
        """What its workflow has to be told and was not told yet."""
        told = self._told.get(key, {})
        return [signal for signal in signals(seen) if told.get(signal.name) != signal]

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AGAIN_S)
            for key, seen in self.watch.index.items():
                self._changed(key, seen)

    async def _reconcile(self, key: Key) -> bool:
        """Decide anew, by what is known now, and act. False = try again later."""
        seen = self.watch.index.get(key)
        if seen is None:
            return True
        try:
            await self._act(key, seen)
        except (RPCError, RuntimeError) as error:
            RECONCILES.labels(controller="operation", result="error").inc()
            _log.warning("workflow not reached, trying again", namespace=key[0], operation=key[1], error=str(error))
            return False
        except Exception:
            # One Operation that nobody foresaw must not stop the watch over all others.
            RECONCILES.labels(controller="operation", result="error").inc()
            _log.exception("workflow not reached, trying again", namespace=key[0], operation=key[1])
            return False
        return True

    async def _act(self, key: Key, seen: Seen) -> None:
        decision, where = decide(seen), {"namespace": seen.ref.namespace, "operation": seen.ref.name}
        if isinstance(decision, Start):
            started = await self._starter.start(decision)
            RECONCILES.labels(controller="operation", result=str(started)).inc()
            _log.info(f"workflow {started}", **where, operation_id=seen.ref.uid)
        for signal in self._untold(key, seen):
            if isinstance(signal, Cancel):
                await self._starter.cancel(signal)
            else:
                await self._starter.signal(signal)
            self._told.setdefault(key, {})[signal.name] = signal
            RECONCILES.labels(controller="operation", result="signalled").inc()
            _log.info(f"workflow told: {signal.name}", **where, operation_id=seen.ref.uid)


def parse(manifest: Manifest) -> Seen | None:
    """What decisions need of an Operation; one that cannot be read is left alone, and said so."""
    try:
        return see(Operation.from_api(manifest))
    except ValidationError as error:
        meta = manifest["metadata"]
        faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)]
        _log.error("Operation cannot be read", namespace=meta["namespace"], operation=meta["name"], faults=faults[:5])
        return None


@asynccontextmanager
async def controlling(
    settings: Settings, client: Client, api: KubernetesApi, health: Health
) -> AsyncIterator[Controller]:
    """Run a controller for as long as the block lasts."""
    controller = Controller(api, Starter(client, settings.task_queue))
    watch_checks(health, "operations", controller.watch)
    outside = _outside(settings, client, api, controller.watch)
    tasks = {
        "controller": asyncio.create_task(controller.run(), name="controller"),
        "outside reconciler": asyncio.create_task(outside.run(), name="outside reconciler"),
    }
    for name, task in tasks.items():
        health.live[name] = partial(_stopped, name, task)
    try:
        yield controller
    finally:
        for task in tasks.values():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def _outside(settings: Settings, client: Client, api: KubernetesApi, watch: Reflector[Seen]) -> Outside:
    announcer = Announcer(EventWriter(api))
    store = OperationStore(api, Runs(client), announcer, settings.temporal_namespace, settings.temporal_ui_url)
    ends = Ends(client, settings.task_queue)
    return Outside(watch, ends, store, Suspensions(api), settings.reconcile_seconds)


def _stopped(name: str, task: "asyncio.Task[None]") -> str | None:
    return f"the {name} has stopped" if task.done() else None

"""Following a Velero object until its phase changes: fed by the worker's shared watch, told at a pace of its own.

Part of the activities on Backups and Restores.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar

from temporalio import activity

from activities.operations import own_run
from activities.requests import HEARTBEAT_EVERY, StepRequest
from activities.transfers import Transfers
from operation_engine.domain import progress
from operation_engine.domain.lifecycle import bounded
from operation_engine.domain.report import StatusReport
from operation_engine.domain.resources.operation_status import OperationStatus
from operation_engine.domain.transfers import Transfer
from operation_engine.domain.velero import Observation
from operation_engine.records.operations import OperationStore
from operation_engine.runtime.kubernetes import KubernetesApi, NotFound, Resource
from operation_engine.runtime.watching import Reflector

WRITE_PROGRESS_EVERY_S = 2.0
TELL_EVERY_S = 3.0
SILENT_AFTER_S = 300.0

O = TypeVar("O", bound=Observation)  # noqa: E741 - an observation


@dataclass(frozen=True)
class Follower(Generic[O]):
    """Follows objects of one kind in Velero's namespace."""

    kind: str
    """As people call it: `Velero Backup`."""
    api: KubernetesApi
    store: OperationStore
    watch: Reflector[O]
    resource: Resource
    observe: Callable[[Mapping[str, Any]], O]
    namespace: str
    transfers: Transfers | None = None
    """What moves data for these objects, where that is watched."""

    async def follow(
        self,
        request: StepRequest,
        name: str,
        seen: O | None,
        is_the_work: bool,
        remark: Callable[[O], str] = lambda observation: "",
    ) -> tuple[OperationStatus, O | None]:
        """Until the object is in another phase than the one seen last, or gone. `remark` adds to what is told.

        A report without transitions is only live numbers: it is written at their pace, not for each phase.
        """
        status, is_written = request.report.status, bool(request.report.transitions)
        if is_written:
            status = await self.store.write(request.ref, own_run(), request.report)
        phase = seen.phase if seen else None
        shown = Pace(WRITE_PROGRESS_EVERY_S)
        async for observation, moved, silent in self._observations(name):
            if observation is None or observation.phase != phase:
                return status, observation
            wanted = self._told(status, observation, silent, remark(observation))
            if is_the_work:
                wanted = wanted.model_copy(update={"progress": progress.advance(status.progress, observation, moved)})
            if (wanted != status or not is_written) and shown.due():
                status, is_written = await tell_numbers(self.store, request, wanted), True
        raise AssertionError("a watch does not end")

    async def ask(self, name: str) -> O | None:
        """Of the server: what the watch does not hold (yet, or since somebody removed a label), or is gone."""
        try:
            return self.observe(await self.api.get(self.resource, name, self.namespace))
        except NotFound:
            return None

    async def _observations(self, name: str) -> AsyncIterator[tuple[O | None, tuple[Transfer, ...], float]]:
        """The object and its transfers now, and again whenever they changed or a heartbeat is due.

        With the seconds of their silence.
        """
        key, last, changed_at = (self.namespace, name), None, time.monotonic()
        while True:
            held = self.watch.index.get(key)
            observation = held or await self.ask(name)
            moved = self._moved(observation)
            if (observation, moved) != last:
                last, changed_at = (observation, moved), time.monotonic()
            yield observation, moved, time.monotonic() - changed_at
            activity.heartbeat(observation.phase if observation else None)
            if self.watch.index.get(key) == held and self._moved(observation) == moved:
                await self.watch.changed(key, HEARTBEAT_EVERY.total_seconds())

    def _moved(self, observation: O | None) -> tuple[Transfer, ...]:
        return self.transfers.of(observation.uid) if self.transfers and observation else ()

    def _told(self, status: OperationStatus, observation: O, silent_s: float, remark: str) -> OperationStatus:
        """The status with what the object says of its work; a long silence is told, an unknown phase too."""
        message = f"{self.kind} {observation.name} is {observation.phase or 'New'}.{remark}"
        if not observation.known_phase:
            message += " This phase is new to the engine; it is taken for work under way."
        if silent_s >= SILENT_AFTER_S:
            minutes = timedelta(seconds=silent_s) // timedelta(minutes=5) * 5
            message += f" Nothing has changed for {minutes} minutes: is Velero running? Its log tells."
        return status.model_copy(update={"message": bounded(message)})


class Pace:
    """At most one write in so many seconds, the first one not before that."""

    def __init__(self, every_s: float) -> None:
        self._every_s, self._last = every_s, time.monotonic()

    def due(self) -> bool:
        now = time.monotonic()
        if now - self._last < self._every_s:
            return False
        self._last = now
        return True


async def tell_numbers(store: OperationStore, request: StepRequest, wanted: OperationStatus) -> OperationStatus:
    """The status with what moved since the report that this step entered with."""
    report = StatusReport(status=wanted, serial=request.report.serial)
    return await store.write_numbers(request.ref, own_run(), report)


class Teller:
    """Tells in the status what a step waits for, at a pace of its own. `status` is what stands."""

    def __init__(self, store: OperationStore, request: StepRequest, status: OperationStatus) -> None:
        self._store, self._request, self.status = store, request, status
        self._pace = Pace(TELL_EVERY_S)

    async def __call__(self, message: str) -> None:
        if self._pace.due():
            wanted = self.status.model_copy(update={"message": bounded(message)})
            self.status = await tell_numbers(self._store, self._request, wanted)

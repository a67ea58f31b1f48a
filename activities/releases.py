"""Activities on HelmReleases: have Flux stand still while a Restore works, and let it go on afterwards."""

import asyncio
import time

from temporalio import activity

from activities.operations import is_left_to, own_run
from activities.safeguard_requests import DestinationRequest, ResumeRequest, Suspended
from operation_engine.records.operations import OperationStore
from operation_engine.records.suspension import Suspensions
from operation_engine.runtime.kubernetes import KubernetesError, Unavailable

SETTLED_WITHIN_S = 120.0
"""How long what Flux was at when it was suspended may take: a suspended release ends its action and begins no other."""
LOOK_EVERY_S = 2.0


class ReleaseActivities:
    """Verbs on HelmReleases."""

    def __init__(self, store: OperationStore, suspensions: Suspensions) -> None:
        self._store, self._suspensions = store, suspensions

    @activity.defn
    async def suspend_releases(self, request: DestinationRequest) -> Suspended:
        """Suspend the releases that install into the destination, and wait until Flux has let go of them."""
        status = await self._store.write_in_attempt(request.ref, own_run(), request.report)
        found = await self._suspensions.suspend(request.destination, request.ref.uid)
        patience = time.monotonic() + SETTLED_WITHIN_S
        while (busy := [str(r) for r in found if r.reconciling]) and time.monotonic() < patience:
            activity.heartbeat()
            await asyncio.sleep(LOOK_EVERY_S)
            found = await self._suspensions.get(request.destination)
        return Suspended(status=status, releases=tuple(str(release) for release in found), busy=tuple(busy))

    @activity.defn
    async def resume_releases(self, request: ResumeRequest) -> tuple[str, ...]:
        """Put back what this Operation suspended, unless another run goes on with it; the releases."""
        if not await is_left_to(self._store, request.ref, own_run()):
            return ()
        try:
            return tuple(str(release) for release in await self._suspensions.resume(request.ref.uid))
        except KubernetesError as error:
            # Whatever it is may be mended; a release that stays suspended is worth every try.
            raise Unavailable(str(error)) from error

"""Activities that wait for what was restored to come up: workloads that roll out, claims that are bound.

They look at one namespace every few seconds and no longer than the check may take: a watch a check would cost more.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime

from temporalio import activity

from activities.operations import own_run
from activities.requests import Checked, CheckRequest
from operation_engine.domain import rollouts
from operation_engine.domain.lifecycle import bounded
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.rollouts import Unready
from operation_engine.domain.verdicts import Outcome, Verdict
from operation_engine.records.operations import OperationStore
from operation_engine.runtime.kubernetes import (
    DAEMON_SETS,
    DEPLOYMENTS,
    PODS,
    PVCS,
    STATEFUL_SETS,
    KubernetesApi,
    Manifest,
    Resource,
)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.3, 5.0
_KINDS: Mapping[str, Resource] = {
    "Deployment": DEPLOYMENTS,
    "StatefulSet": STATEFUL_SETS,
    "DaemonSet": DAEMON_SETS,
}


class RolloutActivities:
    """Verbs on what runs in a namespace; they only look."""

    def __init__(self, api: KubernetesApi, store: OperationStore) -> None:
        self._api, self._store = api, store

    @activity.defn
    async def await_workloads(self, request: CheckRequest) -> Checked:
        """Until the workloads `Kind/name` have rolled out, or the time is up."""
        return await self._until(request, self._unready, "workloads have rolled out")

    @activity.defn
    async def await_volumes(self, request: CheckRequest) -> Checked:
        """Until the claims are Bound, or the time is up."""
        return await self._until(request, self._unbound, "volumes are bound")

    async def _until(
        self, request: CheckRequest, look: Callable[[CheckRequest], Awaitable[Sequence[Unready]]], done: str
    ) -> Checked:
        status = await self._store.write(request.ref, own_run(), request.report)
        pause = FIRST_PAUSE_S
        while unready := await look(request):
            activity.heartbeat(rollouts.told(unready))
            if datetime.now(UTC) >= request.until:
                message = bounded(f"After {request.patience}: {rollouts.told(unready)}", 700)
                verdict = Verdict(outcome=Outcome.FAILED, reason=Reason.VERIFICATION_FAILED, message=message)
                return Checked(status=status, verdict=verdict)
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE_S, pause * 1.5)
        message = f"{len(request.names)} {done}."
        passed = Verdict(outcome=Outcome.PASSED, reason=Reason.VELERO_RESTORE_COMPLETED, message=message)
        return Checked(status=status, verdict=passed)

    async def _unready(self, request: CheckRequest) -> Sequence[Unready]:
        kinds = {name.partition("/")[0] for name in request.names}
        found = {
            f"{kind}/{name}": manifest
            for kind in kinds & _KINDS.keys()
            for name, manifest in (await self._named(_KINDS[kind], request.namespace)).items()
        }
        if not rollouts.unready_workloads(request.names, found, ()):
            return ()
        pods = await self._named(PODS, request.namespace)
        return rollouts.unready_workloads(request.names, found, tuple(pods.values()))

    async def _unbound(self, request: CheckRequest) -> Sequence[Unready]:
        return rollouts.unbound_claims(request.names, await self._named(PVCS, request.namespace))

    async def _named(self, resource: Resource, namespace: str) -> Mapping[str, Manifest]:
        listed = await self._api.list(resource, namespace)
        return {item["metadata"]["name"]: item for item in listed["items"]}

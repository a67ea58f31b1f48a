"""Activities called as a workflow run would call them, on a real API server, with the faults that a test wants."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from kubernetes.aio import client, config
from temporalio.testing import ActivityEnvironment

from operation_engine.domain import identity
from operation_engine.domain.claim import Holder, HolderState, RunIdentity
from operation_engine.domain.identity import OperationRef
from operation_engine.domain.resources.operation_status import WorkflowClaim
from operation_engine.runtime.kubernetes import KubernetesApi, Manifest, Resource


@asynccontextmanager
async def connected(kubeconfig: Path) -> AsyncIterator[KubernetesApi]:
    """A connection with the identity of a kubeconfig."""
    configuration = client.Configuration()
    await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
    configuration.connection_pool_maxsize = 0
    async with client.ApiClient(configuration) as api_client:
        yield KubernetesApi(api_client)


def ref_of(operation: Mapping[str, Any]) -> OperationRef:
    meta = operation["metadata"]
    return OperationRef(namespace=meta["namespace"], name=meta["name"], uid=meta["uid"])


def run_of(ref: OperationRef, run_id: str = "run-1") -> RunIdentity:
    """A run of the workflow that belongs to an Operation."""
    return RunIdentity(workflow_id=identity.workflow_id(ref), run_id=run_id)


class Acting:
    """Calls activities as one run; keeps the details of their heartbeats."""

    def __init__(self, run: RunIdentity) -> None:
        self._run = run
        self.heartbeats: list[tuple[Any, ...]] = []
        self.beat = asyncio.Event()

    async def __call__(self, verb: Callable[..., Awaitable[Any]], request: Any) -> Any:
        environment = ActivityEnvironment()
        environment.info = replace(
            environment.info, workflow_id=self._run.workflow_id, workflow_run_id=self._run.run_id
        )
        environment.on_heartbeat = self._heard
        return await environment.run(verb, request)

    def _heard(self, *details: Any) -> None:
        self.heartbeats.append(details)
        self.beat.set()


class ScriptedRuns:
    """What Temporal knows of runs, as a test says: every run is open and the first of its chain, but those below."""

    def __init__(self) -> None:
        self.holders: dict[str, Holder] = {}
        self.firsts: dict[str, str] = {}

    def reset(self, old: str, new: str) -> None:
        """Reset in the UI: `old` is closed, `new` is the latest run of the same chain."""
        first = self.firsts[new] = self.firsts.get(old, old)
        self.holders[old] = Holder(state=HolderState.CLOSED, first_run_id=first, latest_run_id=new)

    def started_anew(self, old: str, new: str) -> None:
        """Start Workflow Like This One, after the end of `old`: a chain of its own."""
        self.holders[old] = Holder(state=HolderState.CLOSED, first_run_id=new, latest_run_id=new)

    def forget(self, run_id: str) -> None:
        """Temporal lost its database."""
        self.holders[run_id] = Holder(state=HolderState.UNKNOWN_TO_TEMPORAL)

    async def first_run_id(self, workflow_id: str, run_id: str) -> str:
        return self.firsts.get(run_id, run_id)

    async def holder(self, claim: WorkflowClaim) -> Holder:
        default = Holder(state=HolderState.OPEN, first_run_id=claim.first_run_id, latest_run_id=claim.run_id)
        return self.holders.get(claim.run_id, default)


Fault = Callable[[], Awaitable[None]]


class FaultyApi(KubernetesApi):
    """A real API, with what a test lets happen around single calls: each fault happens once, in its order."""

    def __init__(self, api: KubernetesApi) -> None:
        super().__init__(api._client)
        self.before_status: list[Fault] = []
        self.after_status: list[Fault] = []
        self.before_event: list[Fault] = []
        self.before_watch: list[Callable[[str], str]] = []
        """Given the version to watch from, the one that is watched from instead."""
        self.status_writes = 0

    async def replace_status(self, resource: Resource, name: str, namespace: str, body: Mapping[str, Any]) -> Manifest:
        await _next(self.before_status)
        self.status_writes += 1
        manifest = await super().replace_status(resource, name, namespace, body)
        await _next(self.after_status)
        return manifest

    async def create(self, resource: Resource, body: Mapping[str, Any], namespace: str | None = None) -> Manifest:
        if resource.plural == "events":
            await _next(self.before_event)
        return await super().create(resource, body, namespace)

    async def watch(
        self, resource: Resource, namespace: str | None, resource_version: str, timeout_s: int, selector: str = ""
    ) -> Any:
        if self.before_watch:
            resource_version = self.before_watch.pop(0)(resource_version)
        async for event in super().watch(resource, namespace, resource_version, timeout_s, selector):
            yield event


async def _next(faults: list[Fault]) -> None:
    if faults:
        await faults.pop(0)()

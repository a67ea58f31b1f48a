"""Activities and records on the real API server, with the engine's own rights; Temporal is scripted."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.acting import Acting, FaultyApi, ScriptedRuns, connected, ref_of, run_of
from support.kube import Kubectl, Operations, backup
from support.velero_verbs import Verbs, velero_verbs
from support.world import VeleroBackups, VeleroRestores

from activities.operations import OperationActivities
from local_cluster.cluster import LocalCluster
from operation_engine.domain.identity import OperationRef
from operation_engine.records.announcer import Announcer
from operation_engine.records.events import EventWriter
from operation_engine.records.operations import OperationStore
from operation_engine.runtime.kubernetes import KubernetesApi


@pytest.fixture(autouse=True)
def nobody_else_works(cluster: LocalCluster) -> None:
    """An engine that a test before has started would take the Operations up."""
    for name in ("controller", "worker"):
        if cluster.pid(name) is not None:
            cluster.stop(name)


@pytest.fixture(scope="session")
def backups(kubectl: Kubectl) -> VeleroBackups:
    return VeleroBackups(kubectl)


@pytest.fixture(scope="session")
def restores(kubectl: Kubectl) -> VeleroRestores:
    return VeleroRestores(kubectl)


@pytest_asyncio.fixture
async def plain_api(engine_kubeconfig: Path) -> AsyncIterator[KubernetesApi]:
    async with connected(engine_kubeconfig) as api:
        yield api


@pytest.fixture
def api(plain_api: KubernetesApi) -> FaultyApi:
    return FaultyApi(plain_api)


@pytest.fixture
def runs() -> ScriptedRuns:
    return ScriptedRuns()


@pytest.fixture
def new_store(api: FaultyApi, runs: ScriptedRuns) -> Callable[[], OperationStore]:
    """A store as each worker has its own."""
    return lambda: OperationStore(api, runs, Announcer(EventWriter(api)), "vworkspace", "http://ui")  # type: ignore[arg-type]


@pytest.fixture
def store(new_store: Callable[[], OperationStore]) -> OperationStore:
    return new_store()


@pytest.fixture
def verbs(api: FaultyApi, store: OperationStore) -> OperationActivities:
    return OperationActivities(api, store, require_managed_namespace=True)


@pytest.fixture
def operation(kubectl: Kubectl, operations: Operations, namespace: str) -> dict[str, Any]:
    """An Operation that nobody has taken up."""
    kubectl.apply(backup(namespace))
    return operations.get(namespace)


@pytest.fixture
def ref(operation: dict[str, Any]) -> OperationRef:
    return ref_of(operation)


@pytest.fixture
def act(ref: OperationRef) -> Acting:
    """Calls activities as the Operation's first run does."""
    return Acting(run_of(ref))


@pytest_asyncio.fixture
async def worker(api: FaultyApi, store: OperationStore) -> AsyncIterator[Verbs]:
    """The verbs on Velero's objects."""
    async with velero_verbs(api, store) as verbs:
        yield verbs

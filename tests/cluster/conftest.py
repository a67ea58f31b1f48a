"""What tests on the whole stack share: the engine for a module, Temporal from outside, parts that are stopped."""

from collections.abc import Callable, Iterator

import pytest
from support.engine import Engine
from support.kube import Kubectl
from support.temporal import Temporal
from support.tenants import Tenant, tenant
from support.world import VeleroBackups, fresh_namespace

from local_cluster.cluster import LocalCluster


@pytest.fixture(scope="session")
def temporal(cluster: LocalCluster) -> Temporal:
    return Temporal(cluster.env())


@pytest.fixture(scope="session")
def backups(kubectl: Kubectl) -> VeleroBackups:
    return VeleroBackups(kubectl)


@pytest.fixture(scope="module")
def running_engine(engine_processes: Engine) -> Engine:
    """The session's engine for what a module does once for all its tests."""
    engine_processes.start("worker", "worker")
    engine_processes.start("controller", "controller")
    return engine_processes


@pytest.fixture(scope="module")
def shared_namespace(kubectl: Kubectl) -> Iterator[str]:
    """A namespace for what a module does once for all its tests."""
    with fresh_namespace(kubectl) as name:
        yield name


@pytest.fixture
def stopped(cluster: LocalCluster) -> Iterator[Callable[[str], None]]:
    """Stop a part of the cluster; after the test it runs again, whatever happened."""
    names: list[str] = []

    def stop(name: str) -> None:
        names.append(name)
        cluster.stop(name)

    yield stop
    for name in names:
        cluster.start(name)


@pytest.fixture
def ann(kubectl: Kubectl) -> Iterator[Tenant]:
    with tenant(kubectl) as found:
        yield found


@pytest.fixture
def bob(kubectl: Kubectl) -> Iterator[Tenant]:
    with tenant(kubectl) as found:
        yield found

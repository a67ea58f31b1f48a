"""Every fixture that builds on the session's cluster gets one whose pods run."""

from collections.abc import Callable, Iterator

import pytest
from support.engine import Engine, furnish
from support.fixtures import engine_kubeconfig, engine_processes, kubectl, operations
from support.kube import Kubectl
from support.shop import Shop
from support.temporal import Temporal
from support.world import VeleroBackups

from local_cluster import images
from local_cluster.cluster import LocalCluster

__all__ = ("engine_kubeconfig", "engine_processes", "kubectl", "operations")


@pytest.fixture(scope="session")
def cluster(real: LocalCluster) -> LocalCluster:
    """The real node, with what the engine needs in it, and the image of a database."""
    real.load_image(images.postgres())
    furnish(real)
    return real


@pytest.fixture(scope="module")
def running_engine(engine_processes: Engine) -> Engine:
    """The session's engine for what a module does once for all its tests."""
    engine_processes.start("worker", "worker")
    engine_processes.start("controller", "controller")
    return engine_processes


@pytest.fixture(scope="session")
def temporal(cluster: LocalCluster) -> Temporal:
    return Temporal(cluster.env())


@pytest.fixture(scope="session")
def backups(kubectl: Kubectl) -> VeleroBackups:
    return VeleroBackups(kubectl)


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
def shop(kubectl: Kubectl, namespace: str) -> Shop:
    shop = Shop(kubectl, namespace)
    shop.open()
    return shop

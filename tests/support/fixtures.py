"""The session's fixtures that build on `cluster`; each conftest that has a cluster of its own imports them.

pytest makes such a fixture once for each conftest that it stands in: without the import, tests of one cluster would
be given what was made for another.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.engine import SERVICE_ACCOUNT, Engine
from support.kube import Kubectl, Operations

from local_cluster.cluster import LocalCluster


@pytest.fixture(scope="session")
def engine_kubeconfig(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig with the identity, and so the rights, of the engine's service account."""
    path = tmp_path_factory.mktemp("engine") / "kubeconfig"
    path.write_text(cluster.kubeconfig_for(SERVICE_ACCOUNT))
    return path


@pytest.fixture(scope="session")
def engine_processes(cluster: LocalCluster, engine_kubeconfig: Path) -> Iterator[Engine]:
    """The session's engine as it runs in a cluster: controller and worker, each a process."""
    # Restores need an approval by default: those tests that are about it start an engine of their own.
    engine = Engine(cluster, engine_kubeconfig, {"VOP_APPROVALS_MODE": "Optional"})
    try:
        yield engine
    finally:
        for name in ("controller", "worker"):
            if engine.running(name):
                engine.stop(name)


@pytest.fixture(scope="session")
def kubectl(cluster: LocalCluster) -> Kubectl:
    return Kubectl(cluster.env())


@pytest.fixture(scope="session")
def operations(kubectl: Kubectl) -> Operations:
    return Operations(kubectl)

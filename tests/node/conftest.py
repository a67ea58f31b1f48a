"""Every fixture that builds on the session's cluster gets one whose pods run."""

import pytest
from support.engine import furnish
from support.fixtures import engine_kubeconfig, engine_processes, kubectl, operations

from local_cluster import images
from local_cluster.cluster import LocalCluster

__all__ = ("engine_kubeconfig", "engine_processes", "kubectl", "operations")


@pytest.fixture(scope="session")
def cluster(real: LocalCluster) -> LocalCluster:
    """The real node, with what the engine needs in it, and the image of a database."""
    real.load_image(images.postgres())
    furnish(real)
    return real

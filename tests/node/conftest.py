"""Every fixture that builds on the session's cluster gets one whose pods run."""

import pytest
from support.engine import furnish

from local_cluster import images
from local_cluster.cluster import LocalCluster


@pytest.fixture(scope="session")
def cluster(real: LocalCluster) -> LocalCluster:
    """The real node, with what the engine needs in it, and the image of a database."""
    real.load_image(images.postgres())
    furnish(real)
    return real

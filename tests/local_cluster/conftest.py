"""Clusters that tests share, in short folders of their own, each ended by the fixture that began it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_cluster.cluster import LocalCluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalCluster]:
    """A running cluster; a test that breaks a part mends it."""
    folder = Path(tempfile.mkdtemp(prefix="vlc-"))
    cluster = LocalCluster(folder)
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down()
        shutil.rmtree(folder)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path; whatever a test started in it is ended."""
    folder = Path(tempfile.mkdtemp(prefix="vlc-"))
    try:
        yield folder
    finally:
        LocalCluster(folder).down()
        shutil.rmtree(folder, ignore_errors=True)

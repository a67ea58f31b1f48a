"""Clusters that tests share, in short folders of their own, each ended by the fixture that began it."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local_cluster.cluster import LocalCluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalCluster]:
    """A running cluster; a test that breaks a part mends it."""
    folder = Path(tempfile.mkdtemp(prefix="vlc-"))
    cluster = LocalCluster(folder)
    try:
        cluster.up(node="kwok")
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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a real file system of a given size."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(size: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip("mounting a small disk needs root")
        return disk

    yield mount
    if disk.is_mount():
        subprocess.run(["umount", str(disk)], check=True)

"""Cgroups of containers come and go while they are looked at."""

import shutil
import threading
from pathlib import Path

from local_cluster.real_node import cgroups


def test_a_container_that_ends_while_its_cgroup_is_looked_for_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "stays").mkdir()
    (tmp_path / "stays/cgroup.procs").touch()
    done = threading.Event()

    def churn() -> None:
        while not done.is_set():
            for number in range(20):
                (tmp_path / f"pod{number}/container").mkdir(parents=True)
            for number in range(20):
                shutil.rmtree(tmp_path / f"pod{number}")

    churning = threading.Thread(target=churn)
    churning.start()
    try:
        for _ in range(300):
            assert tmp_path / "stays/cgroup.procs" in cgroups.below(tmp_path, "cgroup.procs")
    finally:
        done.set()
        churning.join()

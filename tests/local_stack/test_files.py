"""Writing so that a kill or a full disk leaves the old text."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from local_cluster import files
from local_cluster.errors import LocalClusterError


def test_a_full_disk_keeps_the_old_text_and_says_what_to_do(small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("1m")
    path = disk / "state"
    files.write_atomically(path, "old")
    with pytest.raises(LocalClusterError, match=r"The disk of .*state is full; free some space there"):
        files.write_atomically(path, "x" * 2 * files.MEGABYTE)
    assert path.read_text() == "old"
    assert [one.name for one in disk.iterdir()] == ["state"]


def test_too_little_room_is_told_before_the_work(small_disk: Callable[[str], Path]) -> None:
    with pytest.raises(LocalClusterError, match=r"A local cluster needs 500 MB free .* only 1 MB are"):
        files.require_free_space(small_disk("1m") / "not" / "yet", 500 * files.MEGABYTE, "A local cluster")


def test_a_lock_is_taken_in_turns_and_names_its_holder(tmp_path: Path) -> None:
    waited: list[str] = []
    order: list[str] = []
    asked = threading.Event()

    def second() -> None:
        with files.locked(tmp_path / "lock", lambda pid: (waited.append(pid), asked.set())[0]):
            order.append("second")

    with files.locked(tmp_path / "lock", waited.append):
        thread = threading.Thread(target=second)
        thread.start()
        assert asked.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert waited == [str(os.getpid())]


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from local_cluster import files\n"
        "with files.locked(Path(sys.argv[1]), print):\n    print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.kill()
    waited: list[str] = []
    with files.locked(tmp_path / "lock", waited.append):
        assert waited == []


def test_a_large_log_is_put_aside_and_a_small_one_kept(tmp_path: Path) -> None:
    log = tmp_path / "etcd.log"
    log.write_text("x" * 100)
    files.rotate(log, 100)
    assert log.exists()
    files.rotate(log, 99)
    assert not log.exists()
    assert (tmp_path / "etcd.log.1").read_text() == "x" * 100


def test_the_tail_is_of_this_start_only(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("old\n1\n2\n3\n")
    assert files.tail(log, 2) == "2\n3"
    assert files.tail(log, 9, start=4) == "1\n2\n3"
    assert files.tail(log, 9, start=4000) == ""
    assert files.tail(tmp_path / "none", 2) == ""

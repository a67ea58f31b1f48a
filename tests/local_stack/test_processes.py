"""Who is ours, and that nobody else is ever signalled; with real, small processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local_cluster import ports, processes, procfs
from local_cluster.errors import LocalClusterError
from local_cluster.files import wait_until
from local_cluster.layout import Layout
from local_cluster.processes import Launch

STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
PARENT = "import subprocess, time; subprocess.Popen(['sleep', '60']); print('up', flush=True); time.sleep(60)"


@pytest.fixture
def layout(folder: Path) -> Layout:
    layout = Layout.of(folder)
    for one in layout.folders():
        one.mkdir(parents=True, exist_ok=True)
    return layout


def spawn(layout: Layout, part: str, *argv: str) -> procfs.Process:
    return processes.spawn(layout, Launch(part, argv, {"PATH": os.environ["PATH"]}, layout.root), "id-1")


def python(layout: Layout, part: str, script: str) -> procfs.Process:
    started = spawn(layout, part, sys.executable, "-c", script)
    assert wait_until(lambda: "up" in layout.log(part).read_text(), 10)
    return started


def test_a_started_process_outlives_its_session_and_is_found(layout: Layout) -> None:
    started = spawn(layout, "one", "sleep", "60")
    found = processes.leader(processes.owned(layout), "one")
    assert found is not None
    assert (found.process.pid, found.cluster_id) == (started.pid, "id-1")
    assert started.pid == os.getsid(started.pid) != os.getsid(0)


def test_a_process_without_its_record_is_found(layout: Layout) -> None:
    started = spawn(layout, "one", "sleep", "60")
    layout.record("one").unlink()
    processes.end(layout, ["one"], 5)
    assert procfs.process(started.pid) is None


def test_a_process_that_hides_its_environment_is_found_by_its_record(layout: Layout) -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        found = procfs.process(child.pid)
        assert found is not None
        record = {"pid": child.pid, "start": found.start, "boot": procfs.boot_id()}
        layout.record("one").write_text(json.dumps(record))
        assert [one.process.pid for one in processes.owned(layout)] == [child.pid]
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize(("start_shift", "boot"), [(1, None), (0, "another-boot")])
def test_a_stranger_with_a_reused_pid_is_left_alone(layout: Layout, start_shift: int, boot: str | None) -> None:
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        found = procfs.process(stranger.pid)
        assert found is not None
        record = {"pid": stranger.pid, "start": found.start + start_shift, "boot": boot or procfs.boot_id()}
        layout.record("etcd").write_text(json.dumps(record))
        processes.end(layout, ["etcd"], 1)
        assert stranger.poll() is None
        processes.send(procfs.Process(stranger.pid, found.start + 1, stranger.pid, "S"), signal.SIGKILL)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1}'])
def test_a_broken_record_says_nothing(layout: Layout, text: str) -> None:
    layout.record("etcd").write_text(text)
    assert processes.owned(layout) == []


def test_a_process_that_ignores_sigterm_is_killed_after_the_bound(layout: Layout) -> None:
    started = python(layout, "stubborn", STUBBORN)
    began = time.monotonic()
    processes.end(layout, ["stubborn"], 0.3)
    assert procfs.process(started.pid) is None
    assert time.monotonic() - began < 3


def test_children_of_a_part_end_with_it(layout: Layout) -> None:
    python(layout, "parent", PARENT)
    assert len(processes.owned(layout)) == 2
    processes.end(layout, ["parent"], 5)
    assert processes.owned(layout) == []


def test_children_left_by_a_crashed_part_are_ended(layout: Layout) -> None:
    started = python(layout, "parent", PARENT)
    os.kill(started.pid, signal.SIGKILL)
    assert wait_until(lambda: len(processes.owned(layout)) == 1, 5)
    assert processes.leader(processes.owned(layout), "parent") is None
    processes.end(layout, ["parent"], 5)
    assert processes.owned(layout) == []


def test_ending_one_part_leaves_the_others(layout: Layout) -> None:
    spawn(layout, "one", "sleep", "60")
    two = spawn(layout, "two", "sleep", "60")
    processes.end(layout, ["one"], 5)
    assert [one.process.pid for one in processes.owned(layout)] == [two.pid]


def test_another_clusters_processes_are_not_ours(layout: Layout, tmp_path: Path) -> None:
    spawn(layout, "one", "sleep", "60")
    other = Layout.of(tmp_path)
    assert processes.owned(other) == []


def test_a_program_that_cannot_start_is_named(layout: Layout) -> None:
    with pytest.raises(LocalClusterError, match="Cannot start one"):
        spawn(layout, "one", "/nonexistent/program")


THREAD_THAT_OUTLIVES_THE_FIRST = """
import ctypes, socket, threading
server = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=server.accept).start()
print(server.getsockname()[1], flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


def test_a_process_is_gone_when_its_last_thread_is_for_until_then_it_has_its_ports() -> None:
    command = [sys.executable, "-c", THREAD_THAT_OUTLIVES_THE_FIRST]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            port = int(program.stdout.readline())
            found = procfs.entry(program.pid)
            assert found is not None
            assert wait_until(lambda: procfs.process(program.pid) is None, 10), "the first thread ends"
            assert not processes.wait_gone([found], 0.2)
            assert not ports.is_free(port)
            program.kill()
            assert processes.wait_gone([found], 10)
            assert ports.is_free(port)
        finally:
            program.kill()

"""Starts, finds and ends the processes of one cluster; used by `cluster` alone.

A process is ours if its environment carries this cluster's marker, which it gets in the same instant
as it becomes the program (execve), or if the record of its start fits pid, start time and boot. So a
killed `up` leaves nothing that cannot be found, and a reused pid is never taken for ours.
"""

import json
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from local_cluster import procfs
from local_cluster.errors import LocalClusterError
from local_cluster.files import MEGABYTE, rotate, write_atomically
from local_cluster.layout import Layout
from local_cluster.procfs import Process

CLUSTER_MARK = "VOP_LOCAL_CLUSTER"
PART_MARK = "VOP_LOCAL_PART"
ID_MARK = "VOP_LOCAL_CLUSTER_ID"

LOG_LIMIT = 16 * MEGABYTE

# Children of this very process stay zombies until asked for; keeping the handles lets them be reaped.
_children: list[subprocess.Popen[bytes]] = []
_children_lock = threading.Lock()


@dataclass(frozen=True)
class Owned:
    """A living process of this cluster, and the part it belongs to."""

    process: Process
    part: str
    cluster_id: str


@dataclass(frozen=True)
class Launch:
    """What to start as a part; `environment` is complete but for the marks."""

    part: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path


def marks(layout: Layout, part: str, cluster_id: str) -> dict[str, str]:
    """The environment variables by which a process is recognised as ours."""
    return {CLUSTER_MARK: str(layout.root), PART_MARK: part, ID_MARK: cluster_id}


def owned(layout: Layout) -> list[Owned]:
    """Every living process of the cluster, children of parts included; never this one or its parents.

    (A `vop local down` may itself run inside a part, for example in a shell started by `run`.)
    """
    _reap()
    own_line = procfs.ancestors(os.getpid())
    found = {one.process.pid: one for one in _recorded(layout)}
    found.update((one.process.pid, one) for one in _marked(layout))
    return [found[pid] for pid in sorted(found) if pid not in own_line]


def _marked(layout: Layout) -> Iterable[Owned]:
    for pid in procfs.pids():
        variables = procfs.environment(pid)
        if variables.get(CLUSTER_MARK) == str(layout.root):
            found = procfs.process(pid)
            if found:
                yield Owned(found, variables.get(PART_MARK, "unknown"), variables.get(ID_MARK, ""))


def _recorded(layout: Layout) -> Iterable[Owned]:
    for path in layout.run.glob("*.json"):
        try:
            record = json.loads(path.read_text())
            pid, start, boot = int(record["pid"]), int(record["start"]), str(record["boot"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        found = procfs.process(pid)
        if is_recorded(found, start, boot):
            assert found is not None
            yield Owned(found, path.stem, str(record.get("cluster", "")))


def is_recorded(found: Process | None, start: int, boot: str) -> bool:
    """Whether the process that has the pid today is the one the record speaks of."""
    return found is not None and found.start == start and boot == procfs.boot_id()


def leader(processes: Iterable[Owned], part: str) -> Owned | None:
    """The process that was started as `part`; its children live and end with it."""
    return next((one for one in processes if one.part == part and one.process.leads), None)


def spawn(layout: Layout, launch: Launch, cluster_id: str) -> Process:
    """Start a part in a session of its own, so that it outlives the shell, and record it."""
    log = layout.log(launch.part)
    rotate(log, LOG_LIMIT)
    environment = {**launch.environment, **marks(layout, launch.part, cluster_id)}
    try:
        with log.open("ab") as output:
            child = subprocess.Popen(
                launch.argv,
                env=environment,
                cwd=launch.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError as error:
        raise LocalClusterError(f"Cannot start {launch.part} ({launch.argv[0]}): {error.strerror}.") from error
    with _children_lock:
        _children.append(child)
    return _record(layout, launch.part, child.pid, cluster_id)


def _record(layout: Layout, part: str, pid: int, cluster_id: str) -> Process:
    found = procfs.process(pid)
    if found is None:
        return Process(pid=pid, start=-1, session=pid, state="X")
    record = {"pid": pid, "start": found.start, "boot": procfs.boot_id(), "cluster": cluster_id}
    write_atomically(layout.record(part), json.dumps(record))
    return found


def _reap() -> None:
    with _children_lock:
        _children[:] = [child for child in _children if child.poll() is None]


def send(one: Process, number: signal.Signals) -> None:
    """Signal exactly this process: between look and signal its pid may pass on to a stranger."""
    try:
        handle = os.pidfd_open(one.pid)
    except ProcessLookupError:
        return
    try:
        if _same(one):
            signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def _same(one: Process) -> bool:
    today = procfs.process(one.pid)
    return today is not None and today.start == one.start


def _is_kept(one: Process) -> bool:
    found = procfs.entry(one.pid)
    return found is not None and found.start == one.start


def wait_gone(processes: Iterable[Process], seconds: float) -> bool:
    """Wait for all of them to end; true if they did. Woken by the kernel, not by polling."""
    deadline = time.monotonic() + seconds
    gone = [_wait_one(one, deadline) for one in processes]
    return all(gone)


def _wait_one(one: Process, deadline: float) -> bool:
    try:
        handle = os.pidfd_open(one.pid)
    except ProcessLookupError:
        return True
    try:
        if not _is_kept(one):
            return True
        # Readable once its last thread has ended: until then its ports and files are its own.
        waiter = select.poll()
        waiter.register(handle, select.POLLIN)
        return bool(waiter.poll(max(0.0, deadline - time.monotonic()) * 1000)) or not _is_kept(one)
    finally:
        os.close(handle)


def end(layout: Layout, parts: Iterable[str], seconds: float) -> None:
    """End parts with all their children: SIGTERM, and after `seconds` SIGKILL.

    Leaders are asked first, for they know how to end their children; what is left is asked next.
    """
    names = frozenset(parts)
    deadline = time.monotonic() + seconds
    processes = _of(layout, names)
    leaders = [one for one in processes if one.leads]
    for group in (leaders, None):
        asked = _of(layout, names) if group is None else group
        _signal_all(asked, signal.SIGTERM)
        wait_gone(asked, deadline - time.monotonic())
    kill(layout, names)


def kill(layout: Layout, parts: Iterable[str]) -> None:
    """SIGKILL parts with their children, until a look finds none: a child may be born meanwhile."""
    names = frozenset(parts)
    for _ in range(20):
        left = _of(layout, names)
        if not left:
            _forget(layout, names)
            return
        _signal_all(left, signal.SIGKILL)
        wait_gone(left, 5)
    pids = ", ".join(str(one.pid) for one in left)
    raise LocalClusterError(f"Processes {pids} of {', '.join(sorted(names))} do not end even on SIGKILL.")


def _of(layout: Layout, parts: frozenset[str]) -> list[Process]:
    return [one.process for one in owned(layout) if one.part in parts]


def _signal_all(processes: Iterable[Process], number: signal.Signals) -> None:
    for one in processes:
        send(one, number)


def _forget(layout: Layout, parts: frozenset[str]) -> None:
    _reap()
    for part in parts:
        layout.record(part).unlink(missing_ok=True)

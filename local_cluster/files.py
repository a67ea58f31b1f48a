"""Files that survive a SIGKILL at any point: whole or absent, locked by one `up` at a time.

Used by every module that writes into a state dir or the cache; knows nothing of clusters.
"""

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from local_cluster.errors import LocalClusterError

MEGABYTE = 1024 * 1024


def write_atomically(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace `path` so that a reader, or a crash, sees the old text or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> LocalClusterError:
    """The sentence for a failed write: a full disk is told apart, because the way out differs."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(path)
    return LocalClusterError(f"Cannot write {path}: {error.strerror}; choose a folder that is yours to write.")


def disk_full(path: Path) -> LocalClusterError:
    """ENOSPC, wherever it came from."""
    return LocalClusterError(f"The disk of {path} is full; free some space there and run the same command again.")


def make_folder(path: Path) -> None:
    """Create `path` for this user alone: tokens and keys live below it."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def require_free_space(path: Path, need: int, purpose: str) -> None:
    """Refuse before the work starts; a disk that fills up halfway costs minutes and a worse message."""
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if free < need:
        raise LocalClusterError(
            f"{purpose} needs {need // MEGABYTE} MB free on the disk of {path}, "
            f"and only {free // MEGABYTE} MB are; free some space and run the same command again."
        )


@contextmanager
def locked(path: Path, waiting: Callable[[str], None]) -> Iterator[int]:
    """Hold `path` as an exclusive lock and yield its descriptor; tell `waiting` who holds it, once.

    The kernel drops the lock with its last holder, so a killed process leaves nothing to clean up.
    """
    descriptor = _open_lock(path)
    try:
        if not _try_lock(descriptor):
            waiting(os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise cannot_write(path, error) from error


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def empty_folder(folder: Path, keep: frozenset[str], last: str) -> None:
    """Remove all of `folder` but `keep`; `last` goes at the very end, so a killed wipe is recognised."""
    for entry in folder.iterdir():
        if entry.name not in keep | {last}:
            _remove(entry)
    (folder / last).unlink(missing_ok=True)


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)


def rotate(path: Path, limit: int) -> None:
    """Put a log that grew past `limit` bytes aside as `.1`; called before its writer starts."""
    if path.exists() and path.stat().st_size > limit:
        path.replace(path.with_name(path.name + ".1"))


def tail(path: Path, lines: int, start: int = 0) -> str:
    """The last `lines` lines written after offset `start`; empty where there is no file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(min(start, size), size - 64 * 1024))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def wait_until(condition: Callable[[], bool], seconds: float, every: float = 0.05) -> bool:
    """Poll where nothing can be waited for; true as soon as `condition` is."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every)
    return True

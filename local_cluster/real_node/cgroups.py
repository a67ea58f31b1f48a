"""The cgroup that all containers of one cluster live in: made, emptied and removed as a whole; used by `machine`.

Containers carry an environment of their own, so this is also how they are found: whatever became of
containerd, a process of a pod is below this cgroup.
"""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from local_cluster import procfs
from local_cluster.errors import LocalClusterError
from local_cluster.files import wait_until
from local_cluster.processes import send, wait_gone

NEEDED = ("cpu", "cpuset", "memory", "pids")
# A kubelet on version 2 wants this one too wherever the machine has it (kubelet 1.36, cm/cgroup_v2_manager_linux.go).
_HANDED_ON = {*NEEDED, "hugetlb"}

_MOUNTS = Path("/proc/self/mountinfo")
_SECONDS = 10.0
_ROUNDS = 50


def mounted(mountinfo: str) -> Mapping[Path, frozenset[str]]:
    """Where cgroup hierarchies are mounted, and the options of each, which name version 1's controllers (proc(5))."""
    found = {}
    for line in mountinfo.splitlines():
        fields, _, behind = line.partition(" - ")
        kind, _, options = behind.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            found[Path(fields.split()[4])] = frozenset(options.split(",")) | {kind}
    return found


def missing(mountinfo: str, unified: frozenset[str]) -> list[str]:
    """The controllers that a kubelet needs and that are not there; `unified` are those that version 2 offers."""
    offered = frozenset().union(unified, *(options for options in mounted(mountinfo).values() if "cgroup" in options))
    return [name for name in NEEDED if name not in offered]


def missing_here() -> list[str]:
    """The same, for this machine."""
    text = _MOUNTS.read_text()
    return missing(text, _unified(text))


def only_version_2() -> bool:
    """Whether this machine offers no controller by version 1."""
    text = _MOUNTS.read_text()
    return len(missing(text, frozenset())) == len(NEEDED) and not missing(text, _unified(text))


def _unified(mountinfo: str) -> frozenset[str]:
    """The controllers that version 2 offers here."""
    hierarchies = [path for path, options in mounted(mountinfo).items() if "cgroup2" in options]
    controllers = [path / "cgroup.controllers" for path in hierarchies]
    return frozenset(word for file in controllers if file.exists() for word in file.read_text().split())


def create(name: str) -> None:
    """Have the cgroup in every hierarchy."""
    for hierarchy in mounted(_MOUNTS.read_text()):
        folder = hierarchy / name
        try:
            enable(hierarchy)
            folder.mkdir(exist_ok=True)
            _inherit(hierarchy, folder)
        except OSError as error:
            raise LocalClusterError(
                f"Cannot make the cgroup {folder}: {error.strerror}; a real node needs cgroups that are yours to "
                "change, or choose `--node kwok`."
            ) from error


def enable(hierarchy: Path) -> None:
    """Have version 2 hand the controllers on to its children; most machines do, and what is enabled stays so."""
    handed_on, offered = hierarchy / "cgroup.subtree_control", hierarchy / "cgroup.controllers"
    if not offered.exists():
        return
    wanted = set(offered.read_text().split()) & _HANDED_ON - set(handed_on.read_text().split())
    if wanted:
        handed_on.write_text(" ".join(f"+{name}" for name in sorted(wanted)))


def _inherit(parent: Path, child: Path) -> None:
    """A cpuset of version 1 begins empty, and nothing can run in it."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        file = child / name
        if file.exists() and not (child / "cgroup.controllers").exists():
            file.write_text((parent / name).read_text())


def complete(name: str) -> bool:
    """Whether it is there in every hierarchy."""
    return all((hierarchy / name).is_dir() for hierarchy in mounted(_MOUNTS.read_text()))


def exists(name: str) -> bool:
    """Whether any of it is there."""
    return any(_folders(name))


def _folders(name: str) -> Iterator[Path]:
    folders = (hierarchy / name for hierarchy in mounted(_MOUNTS.read_text()))
    return (folder for folder in folders if folder.is_dir())


def processes(name: str) -> list[procfs.Process]:
    """Everything that lives in it."""
    numbers: set[int] = set()
    for folder in _folders(name):
        for file in below(folder, "cgroup.procs"):
            numbers.update(_numbers(file))
    return [found for number in sorted(numbers) if (found := procfs.process(number))]


def below(folder: Path, name: str) -> Iterator[Path]:
    """Files of that name in all folders below; folders may vanish meanwhile, which Path.rglob takes for an error."""
    return (Path(place, name) for place, _, files in os.walk(folder) if name in files)


def _numbers(file: Path) -> list[int]:
    try:
        return [int(line) for line in file.read_text().split()]
    except OSError:  # it went while we looked, or holds threads only
        return []


def kill(name: str) -> None:
    """SIGKILL all that lives in it, until a look finds nobody."""
    for _ in range(_ROUNDS):
        left = processes(name)
        if not left:
            return
        _thaw(name)
        for one in left:
            send(one, signal.SIGKILL)
        wait_gone(left, 5)
    pids = ", ".join(str(one.pid) for one in left)
    raise LocalClusterError(f"Processes {pids} of containers do not end even on SIGKILL.")


def _thaw(name: str) -> None:
    """A frozen process does not die; runc freezes while it changes a container, and may itself be killed then."""
    for folder in _folders(name):
        for file in below(folder, "freezer.state"):
            with suppress(FileNotFoundError):
                file.write_text("THAWED")


def remove(name: str) -> None:
    """Remove it with all below it; a dead process leaves a moment later."""
    if not wait_until(lambda: all(_remove(folder) for folder in list(_folders(name))), _SECONDS):
        raise LocalClusterError(f"The cgroup {name} cannot be removed: a process is in it.")


def _remove(folder: Path) -> bool:
    try:
        for inner, _, _ in os.walk(folder, topdown=False):
            Path(inner).rmdir()
    except OSError:  # a process is still in it, or a part of it went meanwhile: the next look tells
        return not folder.exists()
    return True

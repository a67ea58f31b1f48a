"""Chooses the ports of a cluster once, and says who sits on one of them later.

Ports lie below the range the kernel hands out for outgoing connections, so that none of ours is
taken by chance while the cluster is down, and apart from those of this user's other clusters.
"""

import json
import random
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from local_cluster import procfs
from local_cluster.errors import LocalClusterError
from local_cluster.files import write_atomically

LOOPBACK = "127.0.0.1"
FIRST = 20_000
SHIFT = 10_000
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES = 200
_DICE = random.Random()  # noqa: S311 (ports are no secret)


def port_range(ephemeral: str) -> range:
    """The ports to choose from, given the kernel's range for outgoing connections as text.

    DERIVED ports lie `SHIFT` above, and must stay below that range too.
    """
    lowest = int(ephemeral.split(maxsplit=1)[0]) - SHIFT
    return range(FIRST, lowest if lowest > FIRST + 1_000 else FIRST + 2_700)


def choose(
    names: Iterable[str],
    reserved: frozenset[int],
    derived: Mapping[str, str],
    free: Callable[[int], bool] | None = None,
    dice: random.Random | None = None,
) -> dict[str, int]:
    """Free ports that are not reserved: consecutive ones, and for `derived` names SHIFT above another's."""
    free, dice = free or is_free, dice or _DICE
    wanted = list(names)
    candidates = port_range(_EPHEMERAL.read_text())
    for _ in range(_TRIES):
        chosen = arrange(wanted, derived, dice.randrange(candidates.start, candidates.stop - len(wanted)))
        if not reserved.intersection(chosen.values()) and all(free(port) for port in chosen.values()):
            return chosen
    raise LocalClusterError(
        f"No {len(wanted)} free ports between {candidates.start} and {candidates.stop} found; "
        "stop other clusters with `vop local down` and run the same command again."
    )


def arrange(names: Iterable[str], derived: Mapping[str, str], first: int) -> dict[str, int]:
    """Number the names from `first` on, then give each derived one its place."""
    numbers = {name: first + at for at, name in enumerate(names)}
    return {name: numbers[derived[name]] + SHIFT if name in derived else numbers[name] for name in numbers}


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:port; remains of closed connections do not count."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def require_free(part: str, ports: Mapping[str, int]) -> None:
    """Refuse to start `part` while another program has one of its ports."""
    for name, port in ports.items():
        if not is_free(port):
            raise taken(part, name, port, _describe(procfs.holder(port)))


def taken(part: str, name: str, port: int, who: str) -> LocalClusterError:
    """The sentence for a kept port that somebody else has now."""
    use = part if name == part else f"{part} ({name})"
    return LocalClusterError(
        f"Port {port} of {use} is taken by {who}; stop that program, "
        "or run `vop local up --new-ports` to move this cluster to other ports."
    )


def _describe(pid: int | None) -> str:
    if pid is None:
        return "another program (of another user, so its name cannot be seen)"
    return f"`{' '.join(procfs.command_line(pid))[:80]}` (pid {pid})"


def known_clusters(registry: Path) -> list[Path]:
    """State files of this user's clusters that still exist."""
    try:
        paths = [Path(text) for text in json.loads(registry.read_text())]
    except (OSError, ValueError, TypeError):
        return []
    return [path for path in paths if path.exists()]


def reserved(state_files: Iterable[Path]) -> frozenset[int]:
    """Ports that other clusters keep, running or not."""
    ports: set[int] = set()
    for path in state_files:
        try:
            ports.update(json.loads(path.read_text())["ports"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return frozenset(ports)


def register(registry: Path, state_file: Path) -> None:
    """Remember a cluster, so that others leave its ports alone."""
    known = sorted({str(path) for path in (*known_clusters(registry), state_file)})
    write_atomically(registry, json.dumps(known, indent=1))

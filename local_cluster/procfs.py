"""What Linux says about processes and sockets: identities that a reused pid cannot fake.

Used by `processes` (whom to signal) and `ports` (who listens). Reads /proc only, changes nothing.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PROC = Path("/proc")
_LISTEN = "0A"


@dataclass(frozen=True)
class Process:
    """One process; pid and start time together are unique until the machine boots again."""

    pid: int
    start: int
    session: int
    state: str

    @property
    def leads(self) -> bool:
        """Whether it is what we started, rather than a child of it: we start each in its own session."""
        return self.pid == self.session

    @property
    def alive(self) -> bool:
        """A zombie has ended, even where its parent has not looked yet."""
        return self.state not in "ZX"


def parse_stat(text: str) -> Process:
    """Parse /proc/PID/stat (proc(5)); the name in parentheses may itself hold parentheses and spaces."""
    head, _, rest = text.rpartition(")")
    fields = rest.split()
    return Process(pid=int(head.split(" ", 1)[0]), state=fields[0], session=int(fields[3]), start=int(fields[19]))


def process(pid: int) -> Process | None:
    """The living process with that pid, or None."""
    found = entry(pid)
    return found if found and found.alive else None


def entry(pid: int) -> Process | None:
    """What the kernel keeps under that pid, also where its first thread has ended and others have not yet."""
    try:
        return parse_stat((PROC / str(pid) / "stat").read_text())
    except (OSError, ValueError, IndexError):
        return None


def environment(pid: int) -> dict[str, str]:
    """The environment it was started with; empty where it is gone or belongs to somebody else."""
    try:
        raw = (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition("=") for item in raw.decode(errors="replace").split("\0") if item)
    return {name: value for name, _, value in pairs}


def command_line(pid: int) -> tuple[str, ...]:
    """Its argv; empty where it is gone."""
    try:
        raw = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(raw.decode(errors="replace").split("\0")[:-1])


def cgroups(pid: int) -> str:
    """Where it is in each hierarchy; the same text for all processes of a container, empty where it is gone."""
    try:
        return (PROC / str(pid) / "cgroup").read_text()
    except OSError:
        return ""


def pids() -> Iterator[int]:
    """Every process there is now."""
    return (int(name) for name in os.listdir(PROC) if name.isdigit())


def resident_bytes(pid: int) -> int:
    """Memory it holds; 0 where it is gone."""
    try:
        pages = int((PROC / str(pid) / "statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def ancestors(pid: int) -> frozenset[int]:
    """`pid` and everything above it, so that a command never ends the shell that it runs in."""
    line: set[int] = set()
    while pid > 0 and pid not in line:
        line.add(pid)
        try:
            pid = int((PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            break
    return frozenset(line)


@cache
def boot_id() -> str:
    """Differs after each boot: a record from before it says nothing about a pid of today."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


@cache
def _boot_time() -> float:
    lines = (PROC / "stat").read_text().splitlines()
    return float(next(line for line in lines if line.startswith("btime")).split()[1])


def started_at(found: Process) -> float:
    """Unix time of its start, in seconds."""
    return _boot_time() + found.start / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Listener:
    """A TCP socket in state LISTEN."""

    address: str
    port: int
    inode: str

    @property
    def is_loopback(self) -> bool:
        """127.0.0.0/8 or ::1, also when written as an IPv4-mapped address."""
        return self.address.startswith("127.") or self.address in ("::1", "::ffff:127.0.0.1")


def parse_listeners(table: str) -> Iterator[Listener]:
    """Parse the text of /proc/net/tcp or tcp6: addresses are hexadecimal words in host byte order."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields[3] == _LISTEN:
            address, _, port = fields[1].partition(":")
            yield Listener(_address(address), int(port, 16), fields[9])


def _address(text: str) -> str:
    words = [int(text[at : at + 8], 16).to_bytes(4, "little") for at in range(0, len(text), 8)]
    if len(words) == 1:
        return ".".join(str(byte) for byte in words[0])
    raw = b"".join(words)
    if raw[:12] == b"\0" * 10 + b"\xff\xff":
        return "::ffff:" + ".".join(str(byte) for byte in raw[12:])
    return "::1" if raw == b"\0" * 15 + b"\x01" else raw.hex(":", 2)


def listeners() -> list[Listener]:
    """Every listening TCP socket of this machine (network namespace)."""
    tables = (PROC / "net/tcp", PROC / "net/tcp6")
    return [one for table in tables if table.exists() for one in parse_listeners(table.read_text())]


def socket_inodes(pid: int) -> frozenset[str]:
    """The sockets a process holds open; empty where it is gone or not ours to look at."""
    folder = PROC / str(pid) / "fd"
    found = set()
    try:
        for entry in folder.iterdir():
            target = os.readlink(entry)
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        pass
    return frozenset(found)


def holder(port: int) -> int | None:
    """The pid that listens on `port`, where this user may see it."""
    inodes = {one.inode for one in listeners() if one.port == port}
    return next((pid for pid in pids() if inodes & socket_inodes(pid)), None) if inodes else None

"""Where a real node can run, and what it has put on this machine."""

import json
import os
import subprocess
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from local_cluster.real_node import cgroups, machine

OPT_OUT = "VOP_TEST_WITHOUT_REAL_NODE"

# What a kubelet or containerd elsewhere would have left in its usual places.
_PLACES = ("/run", "/run/netns", "/var/lib", "/var/lib/cni", "/var/log", "/var/log/pods", "/etc", "/etc/cni", "/opt")
_SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "net/ipv4/conf/default/route_localnet",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


def require() -> None:
    """Skip, and say why, where no real node can run; see test_real_node_refusals for where that is a failure."""
    if os.environ.get(OPT_OUT):
        pytest.skip(f"{OPT_OUT} is set")
    why_not = machine.obstacles(Path("/tmp"))
    if why_not:
        pytest.skip(f"a real node cannot run here: {', '.join(why_not)}")


def output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def listed(*argv: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(output(*argv) or "[]")
    return found


@dataclass(frozen=True)
class Footprint:
    """Everything of this machine, outside state dirs, that a node changes; other clusters' own is left out."""

    mounts: frozenset[str]
    links: frozenset[str]
    routes: frozenset[str]
    addresses: frozenset[str]
    tables: frozenset[str]
    cgroups: frozenset[str]
    files: frozenset[str]
    sysctls: frozenset[str]

    def __sub__(self, before: "Footprint") -> dict[str, frozenset[str]]:
        """What is here and was not before, or is no more (marked with a minus), by kind; empty where nothing."""
        pairs = {one.name: (getattr(self, one.name), getattr(before, one.name)) for one in fields(self)}
        return {
            name: (now - then) | {f"-{one}" for one in then - now} for name, (now, then) in pairs.items() if now != then
        }


def footprint(*own: str, ignored: frozenset[str] = frozenset()) -> Footprint:
    """The machine now; `own` are the names of the clusters whose traces count, for others may run beside the test.

    `ignored` are links that hung loose before the test began.
    """
    links = listed("ip", "-json", "link")
    names = {
        one["ifname"] for one in links if not _foreign(one["ifname"], own) and not _foreign(one.get("master"), own)
    } - ignored
    routes = listed("ip", "-json", "route", "show", "table", "all")
    addresses = listed("ip", "-json", "address")
    return Footprint(
        mounts=frozenset(line.split(" ", 3)[3] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        links=frozenset(names),
        routes=frozenset(f"{one['dst']} {one.get('dev')}" for one in routes if one.get("dev", "") in {*names, ""}),
        addresses=frozenset(
            f"{one['ifname']} {address['local']}"
            for one in addresses
            if one["ifname"] in names
            for address in one["addr_info"]
        ),
        tables=frozenset(line for line in output("nft", "list", "tables").splitlines() if not _foreign(line, own)),
        cgroups=frozenset(_cgroups(own)),
        files=frozenset(str(path) for place in _PLACES if Path(place).is_dir() for path in Path(place).iterdir()),
        sysctls=frozenset(f"{name}={Path('/proc/sys', name).read_text()}" for name in _SYSCTLS),
    )


def loose_links() -> frozenset[str]:
    """Ends of pods' networks that are plugged into no bridge: of a pod that is just begun or ended, or lost its bridge.

    They name no cluster, and go when it has ended such a pod.
    """
    links = listed("ip", "-json", "link")
    return frozenset(one["ifname"] for one in links if one["ifname"].startswith("veth") and "master" not in one)


def _foreign(name: str | None, own: tuple[str, ...]) -> bool:
    """Whether that belongs to another cluster."""
    return name is not None and "vop-" in name and not any(one in name for one in own)


def _cgroups(own: tuple[str, ...]) -> list[str]:
    """Of other clusters not, and below our own all."""
    roots = cgroups.mounted(Path("/proc/self/mountinfo").read_text())
    return [str(path) for root in roots for path in root.glob("vop-*") if not _foreign(path.name, own)]

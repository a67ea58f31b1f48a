"""What a real node needs of this machine, and everything that it puts there outside its state dir.

`cluster` asks `obstacles` whether a node can run; `space` prepares; `down` clears, whatever is left of it.
All of it is named after the state dir, so it is found without any record.
"""

import os
import shutil
import subprocess
from ipaddress import IPv4Network
from pathlib import Path

from local_cluster import processes
from local_cluster.errors import LocalClusterError
from local_cluster.layout import Layout
from local_cluster.parts import Site
from local_cluster.real_node import cgroups, network

# Not asked but killed: a shim would wait for its containers, and the kubelet would start others.
INSIDE = ("kubelet", "containerd", "node-space")

_PROGRAMS = {
    "runc": "runc",
    "nft": "nftables",
    "ip": "iproute2",
    "busybox": "busybox-static",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
}


def obstacles(state_dir: Path) -> list[str]:
    """Why no real node can run here, each in a few words; empty where one can."""
    if os.geteuid() != 0:
        return ["you are not root"]
    missing = [f"`{name}` is missing (package {_PROGRAMS[name]})" for name in _PROGRAMS if not _which(name)]
    controllers = cgroups.missing_here()
    if controllers:
        missing.append(f"no cgroup offers {', '.join(controllers)}")
    if missing:
        return missing
    return [*_forbidden(), *_unsuitable(state_dir)]


def doubts() -> list[str]:
    """Why nobody should be given a real node without having asked for one."""
    if cgroups.only_version_2():
        return ["this machine has cgroup version 2 alone, where it was not tried yet; --node real tries it"]
    return []


def _which(name: str) -> str | None:
    return shutil.which(name, path=network.TOOLS_PATH)


def _forbidden() -> list[str]:
    """Root in a container may have no right to what a node does."""
    probes = {
        "a mount namespace": ["unshare", "--mount", "--propagation", "private", "true"],
        "nftables": ["nft", "list", "tables"],
    }
    return [f"{name} is not allowed here ({said})" for name, argv in probes.items() if (said := _complaint(argv))]


def _complaint(argv: list[str]) -> str:
    answer = subprocess.run(argv, env={"PATH": network.TOOLS_PATH}, capture_output=True, text=True, check=False)
    return "" if answer.returncode == 0 else answer.stderr.strip().replace("\n", " ")[:120] or "no reason given"


def _unsuitable(state_dir: Path) -> list[str]:
    """Files of containers lie on an overlay, and that cannot lie on another one."""
    existing = next(folder for folder in (state_dir, *state_dir.parents) if folder.exists())
    answer = subprocess.run(
        ["stat", "--file-system", "--format=%T", existing], capture_output=True, text=True, check=False
    )
    kind = answer.stdout.strip()
    return [f"the state dir lies on {kind}"] if kind in ("overlayfs", "nfs") else []


def prepare(site: Site) -> None:
    """End what is left of an earlier node, then have cgroup, bridge and rules."""
    clear(site.layout)
    furnish(site)


def mend(site: Site) -> None:
    """Before the parts start: have what they need, or end them where it went away beneath them."""
    network.require_free(IPv4Network(site.state.pod_range), site.layout.machine_name)
    if furnished(site.layout):
        furnish(site)
    else:
        clear(site.layout)


def furnish(site: Site) -> None:
    """Have cgroup, bridge and rules; safe to repeat."""
    name, pods = site.layout.machine_name, IPv4Network(site.state.pod_range)
    cgroups.create(name)
    network.create(name, pods, site.port("kube-apiserver"), site.port("s3"))


def furnished(layout: Layout) -> bool:
    """Whether nobody has removed the node's cgroup or bridge; pods that were on it are lost then."""
    return cgroups.complete(layout.machine_name) and network.exists(layout.machine_name)


def end(layout: Layout) -> None:
    """End every process of the node and of its pods."""
    processes.kill(layout, INSIDE)
    cgroups.kill(layout.machine_name)


def clear(layout: Layout) -> None:
    """End every process of the node and of its pods, and remove all it has put on this machine."""
    name = layout.machine_name
    if os.geteuid() != 0:
        _require_nothing_of_root(layout)
        return
    end(layout)
    network.remove(name)
    cgroups.remove(name)


def _require_nothing_of_root(layout: Layout) -> None:
    name = layout.machine_name
    if network.exists(name) or cgroups.exists(name):
        raise LocalClusterError(
            f"A real node that root started in {layout.root} is still on this machine; only root can remove it: "
            "`sudo vop local down`, with the same --state-dir."
        )

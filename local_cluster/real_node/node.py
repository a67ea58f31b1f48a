"""A node with containers, volumes and data: containerd and a kubelet as processes; used by `catalogue`."""

from local_cluster.parts import Part, Site
from local_cluster.real_node import containerd, kubelet, space


class RealNode:
    """Pods run; needs root on Linux, see `machine.obstacles`."""

    names: tuple[str, ...] = ("node-space", "containerd", "kubelet")
    ports: tuple[str, ...] = kubelet.PORTS

    def parts(self, site: Site) -> tuple[Part, ...]:
        """What holds the mounts, what runs containers, and what runs pods."""
        return (space.space(site), containerd.containerd(site), kubelet.kubelet(site))

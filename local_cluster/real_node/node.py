"""A node with containers, volumes and data: containerd and a kubelet as processes; used by `catalogue`."""

from local_cluster.parts import Part, Site
from local_cluster.real_node import containerd, kubelet, space, volumes, workloads


class RealNode:
    """Pods run; needs root on Linux, see `machine.obstacles`."""

    names: tuple[str, ...] = (space.NAME, "containerd", "kubelet", volumes.PART, *workloads.NAMES)
    ports: tuple[str, ...] = kubelet.PORTS

    def parts(self, site: Site) -> tuple[Part, ...]:
        """What holds the mounts, what runs containers, what runs pods, and what makes their volumes."""
        node = (space.space(site), containerd.containerd(site), kubelet.kubelet(site))
        return (*node, volumes.provisioner(site))

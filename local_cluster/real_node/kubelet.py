"""The kubelet of a real node; used by `node`."""

import json
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from local_cluster import images
from local_cluster.files import write_atomically
from local_cluster.kube import admin_binding, http_ok, write_kubeconfig
from local_cluster.layout import Layout
from local_cluster.node import NODE, schedulable
from local_cluster.parts import Part, Site
from local_cluster.ports import LOOPBACK
from local_cluster.real_node import containerd, network, space
from local_cluster.state import USERS

PORTS = ("kubelet-health",)


def kubelet(site: Site) -> Part:
    """The kubelet, in the node's mount namespace; ready when pods may come."""
    argv = (
        site.program("kubelet"),
        f"--kubeconfig={site.layout.kubeconfig('kubelet')}",
        f"--config={_config_file(site.layout)}",
        f"--root-dir={space.KUBELET_ROOT}",
        f"--cert-dir={space.KUBELET_ROOT / 'pki'}",
        f"--hostname-override={NODE}",
        f"--node-ip={_address(site)}",
    )
    return Part(
        "kubelet",
        argv,
        ports=PORTS,
        needs=("containerd", "kube-apiserver"),
        launcher=lambda: space.inside(site.layout),
        prepare=lambda: _prepare(site),
        ready=lambda: http_ok(f"{site.url('kubelet-health')}/healthz") and schedulable(site),
    )


def _address(site: Site) -> str:
    return str(network.node_address(IPv4Network(site.state.pod_range)))


def _config_file(layout: Layout) -> Path:
    return layout.config / "kubelet.json"


def _prepare(site: Site) -> None:
    user, _ = USERS["kubelet"]
    site.kube().apply(admin_binding(user))
    write_kubeconfig(site.layout.kubeconfig("kubelet"), site.kube("kubelet"), user)
    content = config(site.layout, _address(site), site.port("kubelet-health"))
    write_atomically(_config_file(site.layout), json.dumps(content, indent=1))
    containerd.load(site, (images.pause(), images.busybox()))


def config(layout: Layout, address: str, health: int) -> dict[str, Any]:
    """The KubeletConfiguration; `address` is the bridge's, `health` a port on loopback.

    It asks nobody who they are: the network's rules let root alone reach it.
    """
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": address,
        "port": network.KUBELET_PORT,
        "readOnlyPort": 0,
        "healthzBindAddress": LOOPBACK,
        "healthzPort": health,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "podLogsDir": str(layout.pod_logs),
        "volumePluginDir": str(space.KUBELET_ROOT / "volume-plugins"),
        "resolvConf": "",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.machine_name}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": False,
        "makeIPTablesUtilChains": False,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        # Images come from nowhere but here: one that is collected cannot be had again.
        "imageGCHighThresholdPercent": 100,
        # A program that is killed again and again is back within seconds; by default it is left for up to five minutes.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "3s"},
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        "maxPods": 200,
    }

"""containerd, which runs the containers of a real node, and the images that it is given; used by `node`."""

import json
import socket
import subprocess
from collections.abc import Iterable
from ipaddress import IPv4Network
from pathlib import Path

from local_cluster import images
from local_cluster.errors import LocalClusterError
from local_cluster.files import write_atomically
from local_cluster.layout import Layout, cache_root
from local_cluster.oci import Image, archive
from local_cluster.parts import Part, Site
from local_cluster.real_node import network, space

NAMESPACE = "k8s.io"  # where the kubelet looks for images and containers


def containerd(site: Site) -> Part:
    """containerd with its CRI plugin, in the node's mount namespace."""
    argv = (site.program("containerd"), "--config", str(_config_file(site.layout)))
    return Part(
        "containerd",
        argv,
        needs=(space.NAME,),
        launcher=lambda: space.inside(site.layout),
        prepare=lambda: _write(site),
        ready=lambda: answers(site.layout.containerd_socket),
    )


def _config_file(layout: Layout) -> Path:
    return layout.config / "containerd.toml"


def _write(site: Site) -> None:
    layout = site.layout
    write_atomically(_config_file(layout), config(layout, Path(site.program("bridge")).parent))
    networks = network.conflist(layout.machine_name, IPv4Network(site.state.pod_range))
    write_atomically(layout.config / "cni" / "10-pods.conflist", json.dumps(networks, indent=1))
    layout.containerd_socket.unlink(missing_ok=True)  # a killed one leaves it, and nobody answers behind it


def config(layout: Layout, plugins: Path) -> str:
    """containerd's configuration, version 3; `plugins` are the CNI programs.

    Nothing in it may reach the machine: no AppArmor profile is loaded, no folder is made in /opt.
    """
    return f"""version = 3
root = "{space.CONTAINERD_ROOT}"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing", "io.containerd.nri.v1.nri",
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs", "io.containerd.differ.v1.erofs",
]
[grpc]
address = "{layout.containerd_socket}"
[ttrpc]
address = "{layout.containerd_socket}.ttrpc"
[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{images.PAUSE}"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{plugins}"]
conf_dir = "{layout.config / "cni"}"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
SystemdCgroup = false
"""


def answers(path: Path) -> bool:
    """Whether a server accepts connections at a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def load(site: Site, wanted: Iterable[Image]) -> dict[str, str]:
    """Have these images on the node and say their digests; one that it has under the same digest is left alone."""
    there = listed(_ctr(site, "images", "list"))
    archives = [archive(image, cache_root() / "images") for image in wanted]
    for one in archives:
        if there.get(one.image.name) != one.digest:
            _ctr(site, "images", "import", str(one.path))
    return {one.image.name: one.digest for one in archives}


def listed(table: str) -> dict[str, str]:
    """Digest by name, from what `ctr images list` prints."""
    rows = (line.split() for line in table.splitlines()[1:])
    return {row[0]: row[2] for row in rows if len(row) > 2}


def _ctr(site: Site, *arguments: str) -> str:
    argv = [site.program("ctr"), "--address", str(site.layout.containerd_socket), "--namespace", NAMESPACE, *arguments]
    answer = subprocess.run(argv, env=site.environment, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise LocalClusterError(f"`ctr {' '.join(arguments)}` failed.", answer.stderr.strip()[-600:])
    return answer.stdout

"""Where things lie: the folders of one cluster, and the cache that all clusters of this user share.

Every other module asks here for a path; nothing else joins names onto the state dir.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from local_cluster.errors import LocalClusterError

# Unix sockets below the state dir must fit 107 bytes (unix(7)); the longest, that of a Velero
# plugin, adds 25. The limit is told at once, for the programs themselves only say "invalid argument".
LONGEST_STATE_DIR = 80
_UNFIT = ':,"\\'


@dataclass(frozen=True)
class Layout:
    """The folders and files of the cluster in `root`, which is absolute and has no symlinks."""

    root: Path

    @classmethod
    def of(cls, state_dir: Path | str) -> "Layout":
        """The layout of a state dir as a person writes it."""
        return cls(Path(os.path.realpath(Path(state_dir).expanduser())))

    def check_name(self) -> None:
        """Refuse a state dir whose path is too long for unix sockets, or that lists and settings cannot hold."""
        unfit = sorted(set(str(self.root)) & set(_UNFIT) | {one for one in str(self.root) if not one.isprintable()})
        if unfit:
            raise LocalClusterError(
                f"The state dir {str(self.root)!r} has {' '.join(map(repr, unfit))} in its path, which PATH, mounts or "
                "the settings of containerd cannot hold; choose another one with --state-dir."
            )
        length = len(os.fsencode(self.root))
        if length > LONGEST_STATE_DIR:
            raise LocalClusterError(
                f"The state dir {self.root} has a path of {length} bytes, and unix sockets below it allow "
                f"{LONGEST_STATE_DIR}; choose a shorter one with --state-dir."
            )

    @property
    def state_file(self) -> Path:
        """What makes a folder a cluster of ours: identity, ports and secrets."""
        return self.root / "cluster.json"

    @property
    def lock(self) -> Path:
        """Held by whoever changes the cluster; never removed, or two could hold it."""
        return self.root / "lock"

    @property
    def bin(self) -> Path:
        """One folder with every program of this cluster, for PATH."""
        return self.root / "bin"

    @property
    def plugins(self) -> Path:
        """Velero loads every program in its plugin dir, so the plugin lies alone in one."""
        return self.root / "plugins"

    @property
    def pki(self) -> Path:
        """The API server's certificate, the key of ServiceAccount tokens, and the token file."""
        return self.root / "pki"

    @property
    def serving_certificate(self) -> Path:
        """Written by kube-apiserver at its first start; also the CA bundle of its clients."""
        return self.pki / "apiserver.crt"

    @property
    def config(self) -> Path:
        """Configuration files that are written anew by each `up`."""
        return self.root / "config"

    @property
    def run(self) -> Path:
        """One record per started process, and unix sockets."""
        return self.root / "run"

    @property
    def tmp(self) -> Path:
        """TMPDIR of the parts."""
        return self.root / "tmp"

    @property
    def home(self) -> Path:
        """HOME of the parts, so that a person's own settings of velero, temporal or aws do not leak in."""
        return self.root / "home"

    @property
    def machine_name(self) -> str:
        """What a real node puts on the machine is called so: its bridge (15 bytes at most), rules and cgroup.

        After the folder and not after the cluster in it, so that it is found where the folder was emptied.
        """
        return f"vop-{hashlib.sha256(os.fsencode(self.root)).hexdigest()[:8]}"

    @property
    def node_space(self) -> Path:
        """A real node's files that live no longer than its mounts."""
        return self.root / "node"

    @property
    def containerd_socket(self) -> Path:
        """Where a real node's containers are asked for."""
        return self.run / "containerd.sock"

    @property
    def pod_logs(self) -> Path:
        """Output of a real node's containers, by pod and container."""
        return self.root / "logs" / "pods"

    @property
    def audit_log(self) -> Path:
        """What kube-apiserver was asked, by whom."""
        return self.root / "audit" / "audit.log"

    def data(self, part: str) -> Path:
        """What `part` must find again after a restart."""
        return self.root / "data" / part

    def log(self, part: str) -> Path:
        """Output of `part`, across its restarts."""
        return self.root / "logs" / f"{part}.log"

    def record(self, part: str) -> Path:
        """The process last started as `part`."""
        return self.run / f"{part}.json"

    def kubeconfig(self, user: str) -> Path:
        """Access to the API server as `user`."""
        return self.root / "kubeconfig" / user

    def folders(self) -> tuple[Path, ...]:
        """All that must exist before parts start."""
        inner = (self.bin, self.plugins, self.pki, self.config, self.run, self.tmp, self.home)
        others = (self.audit_log.parent, self.root / "logs", self.root / "kubeconfig")
        node = (self.node_space, self.pod_logs, self.config / "cni", self.data("containerd"), self.data("kubelet"))
        parts = tuple(self.data(name) for name in ("etcd", "seaweedfs", "temporal"))
        return (self.root, *inner, *others, *node, *parts)


def cache_root() -> Path:
    """Built programs and the list of known clusters; follows the XDG base directory convention."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "vworkspace-operation-engine"

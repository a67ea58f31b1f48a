"""Which programs are built from which Go modules, and with which flags; pure.

Used by `builder`. One go.mod a family, because their versions of the Kubernetes libraries differ.
"""

import hashlib
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from local_cluster.files import MEGABYTE

MODULES = Path(__file__).parent / "programs"
GO_REQUIREMENTS = MODULES / "go-requirements.txt"

GO_ENVIRONMENT = {
    "CGO_ENABLED": "0",  # static programs, and no C compiler needed
    "GOFLAGS": "-buildvcs=false",
    "GOTOOLCHAIN": "local",  # what is on PATH or nothing: never a download behind the person's back
    "GOWORK": "off",
    "GO111MODULE": "on",
}


@dataclass(frozen=True)
class Family:
    """Programs that are built together from `programs/<name>/go.mod`."""

    name: str
    programs: tuple[str, ...]
    module: str
    minutes: int
    cold_bytes: int  # downloads, Go's build cache and the programs, measured from nothing
    node: str = ""  # the only kind of node that needs it; empty where every cluster does
    tags: str = ""

    @property
    def folder(self) -> Path:
        """Where go.mod is."""
        return MODULES / self.name


_KUBERNETES = "k8s.io/kubernetes"

FAMILIES = (
    Family("etcd", ("etcd",), "go.etcd.io/etcd/server/v3", 1, 600 * MEGABYTE),
    Family(
        "kubernetes",
        ("kube-apiserver", "kube-controller-manager", "kube-scheduler"),
        _KUBERNETES,
        4,
        3500 * MEGABYTE,
    ),
    Family(
        "velero",
        ("velero", "velero-plugin-for-aws", "velero-restore-helper"),
        "github.com/vmware-tanzu/velero",
        3,
        3000 * MEGABYTE,
    ),
    Family("kwok", ("kwok",), "sigs.k8s.io/kwok", 1, 1200 * MEGABYTE, node="kwok"),
    # Apart from `kubernetes`, so that a machine without a real node builds and keeps what it did before.
    Family("kubelet", ("kubelet",), _KUBERNETES, 1, 800 * MEGABYTE, node="real"),
    Family(
        "containerd",
        ("containerd", "containerd-shim-runc-v2", "ctr"),
        "github.com/containerd/containerd/v2",
        1,
        1500 * MEGABYTE,
        node="real",
        tags="no_btrfs,no_devmapper,no_zfs",
    ),
    Family(
        "cni",
        ("bridge", "host-local", "loopback"),
        "github.com/containernetworking/plugins",
        1,
        500 * MEGABYTE,
        node="real",
    ),
    Family(
        "local-path-provisioner",
        ("local-path-provisioner",),
        "github.com/rancher/local-path-provisioner",
        1,
        1500 * MEGABYTE,
        node="real",
    ),
)


def needed(node: str) -> tuple[Family, ...]:
    """What a cluster with that kind of node is made of."""
    return tuple(one for one in FAMILIES if one.node in ("", node))


def version(family: Family, go_mod: str) -> str:
    """The version of the family's main module, such as v1.36.3."""
    found = re.search(rf"^\s*(?:require )?{re.escape(family.module)} (v\S+)", go_mod, re.MULTILINE)
    if found is None:
        raise ValueError(f"{family.name}: go.mod requires no {family.module}")
    return found[1]


def link_flags(family: Family, go_mod: str) -> str:
    """Linker flags: stripped; for Kubernetes its version, which clients parse.

    Velero's controller library would listen on port 8080 of every address, and Velero has no flag for
    it: "0" closes it (Velero's own metrics have a port of their own).
    """
    if family.name == "velero":
        return "-s -w -X sigs.k8s.io/controller-runtime/pkg/metrics/server.DefaultBindAddress=0"
    if family.module != _KUBERNETES:
        return "-s -w"
    number = version(family, go_mod)
    major, minor, _ = number.removeprefix("v").split(".", 2)
    values = {"gitVersion": number, "gitMajor": major, "gitMinor": minor}
    return "-s -w " + " ".join(f"-X k8s.io/component-base/version.{key}={values[key]}" for key in values)


def build_arguments(family: Family, go_mod: str) -> tuple[str, ...]:
    """What follows `go build`, but for the output folder and the target."""
    tags = ("-tags", family.tags) if family.tags else ()
    return ("-trimpath", *tags, "-ldflags", link_flags(family, go_mod))


def cache_key(family: Family, go_mod: str, go_sum: str, target: str) -> str:
    """The folder name of the built programs: another source, flag or machine makes another one."""
    flags = (
        *build_arguments(family, go_mod),
        *(f"{k}={GO_ENVIRONMENT[k]}" for k in ("CGO_ENABLED", "GOFLAGS")),
    )
    parts = (go_mod, go_sum, *flags, target)
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return f"{family.name}-{digest[:16]}"


def target() -> str:
    """GOOS/GOARCH of this machine, in Go's words."""
    machine = platform.machine().lower()
    return f"linux/{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(machine, machine) }".replace(" ", "")


def needed_go(go_mod: str) -> tuple[int, ...]:
    """The least Go version that may build it, from the `go` line."""
    found = re.search(r"^go (\S+)$", go_mod, re.MULTILINE)
    return parse_go_version(found[1]) if found else (1,)


def parse_go_version(text: str) -> tuple[int, ...]:
    """The numbers in `1.26.8` or in `go version go1.26.8 linux/amd64`; (0,) where there are none."""
    found = re.search(r"(?:\bgo)?(\d+(?:\.\d+)+)", text)
    return tuple(int(number) for number in found[1].split(".")) if found else (0,)

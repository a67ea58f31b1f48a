"""What a part is: a program with its flags, ports and readiness. Values only; `cluster` runs them.

Each module of a part (control_plane, node, seaweedfs, velero, temporal) makes its parts from a Site.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from local_cluster.kube import Kube
from local_cluster.layout import Layout
from local_cluster.ports import LOOPBACK
from local_cluster.state import State


@dataclass(frozen=True)
class Site:
    """All that a part may depend on: the folders, the kept state, and where the programs are."""

    layout: Layout
    state: State
    programs: Mapping[str, Path]

    def port(self, name: str) -> int:
        """A kept port, by the name its part gave it."""
        return self.state.ports[name]

    def url(self, name: str, scheme: str = "http") -> str:
        """The server behind a kept port."""
        return f"{scheme}://{LOOPBACK}:{self.port(name)}"

    def program(self, name: str) -> str:
        """The path of a program, the first word of an argv."""
        return str(self.programs[name])

    def kube(self, user: str = "local-cluster") -> Kube:
        """The API server as one of the cluster's users sees it."""
        certificate = self.layout.serving_certificate
        return Kube(self.url("kube-apiserver", "https"), certificate, self.state.tokens[user])

    @property
    def environment(self) -> dict[str, str]:
        """A bare environment: what a person has set for aws, proxies or temporal must not reach a part."""
        return {
            "PATH": f"{self.layout.bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.layout.home),
            "TMPDIR": str(self.layout.tmp),
            "LANG": "C.UTF-8",
        }


def _nothing() -> None:
    return None


def _at_once() -> bool:
    return True


@dataclass(frozen=True)
class Part:
    """One program of the cluster.

    `needs` are parts that must be ready before `prepare` is called and the program started.
    `launcher` says what to put before `argv`: a program that becomes this one, such as nsenter.
    `ready` is polled until it is true; what an earlier run left behind must not make it so.
    """

    name: str
    argv: tuple[str, ...]
    ports: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    launcher: Callable[[], tuple[str, ...]] = tuple
    prepare: Callable[[], None] = _nothing
    ready: Callable[[], bool] = _at_once
    patience: float = 60.0

"""What a cluster keeps across restarts: identity, ports and secrets, in `cluster.json`.

Read and written by `cluster`; its presence is what makes a folder ours to wipe.
"""

import secrets
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from local_cluster.errors import LocalClusterError
from local_cluster.files import empty_folder, write_atomically
from local_cluster.layout import Layout

# Each component has a user of its own, so that RBAC and the audit log tell them apart.
# `local-cluster` is this package itself: its readiness polls must not count as the admin's requests.
USERS: Mapping[str, tuple[str, str]] = {
    "admin": ("admin", "system:masters"),
    "local-cluster": ("local-cluster", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kubelet": ("system:node:local", "system:nodes"),
    "local-path-provisioner": ("local-path-provisioner", ""),
    "kwok": ("kwok", ""),
    "velero": ("velero", ""),
}


class NodeKind(StrEnum):
    """What pods run on: containers of this machine, or nothing at all."""

    KWOK = "kwok"
    REAL = "real"


class Phase(StrEnum):
    """`WIPING` is written before the first file goes, so that a killed wipe is finished later."""

    KEPT = "Kept"
    WIPING = "Wiping"


class State(BaseModel):
    """The content of cluster.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["vworkspace-local-cluster"] = "vworkspace-local-cluster"
    version: Literal[1] = 1
    id: str
    phase: Phase = Phase.KEPT
    node: NodeKind = NodeKind.KWOK
    pod_range: str = ""  # the pods' network as CIDR, where the node is real
    ports: dict[str, int]
    tokens: dict[str, str]
    s3_access_key: str
    s3_secret_key: str


def new(ports: dict[str, int], node: NodeKind = NodeKind.KWOK, pod_range: str = "") -> State:
    """A cluster that nobody has seen before: every secret is its own."""
    return State(
        id=secrets.token_hex(8),
        ports=ports,
        node=node,
        pod_range=pod_range,
        tokens=_tokens(),
        s3_access_key=secrets.token_hex(10).upper(),
        s3_secret_key=secrets.token_urlsafe(30),
    )


def _tokens() -> dict[str, str]:
    return {name: secrets.token_urlsafe(24) for name in USERS}


def load(layout: Layout) -> State | None:
    """The kept state; None where there is no cluster yet."""
    try:
        found = State.model_validate_json(layout.state_file.read_text())
        return found if found.tokens.keys() >= USERS.keys() else _completed(layout, found)
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise LocalClusterError(
            f"{layout.state_file} cannot be read as the description of a local cluster; "
            "remove the folder by hand if it is not needed, or choose another with --state-dir.",
            str(error),
        ) from error


def _completed(layout: Layout, found: State) -> State:
    """A cluster that was made before one of the users was thought of."""
    completed = found.model_copy(update={"tokens": {**_tokens(), **found.tokens}})
    save(layout, completed)
    return completed


def save(layout: Layout, state: State) -> None:
    """Replace the kept state as a whole."""
    write_atomically(layout.state_file, state.model_dump_json(indent=1))


def require_ours(layout: Layout) -> None:
    """Refuse to work in, or wipe, a folder with content that is not a cluster of ours."""
    if not layout.root.is_dir() or layout.state_file.exists():
        return
    foreign = sorted(entry.name for entry in layout.root.iterdir() if not _harmless(entry, layout))
    if foreign:
        raise LocalClusterError(
            f"{layout.root} holds {foreign[0]} and is not the folder of a local cluster; it is left as it is: "
            "choose another folder with --state-dir."
        )


def _harmless(entry: Path, layout: Layout) -> bool:
    """What an `up` that was killed before its first state leaves behind."""
    return entry == layout.lock or (entry.name.startswith(".cluster.json.") and entry.suffix == ".tmp")


def wipe(layout: Layout, state: State) -> None:
    """Remove all that the cluster keeps; a wipe killed halfway is finished by the next `up`."""
    save(layout, state.model_copy(update={"phase": Phase.WIPING}))
    empty_folder(layout.root, keep=frozenset({layout.lock.name}), last=layout.state_file.name)

"""The application that the demo backs up: a shop with a database where pods run, else one without data."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from demo.terminal import Terminal
from local_cluster import images
from local_cluster.cluster import LocalCluster
from local_cluster.state import NodeKind

NAMESPACE = "shop"
MANIFESTS = Path(__file__).parent / "manifests"
SAMPLES = Path(__file__).parent.parent / "deploy/samples"
COUNT = "SELECT count(*) FROM orders"
CHECKSUM = "SELECT md5(string_agg(orders::text, ',' ORDER BY id)) FROM orders"
_DESCRIBING = ("data", "spec")
"""What of an object is its owner's, and the same wherever it is restored to."""


class Shop(Protocol):
    """What the demo does with its application."""

    title: str

    def deploy(self, terminal: Terminal, cluster: LocalCluster) -> Iterator[str]:
        """Have it running; lines that say so."""

    def tell_data(self, terminal: Terminal, backup: str) -> Iterator[str]:
        """What of its data is in a Velero Backup."""

    def holds(self, terminal: Terminal, namespace: str) -> str:
        """What is in it, in this namespace: two shops that hold the same say the same."""


def fitting(cluster: LocalCluster) -> Shop:
    """The one that fits the cluster's node."""
    return Database() if cluster.node is NodeKind.REAL else Pages()


class Pages:
    """Objects only: with kwok no container runs, so there is no data."""

    title = "A small application to back up"

    def deploy(self, terminal: Terminal, cluster: LocalCluster) -> Iterator[str]:
        terminal.run("kubectl", "apply", "-f", str(SAMPLES / "shop.yaml"))
        yield _rolled_out(terminal, "deployment/web")

    def tell_data(self, terminal: Terminal, backup: str) -> Iterator[str]:
        yield from ()

    def holds(self, terminal: Terminal, namespace: str) -> str:
        objects = ("deployment/web", "configmap/shop-settings", "secret/shop-database")
        found = terminal.json("kubectl", "get", *objects, "-n", namespace)["items"]
        told = [{part: one[part] for part in _DESCRIBING if part in one} for one in found]
        checksum = hashlib.md5(json.dumps(told, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
        return f"{', '.join(objects)}; checksum {checksum}"


class Database:
    """PostgreSQL with a table of orders on a volume."""

    title = "A shop: PostgreSQL with a table of orders on a volume"

    def deploy(self, terminal: Terminal, cluster: LocalCluster) -> Iterator[str]:
        cluster.load_image(images.postgres())
        terminal.run("kubectl", "apply", "-f", str(MANIFESTS / "shop.yaml"))
        yield _rolled_out(terminal, "statefulset/database")
        yield _rolled_out(terminal, "deployment/web")
        _psql(terminal, NAMESPACE, "--file", "-", typed=(MANIFESTS / "orders.sql").read_text())

    def tell_data(self, terminal: Terminal, backup: str) -> Iterator[str]:
        selector = f"velero.io/backup-name={backup}"
        found = terminal.json("kubectl", "get", "podvolumebackups", "-n", "velero", "-l", selector)["items"]
        size = sum(one["status"].get("progress", {}).get("bytesDone", 0) for one in found)
        names = ", ".join(f"{one['spec']['volume']} of pod {one['spec']['pod']['name']}" for one in found)
        yield f"the data of {len(found)} volume{'' if len(found) == 1 else 's'} ({names}), {size / 1e6:.1f} MB"

    def holds(self, terminal: Terminal, namespace: str) -> str:
        count, checksum = _psql(terminal, namespace, "--command", COUNT, "--command", CHECKSUM).split()
        return f"{int(count):,} orders, checksum {checksum}"


def await_gone_if_going(terminal: Terminal) -> None:
    """Until a namespace that a run before was losing is gone: nothing can be applied in it."""
    found = terminal.run(
        "kubectl", "get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "jsonpath={.status.phase}"
    )
    if found == "Terminating":
        terminal.run("kubectl", "wait", "--for=delete", f"namespace/{NAMESPACE}", "--timeout=90s")


def _rolled_out(terminal: Terminal, workload: str) -> str:
    told = terminal.run("kubectl", "rollout", "status", workload, "-n", NAMESPACE, "--timeout=90s")
    return told.splitlines()[-1]


def _psql(terminal: Terminal, namespace: str, *arguments: str, typed: str | None = None) -> str:
    pod = ("kubectl", "exec", "-i", "-n", namespace, "database-0", "--container", "postgres", "--")
    quiet = ("psql", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1")
    return terminal.run(*pod, *quiet, *arguments, typed=typed)

"""The application that the demo backs up: a shop with a database where pods run, else one without data."""

from collections.abc import Iterator, Sequence
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

Hint = tuple[str, str]
"""A command, and why somebody would type it."""


class Shop(Protocol):
    """What the demo does with its application."""

    title: str

    def deploy(self, terminal: Terminal, cluster: LocalCluster) -> Iterator[str]:
        """Have it running; lines that say so."""

    def tell_data(self, terminal: Terminal, backup: str) -> Iterator[str]:
        """What of its data is in a Velero Backup."""

    def hints(self, backup: str) -> Sequence[Hint]:
        """What to try with a Velero Backup of it."""


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

    def hints(self, backup: str) -> Sequence[Hint]:
        restore = f"velero restore create --from-backup {backup} --namespace-mappings shop:shop-copy --wait"
        return ((restore, "the backup is real: the shop again, in another namespace"),)


class Database:
    """PostgreSQL with a table of orders on a volume."""

    title = "A shop: PostgreSQL with a table of orders on a volume"

    def deploy(self, terminal: Terminal, cluster: LocalCluster) -> Iterator[str]:
        cluster.load_image(images.postgres())
        terminal.run("kubectl", "apply", "-f", str(MANIFESTS / "shop.yaml"))
        yield _rolled_out(terminal, "statefulset/database")
        yield _rolled_out(terminal, "deployment/web")
        _psql(terminal, "--file", "-", typed=(MANIFESTS / "orders.sql").read_text())
        yield f"{int(_psql(terminal, '--command', COUNT)):,} rows in table orders"

    def tell_data(self, terminal: Terminal, backup: str) -> Iterator[str]:
        selector = f"velero.io/backup-name={backup}"
        found = terminal.json("kubectl", "get", "podvolumebackups", "-n", "velero", "-l", selector)["items"]
        size = sum(one["status"].get("progress", {}).get("bytesDone", 0) for one in found)
        names = ", ".join(f"{one['spec']['volume']} of pod {one['spec']['pod']['name']}" for one in found)
        yield f"the data of {len(found)} volume{'' if len(found) == 1 else 's'} ({names}), {size / 1e6:.1f} MB"

    def hints(self, backup: str) -> Sequence[Hint]:
        count = f"kubectl exec -n {NAMESPACE} database-0 -- psql --command '{COUNT}'"
        rollout = f"kubectl rollout status -n {NAMESPACE} statefulset/database --timeout=60s"
        return (
            (f"kubectl delete namespace {NAMESPACE}", "the shop is gone, and its volume with it"),
            (f"velero restore create --from-backup {backup} --wait", "it comes back from the bucket"),
            (f"{rollout} && {count}", "and so do its orders"),
        )


def _rolled_out(terminal: Terminal, workload: str) -> str:
    told = terminal.run("kubectl", "rollout", "status", workload, "-n", NAMESPACE, "--timeout=90s")
    return told.splitlines()[-1]


def _psql(terminal: Terminal, *arguments: str, typed: str | None = None) -> str:
    quiet = ("psql", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1")
    return terminal.run("kubectl", "exec", "-i", "-n", NAMESPACE, "database-0", "--", *quiet, *arguments, typed=typed)

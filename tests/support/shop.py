"""The demo's shop in a namespace of a test: PostgreSQL with a table of orders on a volume."""

from pathlib import Path
from typing import Any

import yaml
from support.kube import Kubectl

MANIFESTS = Path(__file__).parents[2] / "demo/manifests"
ORDERS = 20_000
READY_WITHIN = "--timeout=90s"

_SUM = "SELECT count(*) || ' orders ' || md5(string_agg(orders::text, ',' ORDER BY id)) FROM orders"


def manifests(namespace: str) -> list[dict[str, Any]]:
    """The shop's objects for this namespace, which exists."""
    found = [one for one in yaml.safe_load_all((MANIFESTS / "shop.yaml").read_text()) if one["kind"] != "Namespace"]
    for one in found:
        one["metadata"]["namespace"] = namespace
    return found


class Shop:
    """A shop, running or being restored."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self._kubectl, self.namespace = kubectl, namespace

    def open(self) -> None:
        """Have it running, with its orders."""
        self._kubectl.apply(*manifests(self.namespace))
        self.await_ready()
        self.psql("--file", "-", typed=(MANIFESTS / "orders.sql").read_text())

    def await_ready(self) -> None:
        for workload in ("statefulset/database", "deployment/web"):
            self._kubectl("rollout", "status", workload, "-n", self.namespace, READY_WITHIN)

    def psql(self, *arguments: str, typed: str | None = None) -> str:
        """What psql in the database's container prints; raises AssertionError where the database objects."""
        plain = ("psql", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1")
        command = ("exec", "-i", "-n", self.namespace, "database-0", "--container", "postgres", "--", *plain)
        return self._kubectl(*command, *arguments, input=typed).stdout.strip()

    def orders(self) -> str:
        """How many there are, and a checksum of all that is in them."""
        return self.psql("--command", _SUM)

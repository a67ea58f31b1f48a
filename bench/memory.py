"""What an open Operation costs: many that wait for a Velero that does not run."""

import json
import time
from dataclasses import dataclass

from bench.latency import operation
from bench.requests import requests_per_operation
from bench.stack import Stack

NAMESPACE = "bench-open"
QUIET_S = 30.0


@dataclass(frozen=True)
class Memory:
    """Resident memory before and with the Operations open, and the load they make while waiting."""

    idle_mb: float
    open_mb: float
    per_operation_kb: float
    controller_mb: float
    requests_per_s: float


def memory(built: Stack, count: int) -> Memory:
    """Open `count` Operations and look at the worker."""
    built.cluster.stop("velero")
    idle = built.resident_mb("worker")
    _open(built, count)
    opened = built.resident_mb("worker")
    before = requests_per_operation(built)
    time.sleep(QUIET_S)
    quiet = requests_per_operation(built, before) / QUIET_S
    return Memory(idle, opened, (opened - idle) * 1024 / count, built.resident_mb("controller"), quiet)


def _open(built: Stack, count: int) -> None:
    labels = {"app.vworkspace.io/managed-by": "vworkspace"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    items = [namespace, *(operation(NAMESPACE, f"open-{number}") for number in range(count))]
    built.command("kubectl", "apply", "-f", "-", given="\n---\n".join(json.dumps(item) for item in items))
    built.command(
        "kubectl", "wait", "operation", "--all", "-n", NAMESPACE, "--timeout=300s",
        "--for=jsonpath={.status.step}=FollowBackup",
    )  # fmt: skip

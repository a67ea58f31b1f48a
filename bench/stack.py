"""A cluster of its own for the benchmarks, with the engine as controller and worker processes on it."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local_cluster.cluster import LocalCluster

ROOT = Path(__file__).parent.parent
VOP = str(Path(sys.executable).with_name("vop"))
ENGINE_USER = "system:serviceaccount:vworkspace-system:operation-engine"
_PORTS = {"worker": 18091, "controller": 18092}


@dataclass(frozen=True)
class Stack:
    """The cluster under measurement and the environment of its commands."""

    cluster: LocalCluster
    env: Mapping[str, str]

    def command(self, *argv: str, given: str | None = None, check: bool = True) -> str:
        """Run a command against the cluster and return what it printed."""
        done = subprocess.run(argv, env=self.env, input=given, capture_output=True, text=True, check=False)
        if check and done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stderr}")
        return done.stdout

    def resident_mb(self, part: str) -> float:
        """Resident memory of one of the engine's processes."""
        pid = self.cluster.pid(part)
        status = Path(f"/proc/{pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024


@contextmanager
def stack() -> Iterator[Stack]:
    """Bring it all up, and take it down again."""
    with tempfile.TemporaryDirectory(prefix="vop-bench-") as folder:
        cluster = LocalCluster(Path(folder))
        try:
            cluster.up(node="kwok")
            built = Stack(cluster, {**os.environ, **cluster.env()})
            _furnish(built, Path(folder))
            yield built
        finally:
            cluster.down()


def _furnish(built: Stack, folder: Path) -> None:
    built.command("kubectl", "apply", "-f", str(ROOT / "deploy/crds"), "-f", str(ROOT / "deploy/rbac.yaml"))
    built.command("kubectl", "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    built.command(VOP, "setup")
    kubeconfig = folder / "engine.kubeconfig"
    kubeconfig.write_text(built.cluster.kubeconfig_for("vworkspace-system/operation-engine"))
    for part, port in _PORTS.items():
        settings = {"KUBECONFIG": str(kubeconfig), "VOP_HTTP_PORT": str(port), "VOP_LOG_LEVEL": "warning"}
        built.cluster.run(part, [VOP, part], settings)
        _await_ready(port)


def _await_ready(port: int) -> None:
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except urllib.error.HTTPError:
            pass
        except OSError:
            pass
        time.sleep(0.1)

"""The engine under test: its real processes, with the rights that deploy/ grants and no others."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from support.kube import Kubectl

from local_cluster.cluster import LocalCluster

ROOT = Path(__file__).parents[2]
VOP = str(Path(sys.executable).with_name("vop"))
SERVICE_ACCOUNT = "vworkspace-system/operation-engine"
READY_WITHIN_S = 60.0


def furnish(cluster: LocalCluster) -> None:
    """Have what the engine needs in a cluster: its definitions, its rights, its Temporal namespace."""
    kubectl = Kubectl(cluster.env())
    kubectl("apply", "-f", str(ROOT / "deploy/crds"), "-f", str(ROOT / "deploy/rbac.yaml"))
    kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    subprocess.run([VOP, "setup"], env={**os.environ, **cluster.env()}, check=True, timeout=60)


class Engine:
    """Processes of the engine on a local cluster, each by a name of its own."""

    def __init__(self, cluster: LocalCluster, kubeconfig: Path, settings: Mapping[str, str] | None = None) -> None:
        self._cluster, self._kubeconfig = cluster, kubeconfig
        self._settings = dict(settings or {})
        self._ports: dict[str, int] = {}

    def start(self, name: str, *command: str, **settings: str) -> None:
        """Have `vop COMMAND` running as `name`, and wait until it is ready. Started already, it is left alone."""
        if self._cluster.pid(name) is not None:
            return
        port = self._ports.setdefault(name, _free_port())
        env = {
            **self._settings,
            **settings,
            "KUBECONFIG": str(self._kubeconfig),
            "VOP_HTTP_PORT": str(port),
            "VOP_LOG_FORMAT": "json",
        }
        self._cluster.run(name, [VOP, *command], env)
        self._await_ready(name)

    def stop(self, name: str) -> None:
        """SIGTERM, as a rollout would."""
        self._cluster.stop(name)

    def kill(self, name: str) -> None:
        """SIGKILL, as a crash would."""
        self._cluster.kill(name)

    def running(self, name: str) -> bool:
        return self._cluster.pid(name) is not None

    def url(self, name: str, path: str) -> str:
        return f"http://127.0.0.1:{self._ports[name]}{path}"

    def get(self, name: str, path: str) -> tuple[int, str]:
        """Status and text of one of a process's own pages; status 0 where nobody answers."""
        try:
            with urllib.request.urlopen(self.url(name, path), timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def logs(self, name: str) -> str:
        return self._cluster.logs(name)

    def _await_ready(self, name: str) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while (answer := self.get(name, "/readyz"))[0] != 200:
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} is not ready: {answer[1]}\n{self.logs(name)[-3000:]}")
            time.sleep(0.05)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

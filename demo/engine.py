"""The engine beside the demo's cluster: one process, with the rights that deploy/rbac.yaml grants and no others."""

import http.client
import socket
import sys
import time
from pathlib import Path

from demo.terminal import DemoError
from local_cluster import procfs
from local_cluster.cluster import LocalCluster
from local_cluster.files import write_atomically

NAME = "engine"
SERVICE_ACCOUNT = "vworkspace-system/operation-engine"
VOP = str(Path(sys.executable).with_name("vop"))
READY_WITHIN_S = 60.0
_PORT = "VOP_HTTP_PORT"
_PACKAGES = ("operation_engine", "workflows", "activities", "controller")


def start(cluster: LocalCluster, root: Path) -> str:
    """Have the engine running and ready: one that runs with this code is left alone. Its address, for /metrics."""
    kubeconfig = cluster.layout.kubeconfig("operation-engine")
    write_atomically(kubeconfig, cluster.kubeconfig_for(SERVICE_ACCOUNT))
    port = _port(cluster)
    settings = {
        "KUBECONFIG": str(kubeconfig),
        _PORT: str(port),
        "VOP_LOG_FORMAT": "text",
        # Nobody is here to sign an approval: docs/restore.md says what an installation does.
        "VOP_APPROVALS_MODE": "Optional",
        "VOP_DEMO_CODE": _code(root),
    }
    cluster.run(NAME, [VOP, "run"], settings, root)
    _await_ready(cluster, port)
    return f"http://127.0.0.1:{port}"


def require_alive(cluster: LocalCluster) -> None:
    """Raises DemoError with the engine's last words where it does not run any more."""
    if cluster.pid(NAME) is None:
        raise DemoError("The engine has ended.", cluster.logs(NAME, 15))


def _await_ready(cluster: LocalCluster, port: int) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while missing := _missing(port):
        require_alive(cluster)
        if time.monotonic() > deadline:
            raise DemoError(f"The engine is not ready after {READY_WITHIN_S:.0f} s: {missing}", cluster.logs(NAME, 15))
        time.sleep(0.1)


def _missing(port: int) -> str:
    """What the engine says is not ready yet; nothing where it is."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return "" if answer.status == http.client.OK else answer.read().decode(errors="replace").strip()
    except OSError as error:
        return str(error)
    finally:
        connection.close()


def _port(cluster: LocalCluster) -> int:
    """The running engine's own port, so that it counts as the same; else a free one."""
    pid = cluster.pid(NAME)
    if pid is not None and (port := procfs.environment(pid).get(_PORT)):
        return int(port)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _code(root: Path) -> str:
    """Changes with every edit of the product: an engine with older code is replaced."""
    files = (path for package in _PACKAGES for path in (root / package).rglob("*.py"))
    return str(max(path.stat().st_mtime_ns for path in files))

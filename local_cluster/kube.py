"""The few requests this package makes to its own API server, and the kubeconfigs it writes.

Used by the parts for what must exist before Velero and pods can work, and for readiness.
Plain HTTPS keeps a warm `up` fast: each kubectl would cost a tenth of a second.
"""

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import yaml

from local_cluster.errors import LocalClusterError
from local_cluster.files import wait_until, write_atomically

Json = dict[str, Any]
_MANAGER = "local-cluster"


def http_ok(url: str, context: ssl.SSLContext | None = None, token: str = "") -> bool:
    """Whether a GET answers 2xx; never through a proxy, for everything here is on loopback."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with _open(_request(url, headers), context) as answer:
            return bool(200 <= answer.status < 300)
    except (OSError, HTTPException):
        return False


def _request(url: str, headers: Mapping[str, str], method: str = "GET") -> urllib.request.Request:
    """A request to one of our servers; no URL comes from anywhere else."""
    return urllib.request.Request(url, headers=dict(headers), method=method)  # noqa: S310


def _open(request: urllib.request.Request, context: ssl.SSLContext | None) -> Any:
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if context:
        handlers.append(urllib.request.HTTPSHandler(context=context))
    return urllib.request.build_opener(*handlers).open(request, timeout=10)


@dataclass(frozen=True)
class Kube:
    """Access to the API server as one user."""

    server: str
    certificate: Path
    token: str

    def ready(self) -> bool:
        """Whether it serves, with all its start-up work done."""
        try:
            return http_ok(f"{self.server}/readyz", self._context(), self.token)
        except OSError:  # its certificate is not there yet, or half of it
            return False

    def get(self, path: str) -> Json | None:
        """The object at `path`; None where it is not there, or the server is not."""
        try:
            return self._send("GET", path)
        except (OSError, HTTPException):
            return None

    def apply(self, wanted: Mapping[str, Any], patience: float = 10) -> None:
        """Server-side apply; waits where a kind was defined a moment ago and is not served yet."""
        refusal: list[str] = []

        def applied() -> bool:
            try:
                path = f"{object_path(wanted)}?fieldManager={_MANAGER}&force=true"
                self._send("PATCH", path, wanted, "application/apply-patch+yaml")
            except urllib.error.HTTPError as error:
                refusal[:] = [error.read().decode(errors="replace")[:500]]
                return False
            except (OSError, HTTPException) as error:
                refusal[:] = [str(error)]
                return False
            return True

        if not wait_until(applied, patience):
            name = wanted["metadata"]["name"]
            raise LocalClusterError(f"The API server refuses {wanted['kind']} {name}.", refusal[0])

    def merge(self, path: str, change: Mapping[str, Any]) -> None:
        """Merge-patch the object at `path`; null removes a field."""
        try:
            self._send("PATCH", path, change, "application/merge-patch+json")
        except OSError as error:
            raise LocalClusterError(f"The API server refuses to change {path}.", str(error)) from error

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None = None, kind: str = "") -> Json:
        headers = {"Authorization": f"Bearer {self.token}", "User-Agent": _MANAGER}
        request = _request(self.server + path, headers, method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", kind)
        with _open(request, self._context()) as answer:
            result: Json = json.load(answer)
            return result


def object_path(wanted: Mapping[str, Any]) -> str:
    """The URL path of an object; every kind applied here has a regular plural."""
    version, metadata = wanted["apiVersion"], wanted["metadata"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    kind = wanted["kind"].lower()
    plural = f"{kind}es" if kind.endswith("s") else f"{kind}s"
    return f"{root}{namespace}/{plural}/{urllib.parse.quote(metadata['name'])}"


def kubeconfig(server: str, certificate: Path, user: str, token: str) -> str:
    """A kubeconfig that stands alone: it may be copied out of the state dir."""
    authority = b64encode(certificate.read_bytes()).decode()
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "local",
        "clusters": [{"name": "local", "cluster": {"server": server, "certificate-authority-data": authority}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": user, "namespace": "default"}}],
    }
    return str(yaml.safe_dump(content, sort_keys=False))


def write_kubeconfig(path: Path, kube: Kube, user: str) -> None:
    """Write the access of `kube` for `user` to `path`, readable by its owner alone."""
    write_atomically(path, kubeconfig(kube.server, kube.certificate, user, kube.token))


def admin_binding(user: str) -> Json:
    """Let a component's user do everything, as its own installer would."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"local-cluster-{user}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }

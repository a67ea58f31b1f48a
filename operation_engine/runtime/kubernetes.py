"""The one way to the API server: plain objects by path, and errors in this project's own words.

Used by records, activities and the controller. Plain dicts come back; whoever calls parses them into a value at once.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException

from operation_engine.runtime.telemetry import get_logger

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
FIELD_MANAGER = "vworkspace-operation-engine"
REQUEST_TIMEOUT_S = 10.0
# For some seconds after its start an API server answers 403 to everyone whose roles it has not read yet.
_FORBIDDEN_PAUSES_S = (0.2, 0.5, 1.0, 2.0)
_TERMINATING = "because it is being terminated"
_RETRY_S = 2.0
_log = get_logger(__name__)

Manifest = dict[str, Any]


class KubernetesError(Exception):
    """The API server said no, or could not be asked. `status` is the HTTP status, 0 without an answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Unavailable(KubernetesError):
    """Worth trying again: 5xx, 429, no answer."""


class NotFound(KubernetesError):
    """The object, or its whole kind, is not there."""


class Conflict(KubernetesError):
    """Somebody else wrote first, or the object exists already (409)."""


class Gone(KubernetesError):
    """The resourceVersion is too old to watch from (410): list again."""


class Refused(KubernetesError):
    """A verdict: the request is wrong or forbidden, and stays so."""


class Forbidden(Refused):
    """403: the engine lacks a right (`vop doctor` names it)."""


@dataclass(frozen=True)
class Resource:
    """A kind of object by its place in the API."""

    group: str
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The path of an object or a list. Raises NotFound for what can be no name: `../` would lead elsewhere."""
        for part in (namespace, name):
            if part and not _NAME.fullmatch(part):
                raise NotFound(f"{part[:80]!r} can be no name of an object of {self.plural}", 404)
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if namespace is not None:
            parts.append(f"namespaces/{namespace}")
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


OPERATIONS = Resource("ops.vworkspace.io", "v1alpha1", "operations")
APPLICATION_INSTANCES = Resource("apps.vworkspace.io", "v1alpha1", "applicationinstances")
NAMESPACES = Resource("", "v1", "namespaces")
EVENTS = Resource("events.k8s.io", "v1", "events")
BACKUPS = Resource("velero.io", "v1", "backups")
BACKUP_STORAGE_LOCATIONS = Resource("velero.io", "v1", "backupstoragelocations")
DOWNLOAD_REQUESTS = Resource("velero.io", "v1", "downloadrequests")
POD_VOLUME_BACKUPS = Resource("velero.io", "v1", "podvolumebackups")
DATA_UPLOADS = Resource("velero.io", "v2alpha1", "datauploads")
VOLUME_SNAPSHOT_CLASSES = Resource("snapshot.storage.k8s.io", "v1", "volumesnapshotclasses")


class KubernetesApi:
    """Verbs on plain objects. Every call has a timeout; every failure is a KubernetesError."""

    def __init__(self, api_client: client.ApiClient) -> None:
        self._client = api_client

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Manifest:
        return await self._call("GET", resource.path(namespace, name))

    async def list(self, resource: Resource, namespace: str | None = None, **query: str) -> Manifest:
        return await self._call("GET", resource.path(namespace), query=query)

    async def create(self, resource: Resource, body: Mapping[str, Any], namespace: str | None = None) -> Manifest:
        return await self._call("POST", resource.path(namespace), body, {"fieldManager": FIELD_MANAGER})

    async def replace_status(self, resource: Resource, name: str, namespace: str, body: Mapping[str, Any]) -> Manifest:
        """PUT the status subresource; `metadata.resourceVersion` in the body makes it a compare-and-swap."""
        path = resource.path(namespace, name, "status")
        return await self._call("PUT", path, body, {"fieldManager": FIELD_MANAGER})

    async def delete(self, resource: Resource, name: str, namespace: str | None = None) -> None:
        await self._call("DELETE", resource.path(namespace, name))

    async def watch(
        self, resource: Resource, namespace: str | None, resource_version: str, timeout_s: int, selector: str = ""
    ) -> AsyncIterator[tuple[str, Manifest]]:
        """Events (type, object) from a resourceVersion on, until the server ends the stream after `timeout_s`.

        Raises Gone when the version is too old. The client's own bound lies above the server's, or a half-open
        connection would hang for ever.
        """
        query = {
            "watch": "true",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(timeout_s),
            "labelSelector": selector,
        }
        response = await self._open("GET", resource.path(namespace), None, query, timeout_s + 15.0)
        try:
            async for event in _events(response):
                yield event
        finally:
            response.close()

    async def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, query: Mapping[str, str] | None = None
    ) -> Manifest:
        for pause in _FORBIDDEN_PAUSES_S:
            try:
                return await self._call_once(method, path, body, query or {})
            except Forbidden:
                await asyncio.sleep(pause)
        return await self._call_once(method, path, body, query or {})

    async def _call_once(
        self, method: str, path: str, body: Mapping[str, Any] | None, query: Mapping[str, str]
    ) -> Manifest:
        response = await self._open(method, path, body, query, REQUEST_TIMEOUT_S)
        try:
            content = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"{method} {path}: the answer broke off ({error!r})") from error
        finally:
            response.release()
        result: Manifest = json.loads(content) if content else {}
        return result

    async def _open(
        self, method: str, path: str, body: Mapping[str, Any] | None, query: Mapping[str, str], timeout_s: float
    ) -> aiohttp.ClientResponse:
        params = await self._client.param_serialize(
            method=method,
            resource_path=path,
            query_params=[(key, value) for key, value in query.items() if value],
            header_params={"Accept": "application/json"} | ({"Content-Type": "application/json"} if body else {}),
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            wrapped = await self._client.call_api(*params, _request_timeout=timeout_s)
        except ApiException as error:
            raise _translated(method, path, error.status or 0, str(error.body or error.reason)) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"{method} {path}: no answer from the API server ({error!r})") from error
        response: aiohttp.ClientResponse = wrapped.response
        if response.status >= 400:
            raise _translated(method, path, response.status, await response.text())
        return response


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Manifest]]:
    try:
        async for line in response.content:
            event = json.loads(line)
            if event["type"] == "ERROR":
                status = event["object"]
                raise _translated("WATCH", "", int(status.get("code", 0)), str(status.get("message", "")))
            yield event["type"], event["object"]
    except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
        raise Unavailable(f"the watch broke off ({error!r})") from error


_KINDS: Mapping[int, type[KubernetesError]] = {
    0: Unavailable,
    401: Unavailable,  # tokens are renewed in the background; a wrong one is for `vop doctor` to tell
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    429: Unavailable,
}


def _translated(method: str, path: str, status: int, body: str) -> KubernetesError:
    kind = _KINDS.get(status, Unavailable if status >= 500 else Refused)
    if status == 403 and _TERMINATING in body:
        kind = Refused  # no right is missing, and none will come
    return kind(f"{method} {path}: {_message(body)}", status)


def _message(body: str) -> str:
    try:
        return str(json.loads(body).get("message", body))[:500]
    except (ValueError, AttributeError):
        return body[:500]


class NoCredentials(Exception):
    """There is no way to the API server; the text says what to set."""


@asynccontextmanager
async def connect() -> AsyncIterator[KubernetesApi]:
    """A connection by KUBECONFIG, or by the pod's service account. Raises NoCredentials."""
    configuration = client.Configuration()
    await _load(configuration)
    # Watches and long lists share the pool with short calls; the default of 100 sockets would queue them.
    configuration.connection_pool_maxsize = 0
    async with client.ApiClient(configuration) as api_client:
        yield KubernetesApi(api_client)


async def _load(configuration: client.Configuration) -> None:
    try:
        await config.load_kube_config(client_configuration=configuration)
    except config.ConfigException as outside:
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException as inside:
            raise NoCredentials(
                f"No way to the API server: set KUBECONFIG to a usable file ({outside}), or run in a pod ({inside})."
            ) from None


async def cluster_id_patiently(api: KubernetesApi) -> str:
    """`cluster_id`, however long the API server takes to come up or to grant the right."""
    while True:
        try:
            return await cluster_id(api)
        except KubernetesError as error:
            _log.warning("the API server does not serve yet", error=str(error))
            await asyncio.sleep(_RETRY_S)


async def cluster_id(api: KubernetesApi) -> str:
    """What tells this cluster from others that share a bucket: the uid of kube-system, which lives as long."""
    return str((await api.get(NAMESPACES, "kube-system"))["metadata"]["uid"])

"""The one way to the API server: plain objects by path, and errors in this project's own words.

Used by records, activities and the controller. Plain dicts come back; whoever calls parses them into a value at once.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client.exceptions import ApiException

from operation_engine.runtime.telemetry import get_logger

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
FIELD_MANAGER = "vworkspace-operation-engine"
REQUEST_TIMEOUT_S = 10.0
# For some seconds after its start an API server answers 403 to everyone whose roles it has not read yet.
_FORBIDDEN_PAUSES_S = (0.2, 0.5, 1.0, 2.0)
_JSON = "application/json"
_MERGE_PATCH = "application/merge-patch+json"
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_DISCOVERY = ",".join(
    f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" for version in ("v2", "v2beta1")
)
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
CONFIG_MAPS = Resource("", "v1", "configmaps")
SECRETS = Resource("", "v1", "secrets")
PODS = Resource("", "v1", "pods")
PVCS = Resource("", "v1", "persistentvolumeclaims")
PVS = Resource("", "v1", "persistentvolumes")
DEPLOYMENTS = Resource("apps", "v1", "deployments")
STATEFUL_SETS = Resource("apps", "v1", "statefulsets")
DAEMON_SETS = Resource("apps", "v1", "daemonsets")
REPLICA_SETS = Resource("apps", "v1", "replicasets")
JOBS = Resource("batch", "v1", "jobs")
CRON_JOBS = Resource("batch", "v1", "cronjobs")
WORKLOADS = (DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS, REPLICA_SETS, JOBS, CRON_JOBS)
SERVICES = Resource("", "v1", "services")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts")
INGRESSES = Resource("networking.k8s.io", "v1", "ingresses")
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies")
AUTOSCALERS = Resource("autoscaling", "v2", "horizontalpodautoscalers")
DISRUPTION_BUDGETS = Resource("policy", "v1", "poddisruptionbudgets")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings")
LEFTOVER_KINDS: Mapping[str, Resource] = {
    "v1/Pod": PODS,
    "v1/PersistentVolumeClaim": PVCS,
    "v1/Service": SERVICES,
    "v1/ServiceAccount": SERVICE_ACCOUNTS,
    "v1/ConfigMap": CONFIG_MAPS,
    "v1/Secret": SECRETS,
    "apps/v1/Deployment": DEPLOYMENTS,
    "apps/v1/StatefulSet": STATEFUL_SETS,
    "apps/v1/DaemonSet": DAEMON_SETS,
    "apps/v1/ReplicaSet": REPLICA_SETS,
    "batch/v1/Job": JOBS,
    "batch/v1/CronJob": CRON_JOBS,
    "networking.k8s.io/v1/Ingress": INGRESSES,
    "networking.k8s.io/v1/NetworkPolicy": NETWORK_POLICIES,
    "autoscaling/v2/HorizontalPodAutoscaler": AUTOSCALERS,
    "policy/v1/PodDisruptionBudget": DISRUPTION_BUDGETS,
    "rbac.authorization.k8s.io/v1/Role": ROLES,
    "rbac.authorization.k8s.io/v1/RoleBinding": ROLE_BINDINGS,
}
"""What a retried restore may delete of the attempt before it, by the names of Velero's resource lists."""
DERIVED_KINDS = (
    Resource("", "v1", "endpoints"),
    Resource("discovery.k8s.io", "v1", "endpointslices"),
    Resource("apps", "v1", "controllerrevisions"),
)
"""What controllers make beside workloads and Services, and backups hold: a plan looks for it."""
HELM_RELEASES = Resource("helm.toolkit.fluxcd.io", "v2", "helmreleases")
EVENTS = Resource("events.k8s.io", "v1", "events")
BACKUPS = Resource("velero.io", "v1", "backups")
RESTORES = Resource("velero.io", "v1", "restores")
BACKUP_STORAGE_LOCATIONS = Resource("velero.io", "v1", "backupstoragelocations")
DOWNLOAD_REQUESTS = Resource("velero.io", "v1", "downloadrequests")
POD_VOLUME_BACKUPS = Resource("velero.io", "v1", "podvolumebackups")
POD_VOLUME_RESTORES = Resource("velero.io", "v1", "podvolumerestores")
DATA_UPLOADS = Resource("velero.io", "v2alpha1", "datauploads")
DATA_DOWNLOADS = Resource("velero.io", "v2alpha1", "datadownloads")
VOLUME_SNAPSHOT_CLASSES = Resource("snapshot.storage.k8s.io", "v1", "volumesnapshotclasses")


class KubernetesApi:
    """Verbs on plain objects. Every call has a timeout; every failure is a KubernetesError."""

    def __init__(self, api_client: client.ApiClient) -> None:
        self._client = api_client

    @property
    def host(self) -> str:
        """The API server's host, by name or address."""
        return urlsplit(self._client.configuration.host).hostname or ""

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Manifest:
        return await self._call("GET", resource.path(namespace, name))

    async def list(self, resource: Resource, namespace: str | None = None, **query: str) -> Manifest:
        return await self._call("GET", resource.path(namespace), query=query)

    async def create(
        self, resource: Resource, body: Mapping[str, Any], namespace: str | None = None, *, only_try: bool = False
    ) -> Manifest:
        """Create an object; with `only_try` the API server checks and defaults it, and keeps nothing."""
        query = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All", "fieldValidation": "Strict"} if only_try else {})
        return await self._call("POST", resource.path(namespace), body, query)

    async def discovery(self) -> Sequence[Manifest]:
        """The kinds that are served: the core's, then those of the groups (`domain.discovery` reads them)."""
        return [await self._call("GET", path, accept=_DISCOVERY) for path in ("/api", "/apis")]

    async def replace_status(self, resource: Resource, name: str, namespace: str, body: Mapping[str, Any]) -> Manifest:
        """PUT the status subresource; `metadata.resourceVersion` in the body makes it a compare-and-swap."""
        path = resource.path(namespace, name, "status")
        return await self._call("PUT", path, body, {"fieldManager": FIELD_MANAGER})

    async def merge_patch(
        self, resource: Resource, name: str, body: Mapping[str, Any], namespace: str | None = None
    ) -> Manifest:
        """Merge-patch an object (RFC 7386: None removes a key); a `metadata.resourceVersion` in it makes it a CAS."""
        path = resource.path(namespace, name)
        return await self._call("PATCH", path, body, {"fieldManager": FIELD_MANAGER}, content_type=_MERGE_PATCH)

    async def list_metadata(self, resource: Resource, namespace: str | None = None, **query: str) -> Sequence[Manifest]:
        """The objects without spec, data and status: what is in a Secret never reaches the engine."""
        answer = await self._call("GET", resource.path(namespace), query=query, accept=_METADATA_ONLY)
        return tuple(answer.get("items") or ())

    async def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str | None = None,
    ) -> None:
        """Delete an object; with `uid` only that one and never a namesake (Conflict). `propagation`: Foreground, …"""
        options: Manifest = {"apiVersion": "v1", "kind": "DeleteOptions"}
        wanted = {"uid": uid, "resourceVersion": resource_version}
        preconditions = {key: value for key, value in wanted.items() if value}
        options |= {"preconditions": preconditions} if preconditions else {}
        options |= {"propagationPolicy": propagation} if propagation else {}
        await self._call("DELETE", resource.path(namespace, name), options)

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
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        *,
        accept: str = _JSON,
        content_type: str = _JSON,
    ) -> Manifest:
        headers = {"Accept": accept} | ({"Content-Type": content_type} if body else {})
        for pause in _FORBIDDEN_PAUSES_S:
            try:
                return await self._call_once(method, path, body, query or {}, headers)
            except Forbidden:
                await asyncio.sleep(pause)
        return await self._call_once(method, path, body, query or {}, headers)

    async def _call_once(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, str],
        headers: Mapping[str, str],
    ) -> Manifest:
        response = await self._open(method, path, body, query, REQUEST_TIMEOUT_S, headers)
        try:
            content = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"{method} {path}: the answer broke off ({error!r})") from error
        finally:
            response.release()
        result: Manifest = json.loads(content) if content else {}
        return result

    async def _open(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        query: Mapping[str, str],
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        params = await self._client.param_serialize(
            method=method,
            resource_path=path,
            query_params=[(key, value) for key, value in query.items() if value],
            header_params=dict(headers or {"Accept": _JSON}),
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
    except (config.ConfigException, OSError) as outside:
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

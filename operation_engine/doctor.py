"""`vop doctor`: asks everything the engine stands on, and says what to do about each fault. Changes nothing."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.service import RPCError

from operation_engine.domain.velero import observe_storage_location
from operation_engine.runtime.kubernetes import (
    APPLICATION_INSTANCES,
    BACKUP_STORAGE_LOCATIONS,
    BACKUPS,
    CONFIG_MAPS,
    DATA_DOWNLOADS,
    DATA_UPLOADS,
    DERIVED_KINDS,
    DOWNLOAD_REQUESTS,
    EVENTS,
    HELM_RELEASES,
    LEFTOVER_KINDS,
    NAMESPACES,
    OPERATIONS,
    POD_VOLUME_BACKUPS,
    POD_VOLUME_RESTORES,
    PVS,
    RESTORES,
    SERVICES,
    VOLUME_SNAPSHOT_CLASSES,
    KubernetesApi,
    KubernetesError,
    NotFound,
    Resource,
)
from operation_engine.runtime.settings import Settings
from operation_engine.runtime.temporal import connect, missing_search_attributes

_MOVERS = (POD_VOLUME_BACKUPS, DATA_UPLOADS, POD_VOLUME_RESTORES, DATA_DOWNLOADS)
_REVIEWS = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews")
STALE_AFTER = timedelta(minutes=5)
"""Velero looks at its locations every minute, unless it was told otherwise."""
APPLY_RIGHTS = "apply deploy/rbac.yaml and run the engine as the service account in it"


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, the fault or None, and what to do about it."""

    subject: str
    fault: str | None = None
    advice: str = ""


@dataclass(frozen=True)
class Right:
    """One right that the engine needs."""

    verb: str
    resource: Resource
    namespace: str | None = None
    subresource: str = ""

    def __str__(self) -> str:
        plural = f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.verb} {plural}.{self.resource.group or 'core'}{where}"


def rights(velero: str, engine: str) -> list[Right]:
    """Every right that the engine uses, given Velero's namespace and its own; deploy/rbac.yaml grants no others."""
    return [*_own_rights(engine), *_velero_rights(velero), *_cluster_rights()]


def _own_rights(engine: str) -> list[Right]:
    return [Right("get", CONFIG_MAPS, engine), Right("create", CONFIG_MAPS, engine)]


def _cluster_rights() -> list[Right]:
    """In tenants' namespaces, and on what has none."""
    listed = (*LEFTOVER_KINDS.values(), *DERIVED_KINDS, HELM_RELEASES)
    deleted = tuple(LEFTOVER_KINDS.values())
    return [
        Right("list", OPERATIONS),
        Right("watch", OPERATIONS),
        Right("get", OPERATIONS),
        Right("update", OPERATIONS, subresource="status"),
        Right("get", APPLICATION_INSTANCES),
        Right("get", NAMESPACES),
        Right("create", NAMESPACES),
        Right("get", VOLUME_SNAPSHOT_CLASSES),
        Right("get", PVS),
        Right("get", SERVICES),
        Right("create", EVENTS),
        *(Right("list", resource) for resource in listed),
        *(Right("delete", resource) for resource in deleted),
        Right("get", HELM_RELEASES),
        Right("patch", HELM_RELEASES),
    ]


def _velero_rights(velero: str) -> list[Right]:
    return [
        Right("get", BACKUPS, velero),
        Right("list", BACKUPS, velero),
        Right("watch", BACKUPS, velero),
        Right("create", BACKUPS, velero),
        Right("get", RESTORES, velero),
        Right("list", RESTORES, velero),
        Right("watch", RESTORES, velero),
        Right("create", RESTORES, velero),
        Right("delete", RESTORES, velero),
        Right("create", CONFIG_MAPS, velero),
        Right("patch", CONFIG_MAPS, velero),
        Right("list", BACKUP_STORAGE_LOCATIONS, velero),
        Right("watch", BACKUP_STORAGE_LOCATIONS, velero),
        *(Right(verb, kind, velero) for verb in ("list", "watch", "patch") for kind in _MOVERS),
        Right("create", DOWNLOAD_REQUESTS, velero),
        Right("list", DOWNLOAD_REQUESTS, velero),
        Right("watch", DOWNLOAD_REQUESTS, velero),
    ]


async def examine(settings: Settings, api: KubernetesApi) -> AsyncIterator[Finding]:
    """Findings, in the order in which things stand on each other."""
    server = await _api_server(api)
    yield server
    if server.fault is None:
        yield await _listed("CRD of Operations", api, OPERATIONS, None, "kubectl apply -f deploy/crds/")
        yield await _known("CRD of ApplicationInstances", api, APPLICATION_INSTANCES)
        yield await _rights(settings, api)
        install = "install Velero, or set VOP_VELERO_NAMESPACE to where it is"
        yield await _listed("Velero", api, BACKUPS, settings.velero_namespace, install)
        yield await _storage_location(settings, api)
    yield await _temporal(settings)


async def _api_server(api: KubernetesApi) -> Finding:
    subject = "API server"
    try:
        await api.get(NAMESPACES, "kube-system")
    except KubernetesError as error:
        if error.status == 0:
            return Finding(subject, str(error), "check KUBECONFIG, and that the cluster runs")
        if error.status == 401:
            return Finding(subject, str(error), "the credentials in KUBECONFIG are not valid (any more): renew them")
        if error.status != 403:
            return Finding(subject, str(error), "read the API server's log")
    return Finding(subject)


async def _listed(subject: str, api: KubernetesApi, resource: Resource, namespace: str | None, advice: str) -> Finding:
    try:
        await api.list(resource, namespace, limit="1")
    except NotFound:
        return Finding(subject, f"the cluster does not know {resource.plural}.{resource.group}", advice)
    except KubernetesError as error:
        return Finding(subject, str(error), APPLY_RIGHTS)
    return Finding(subject)


async def _known(subject: str, api: KubernetesApi, resource: Resource) -> Finding:
    """By a name that nobody has: the engine may get these, and has no need to list them."""
    try:
        await api.get(resource, "vop-doctor-asks", "default")
    except NotFound as error:
        if "vop-doctor-asks" not in str(error).partition(": ")[2]:
            return Finding(subject, f"the cluster does not know {resource.plural}", "kubectl apply -f deploy/crds/")
    except KubernetesError as error:
        return Finding(subject, str(error), APPLY_RIGHTS)
    return Finding(subject)


async def _rights(settings: Settings, api: KubernetesApi) -> Finding:
    try:
        missing = [
            str(right)
            for right in rights(settings.velero_namespace, settings.engine_namespace)
            if not await is_allowed(api, right)
        ]
    except KubernetesError as error:
        return Finding("permissions", str(error), "see the lines above")
    if not missing:
        return Finding("permissions")
    return Finding("permissions", f"may not {', '.join(missing)}", APPLY_RIGHTS)


async def is_allowed(api: KubernetesApi, right: Right) -> bool:
    attributes = {
        "verb": right.verb,
        "group": right.resource.group,
        "resource": right.resource.plural,
        "subresource": right.subresource,
        "namespace": right.namespace or "",
    }
    body = {
        "apiVersion": _REVIEWS.api_version,
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = await api.create(_REVIEWS, body)
    return bool(answer["status"]["allowed"])


async def _storage_location(settings: Settings, api: KubernetesApi) -> Finding:
    subject = "storage location"
    try:
        listed = await api.list(BACKUP_STORAGE_LOCATIONS, settings.velero_namespace)
    except KubernetesError as error:
        return Finding(subject, str(error), "see the lines above")
    locations = [observe_storage_location(item) for item in listed["items"]]
    default = next((location for location in locations if location.default), None)
    if default is None:
        return Finding(
            subject, "no BackupStorageLocation is the default one", "velero backup-location set NAME --default"
        )
    if default.last_validated_at is not None and datetime.now(UTC) - default.last_validated_at > STALE_AFTER:
        since = f"{default.name} was last validated at {default.last_validated_at:%H:%M:%S} UTC"
        return Finding(subject, since, "Velero's server does not seem to run: kubectl get pods -n velero")
    if default.phase != "Available":
        why = default.message or "Velero has not validated it: is its server running?"
        return Finding(
            subject, f"{default.name} is {default.phase or 'not validated'}: {why}", "check bucket and credentials"
        )
    return Finding(subject)


async def _temporal(settings: Settings) -> Finding:
    subject = "Temporal"
    try:
        client = await connect(settings)
        missing = await missing_search_attributes(client)
    except (RPCError, RuntimeError) as error:
        if "not found" in str(error).lower():
            return Finding(subject, f"there is no namespace {settings.temporal_namespace}", "run `vop setup`")
        advice = "check TEMPORAL_ADDRESS, and that Temporal runs"
        return Finding(subject, f"{settings.temporal_address} does not answer: {error}", advice)
    if missing:
        return Finding(subject, f"search attributes are missing: {', '.join(missing)}", "run `vop setup`")
    return Finding(subject)

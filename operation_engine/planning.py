"""`vop plan`: what an Operation would do, looked up with the caller's own rights. Only DownloadRequests are made."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from temporalio.client import Client

from operation_engine.doctor import Right, is_allowed
from operation_engine.domain.plans import Plan
from operation_engine.domain.resources.operation import API_VERSION, Operation
from operation_engine.runtime.kubernetes import (
    BACKUP_STORAGE_LOCATIONS,
    BACKUPS,
    DOWNLOAD_REQUESTS,
    NAMESPACES,
    OPERATIONS,
    Conflict,
    Forbidden,
    KubernetesApi,
    KubernetesError,
    NotFound,
)
from operation_engine.runtime.settings import Settings
from operation_engine.worker import planning

INSTEAD = (
    "Whoever has those rights reads every backup of the installation. Without them set spec.policy.dryRun: true in "
    "an Operation: the engine then makes the plan of your own namespace, and writes it into the Operation's status."
)


class NoPlan(Exception):
    """There is no plan to be had; the text says why."""


async def plan(api: KubernetesApi, client: Client, settings: Settings, operation: Operation) -> Plan:
    """The plan of an Operation. Raises NoPlan."""
    try:
        await _check_rights(api, settings.velero_namespace)
        async with planning(settings, client, api) as planner:
            return await planner.plan(operation)
    except Forbidden as error:
        raise NoPlan(f"You lack a right: {error}. {INSTEAD}") from error
    except KubernetesError as error:
        raise NoPlan(str(error)) from error


async def existing(api: KubernetesApi, name: str) -> Operation:
    """The Operation `NAMESPACE/NAME`. Raises NoPlan."""
    namespace, slash, own = name.partition("/")
    if not (namespace and slash and own):
        raise NoPlan(f"{name} is not NAMESPACE/NAME.")
    try:
        return Operation.from_api(await api.get(OPERATIONS, own, namespace))
    except NotFound as error:
        raise NoPlan(f"There is no Operation {own} in namespace {namespace}.") from error
    except KubernetesError as error:
        raise NoPlan(str(error)) from error


async def from_file(api: KubernetesApi, path: Path) -> Operation:
    """The Operation of a manifest as the API server would keep it; it keeps nothing. Raises NoPlan."""
    manifest = _manifest(path)
    namespace = (manifest.get("metadata") or {}).get("namespace") or "default"
    try:
        return Operation.from_api(await api.create(OPERATIONS, manifest, namespace, only_try=True))
    except Conflict as error:
        name = manifest["metadata"].get("name")
        raise NoPlan(f"There is an Operation {name} already: vop plan {namespace}/{name} plans that one.") from error
    except KubernetesError as error:
        raise NoPlan(f"The API server would refuse {path}: {error}") from error


def _manifest(path: Path) -> Mapping[str, Any]:
    try:
        found = [document for document in yaml.safe_load_all(path.read_text()) if document]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise NoPlan(f"{path} cannot be read: {error}") from error
    operations = [
        document
        for document in found
        if isinstance(document, Mapping)
        and (document.get("apiVersion"), document.get("kind")) == (API_VERSION, "Operation")
    ]
    if len(operations) != 1:
        raise NoPlan(f"{path} holds {len(operations)} Operations of {API_VERSION}; a plan is of one.")
    return operations[0]


async def _check_rights(api: KubernetesApi, velero: str) -> None:
    missing = [str(right) for right in rights(velero) if not await is_allowed(api, right)]
    if missing:
        raise NoPlan(f"For a plan you may not yet {', '.join(missing)}. {INSTEAD}")


def rights(velero: str) -> list[Right]:
    """What a person needs whatever the plan; deploy/planner.yaml grants it, with what tells more."""
    return [
        Right("get", NAMESPACES),
        Right("get", BACKUPS, velero),
        Right("list", BACKUPS, velero),
        Right("list", BACKUP_STORAGE_LOCATIONS, velero),
        Right("watch", BACKUP_STORAGE_LOCATIONS, velero),
        Right("create", DOWNLOAD_REQUESTS, velero),
        Right("list", DOWNLOAD_REQUESTS, velero),
        Right("watch", DOWNLOAD_REQUESTS, velero),
    ]

"""An API server in memory: as much of one as keeping an Operation needs, resourceVersions included.

A fake of what is outside, so that the store and the activities on Operations run as they are.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from operation_engine.domain.resources.operation_status import OperationStatus
from operation_engine.runtime.kubernetes import EVENTS, OPERATIONS, Conflict, NotFound, Resource

Manifest = dict[str, Any]
_Key = tuple[Resource, str | None, str]


class MemoryApi:
    """What `KubernetesApi` offers to the store, over a dict; every status that was ever written is kept by uid."""

    def __init__(self) -> None:
        self._objects: dict[_Key, Manifest] = {}
        self._version = 0
        self._written = asyncio.Condition()
        self.statuses: defaultdict[str, list[OperationStatus]] = defaultdict(list)

    def put(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Create or replace an object, whoever it belonged to."""
        meta = manifest["metadata"]
        return self._store((resource, meta.get("namespace"), meta["name"]), manifest)

    def remove(self, resource: Resource, name: str, namespace: str | None = None) -> None:
        del self._objects[(resource, namespace, name)]

    def peek(self, resource: Resource, name: str, namespace: str | None = None) -> Manifest:
        return deepcopy(self._objects[(resource, namespace, name)])

    async def until(self, uid: str, wanted: Callable[[OperationStatus], bool], within_s: float) -> None:
        """Wait for a status of an Operation that is as wanted."""
        async with asyncio.timeout(within_s), self._written:
            await self._written.wait_for(lambda: bool(self.statuses[uid]) and wanted(self.statuses[uid][-1]))

    def events(self, uid: str) -> list[Manifest]:
        """The Events that regard an Operation, in the order of their numbers."""
        found = [o for (r, _, _), o in self._objects.items() if r == EVENTS and o["regarding"]["uid"] == uid]
        return sorted(found, key=event_number)

    async def get(self, resource: Resource, name: str, namespace: str | None = None) -> Manifest:
        try:
            return deepcopy(self._objects[(resource, namespace, name)])
        except KeyError:
            raise NotFound(f"{resource.plural} {name} not found", 404) from None

    async def create(self, resource: Resource, body: Manifest, namespace: str | None = None) -> Manifest:
        key = (resource, namespace, body["metadata"]["name"])
        if key in self._objects:
            raise Conflict(f"{resource.plural} {key[2]} exists", 409)
        return self._store(key, body)

    async def replace_status(self, resource: Resource, name: str, namespace: str, body: Manifest) -> Manifest:
        live = await self.get(resource, name, namespace)
        if live["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise Conflict(f"{resource.plural} {name} has been modified", 409)
        status = deepcopy(body["status"])
        if resource == OPERATIONS:
            self.statuses[live["metadata"]["uid"]].append(OperationStatus.from_api(status))
            async with self._written:
                self._written.notify_all()
        return self._store((resource, namespace, name), {**live, "status": status})

    def _store(self, key: _Key, manifest: Manifest) -> Manifest:
        self._version += 1
        stored = deepcopy(manifest)
        stored["metadata"]["resourceVersion"] = str(self._version)
        self._objects[key] = stored
        return deepcopy(stored)


def event_number(event: Manifest) -> int:
    """The transition's number, which is the last part of the Event's name."""
    return int(event["metadata"]["name"].rpartition(".")[2])


def managed_namespace(name: str) -> Manifest:
    """A namespace that the engine serves."""
    labels = {"app.vworkspace.io/managed-by": "vworkspace"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "uid": f"uid-{name}", "labels": labels}}

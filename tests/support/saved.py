"""A namespace whose data was backed up by an Operation, and copies of it that go into namespaces which agree."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.kube import Kubectl, Operations, backup, restore
from support.world import VELERO, fresh_namespace

Json = dict[str, Any]
WITH_DATA = {"defaultVolumesToFsBackup": True}
END_WITHIN_S = 110
_TO, _FROM = "ops.vworkspace.io/restore-to", "ops.vworkspace.io/restore-from"
_NIGHTLY = "nightly"


class Saved:
    """The Operation `nightly` has succeeded in the namespace."""

    def __init__(self, kubectl: Kubectl, operations: Operations, namespace: str, parameters: Json = WITH_DATA) -> None:
        self._kubectl, self._operations, self.namespace = kubectl, operations, namespace
        kubectl.apply(backup(namespace, _NIGHTLY, parameters=parameters))
        self.status: Json = operations.await_end(namespace, _NIGHTLY, within_s=END_WITHIN_S)["status"]
        assert self.status["phase"] == "Succeeded", self.status["message"]

    @contextmanager
    def destination(self) -> Iterator[str]:
        """An empty namespace, with the consent of both sides to a copy."""
        with fresh_namespace(self._kubectl) as name:
            self._kubectl("annotate", "namespace", name, f"{_FROM}={self.namespace}")
            self._kubectl("annotate", "namespace", self.namespace, f"{_TO}={name}", "--overwrite")
            yield name

    def begin(self, destination: str, *, backup_name: str = _NIGHTLY, **spec: Any) -> str:
        """Ask for a restore into that namespace; the name of the Operation, which is one of the source."""
        name = f"restore-{uuid.uuid4().hex[:6]}"
        parameters = {**spec.pop("parameters", {})}
        if destination != self.namespace:
            parameters["namespaceMapping"] = {self.namespace: destination}
        self._kubectl.apply(restore(self.namespace, backup_name, name, parameters=parameters, **spec))
        return name

    def get(self, name: str) -> Json:
        """The Operation as it is now."""
        return self._operations.get(self.namespace, name)

    def await_path(self, name: str, path: str, value: str | None = None) -> Json:
        """The Operation once a JSONPath of it has a value, or this one."""
        return self._operations.await_path(self.namespace, name, path, value)

    def await_end(self, name: str, within_s: int = END_WITHIN_S) -> Json:
        """The status with which the Operation ended."""
        return dict(self._operations.await_end(self.namespace, name, within_s=within_s)["status"])

    def await_question(self, name: str, attempt: int = 1, within_s: int = END_WITHIN_S) -> Json:
        """The status in which it waits for a person's word about this attempt."""
        where = (self.namespace, name)
        self._operations.await_path(*where, "{.status.attempt}", str(attempt), within_s=within_s)
        found = self._operations.await_path(*where, "{.status.reason}", "AwaitingDecision", within_s=within_s)
        return dict(found["status"])

    def into(self, destination: str, **spec: Any) -> Json:
        """The status of a restore into that namespace that has ended."""
        return self.await_end(self.begin(destination, **spec))

    def restores(self, name: str) -> list[Json]:
        """Every Velero Restore that was made for the Operation, oldest first."""
        uid = self._operations.get(self.namespace, name)["metadata"]["uid"]
        selector = f"ops.vworkspace.io/operation={uid}"
        found: list[Json] = self._kubectl.json("get", "restores.velero.io", "-n", VELERO, "-l", selector)["items"]
        return sorted(found, key=lambda one: one["metadata"]["name"])


def step(status: Json, name: str) -> Json:
    """One step of an Operation's status."""
    return next(dict(one) for one in status["steps"] if one["name"] == name)

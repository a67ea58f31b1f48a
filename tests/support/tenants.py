"""Tenants: users bound to a namespace of their own, and to what RBAC gives them there."""

import shlex
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from support.kube import Kubectl, Operations, backup, restore
from support.world import MANAGED, config_map

Json = dict[str, Any]

TO, FROM = "ops.vworkspace.io/restore-to", "ops.vworkspace.io/restore-from"
RBAC = "rbac.authorization.k8s.io"
_OPERATIONS = {"apiGroups": ["ops.vworkspace.io"], "resources": ["operations"]}


@dataclass(frozen=True)
class Tenant:
    """A user who makes and reads Operations in the own namespace, and annotates that namespace."""

    user: str
    namespace: str
    uid: str

    @property
    def grant(self) -> list[Json]:
        """What lets the tenant give consent: its own Namespace, by name, and no other."""
        rules = [
            {
                "apiGroups": [""],
                "resources": ["namespaces"],
                "resourceNames": [self.namespace],
                "verbs": ["get", "patch"],
            }
        ]
        return [
            {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": self.user}, "rules": rules},
            {
                "apiVersion": f"{RBAC}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": self.user},
                "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": self.user},
                "subjects": [{"apiGroup": RBAC, "kind": "User", "name": self.user}],
            },
        ]


@contextmanager
def tenant(kubectl: Kubectl, name: str | None = None) -> Iterator[Tenant]:
    """A tenant with a namespace and a ConfigMap `settings` in it, for as long as the block lasts."""
    name = name or f"t-{uuid.uuid4().hex[:8]}"
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": MANAGED}})
    uid = kubectl.json("get", "namespace", name)["metadata"]["uid"]
    found = Tenant(f"user-{uuid.uuid4().hex[:6]}", name, uid)
    rules = [{**_OPERATIONS, "verbs": ["create", "get", "list", "watch"]}]
    meta = {"name": "tenant", "namespace": name}
    subjects = [{"apiGroup": RBAC, "kind": "User", "name": found.user}]
    role = {"apiGroup": RBAC, "kind": "Role", "name": "tenant"}
    kubectl.apply(
        {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": meta, "rules": rules},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": role,
            "subjects": subjects,
        },
        *found.grant,
        config_map(name, "settings"),
    )
    try:
        yield found
    finally:
        kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")
        kubectl("delete", f"clusterrole/{found.user}", f"clusterrolebinding/{found.user}", "--ignore-not-found")


class Restoring:
    """Backups and Restores as tenants make them."""

    def __init__(self, kubectl: Kubectl, operations: Operations) -> None:
        self._kubectl, self._operations = kubectl, operations

    def backed_up(self, who: Tenant, name: str = "nightly") -> str:
        """The Velero Backup that a tenant's Operation made."""
        self._kubectl.apply(backup(who.namespace, name), as_user=who.user)
        status = self._operations.await_end(who.namespace, name)["status"]
        assert status["phase"] == "Succeeded", status["message"]
        return str(status["outputs"]["backupName"])

    def lost(self, who: Tenant, name: str = "nightly") -> str:
        """The same, and afterwards the tenant loses something."""
        made = self.backed_up(who, name)
        self._kubectl("delete", "configmap", "settings", "-n", who.namespace)
        return made

    def asked(self, who: Tenant, backup_name: str, name: str = "restore", **spec: Any) -> None:
        self._kubectl.apply(restore(who.namespace, backup_name, name, **spec), as_user=who.user)

    def ended(self, who: Tenant, backup_name: str, name: str = "restore", **spec: Any) -> Json:
        """The status with which a tenant's Restore ended."""
        self.asked(who, backup_name, name, **spec)
        status: Json = self._operations.await_end(who.namespace, name)["status"]
        return status

    def refused(self, reason: str, who: Tenant, backup_name: str, name: str = "restore", **spec: Any) -> str:
        """The message of a Restore that was refused for this reason; nothing was made for it."""
        status = self.ended(who, backup_name, name, **spec)
        assert (status["phase"], status["reason"]) == ("Failed", reason), status["message"]
        assert not status.get("attempts")
        return str(status["message"])

    def runs(self, message: str, user: str | None = None, *, check: bool = True) -> str:
        """A user, or the administrator, runs to the letter what a refusal names; what kubectl complained of."""
        commands = message[message.index(": kubectl ") + 2 :].split(" && ")
        done = [self._kubectl(*shlex.split(command)[1:], as_user=user, check=check) for command in commands]
        return "".join(one.stderr for one in done)


def elsewhere(source: Tenant, destination: Tenant) -> Json:
    return {"namespaceMapping": {source.namespace: destination.namespace}}

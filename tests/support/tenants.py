"""Tenants: users bound to a namespace of their own, and to what RBAC gives them there."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from support.kube import Kubectl
from support.world import MANAGED, config_map

Json = dict[str, Any]

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

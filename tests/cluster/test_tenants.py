"""Tenants as users bound to their own namespace: what they may ask for, and that nothing they write reaches further."""

import uuid
from typing import Any

import pytest
from support.engine import Engine
from support.kube import Kubectl, Operations, backup

INSTANCE = "apps.vworkspace.io/v1alpha1"


@pytest.fixture
def tenant(kubectl: Kubectl, app: str) -> str:
    """A user who may make and read Operations in the namespace `app`, and nothing else anywhere."""
    user = f"tenant-{uuid.uuid4().hex[:6]}"
    rules = [
        {"apiGroups": ["ops.vworkspace.io"], "resources": ["operations"], "verbs": ["create", "get", "list", "watch"]},
        {"apiGroups": ["events.k8s.io", ""], "resources": ["events"], "verbs": ["list"]},
    ]
    meta = {"name": "tenant", "namespace": app}
    rbac = "rbac.authorization.k8s.io"
    kubectl.apply(
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": meta, "rules": rules},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "tenant"},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": user}],
        },
    )
    return user


def test_a_tenant_backs_up_its_own_namespace_and_reads_what_came_of_it(
    engine: Engine, kubectl: Kubectl, operations: Operations, app: str, tenant: str
) -> None:
    kubectl.apply(backup(app), as_user=tenant)

    ended = operations.await_end(app)

    assert ended["status"]["phase"] == "Succeeded", ended["status"]["message"]
    assert "Succeeded" in kubectl("get", "operations", "-n", app, as_user=tenant).stdout
    assert "OperationSucceeded" in kubectl("describe", "operation", "-n", app, "backup", as_user=tenant).stdout


def test_a_tenant_makes_no_operation_in_another_s_namespace(
    engine: Engine, kubectl: Kubectl, namespace: str, tenant: str
) -> None:
    done = kubectl.apply(backup("default"), as_user=tenant, check=False)

    assert done.returncode != 0
    assert "forbidden" in done.stderr.lower()


def test_a_tenant_does_not_write_the_status_of_its_operation(kubectl: Kubectl, app: str, tenant: str) -> None:
    kubectl.apply(backup(app), as_user=tenant)
    patch = '{"status":{"phase":"Succeeded"}}'

    done = kubectl(
        "patch", "operation", "backup", "-n", app, "--subresource=status", "--type=merge", "-p", patch,
        as_user=tenant, check=False,
    )  # fmt: skip

    assert done.returncode != 0
    assert "forbidden" in done.stderr.lower()


@pytest.mark.parametrize("name", ["../../../../../../api/v1/namespaces/default", "web?watch=true", "%2e%2e", "web#x"])
@pytest.mark.parametrize("field", ["target", "class"])
def test_names_that_would_lead_elsewhere_are_refused_by_the_api_server(
    kubectl: Kubectl, app: str, tenant: str, name: str, field: str
) -> None:
    spec: dict[str, Any] = (
        {"targetRef": {"apiVersion": INSTANCE, "kind": "ApplicationInstance", "name": name}}
        if field == "target"
        else {"parameters": {"csiSnapshotClassName": name}}
    )

    done = kubectl.apply(backup(app, **spec), as_user=tenant, check=False)

    assert done.returncode != 0
    assert "spec.targetRef.name" in done.stderr or "spec.parameters.csiSnapshotClassName" in done.stderr

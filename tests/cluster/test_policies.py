"""Who may approve, decide, restore and consent, where deploy/policies.yaml is applied: verbs of their own, by RBAC.

As users with the roles of deploy/people.yaml and no others.
"""

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.engine import Engine
from support.kube import Kubectl, Operations, backup, restore
from support.world import fresh_namespace

from local_cluster.files import wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"
RBAC = "rbac.authorization.k8s.io"
As = Callable[..., str]
"""Makes a user with these ClusterRoles in the namespace."""


@pytest.fixture(scope="module")
def policies(kubectl: Kubectl) -> Iterator[None]:
    """In force: the API server takes a moment to read them, and then refuses what it let pass before."""
    kubectl("apply", "-f", str(DEPLOY / "policies.yaml"), "-f", str(DEPLOY / "people.yaml"))
    own = {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "patch"]}
    kubectl.apply({"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": "probe"}, "rules": [own]})
    kubectl("create", "clusterrolebinding", "probe", "--clusterrole=probe", "--user=probe")

    def in_force() -> bool:
        """The policy that was applied last; they are read in one go."""
        what = ("annotate", "namespace", "default", "ops.vworkspace.io/restore-to=nowhere", "--overwrite")
        done = kubectl(*what, "--dry-run=server", check=False, as_user="probe")
        return "may not give consent" in done.stderr

    try:
        assert wait_until(in_force, 30, every=0.3)
        yield
    finally:
        kubectl("delete", "clusterrole/probe", "clusterrolebinding/probe")
        kubectl("delete", "-f", str(DEPLOY / "policies.yaml"), "-f", str(DEPLOY / "people.yaml"))


@pytest.fixture
def other(kubectl: Kubectl) -> Iterator[str]:
    with fresh_namespace(kubectl) as name:
        yield name


@pytest.fixture
def as_(kubectl: Kubectl, namespace: str, policies: None) -> Iterator[As]:
    made: list[str] = []

    def user(*roles: str, patches_namespace: bool = False) -> str:
        name = f"user-{uuid.uuid4().hex[:6]}"
        made.append(name)
        subjects = [{"apiGroup": RBAC, "kind": "User", "name": name}]
        for role in roles:
            kubectl.apply(
                {
                    "apiVersion": f"{RBAC}/v1",
                    "kind": "RoleBinding",
                    "metadata": {"name": f"{name}-{role}", "namespace": namespace},
                    "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
                    "subjects": subjects,
                }
            )
        if patches_namespace:
            rule = {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": [namespace]}
            meta = {"name": name}
            kubectl.apply(
                {
                    "apiVersion": f"{RBAC}/v1",
                    "kind": "ClusterRole",
                    "metadata": meta,
                    "rules": [{**rule, "verbs": ["get", "patch"]}],
                },
                {
                    "apiVersion": f"{RBAC}/v1",
                    "kind": "ClusterRoleBinding",
                    "metadata": meta,
                    "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": name},
                    "subjects": subjects,
                },
            )
        return name

    yield user
    for name in made:
        kubectl("delete", f"clusterrole/{name}", f"clusterrolebinding/{name}", "--ignore-not-found")


def patched(kubectl: Kubectl, namespace: str, user: str, body: dict[str, Any], name: str = "backup") -> str:
    """What kubectl says of a merge patch by a user; nothing where it went through."""
    done = kubectl(
        "patch", "operation", name, "-n", namespace, "--type=merge", "-p", json.dumps(body), check=False, as_user=user
    )
    return "" if done.returncode == 0 else done.stderr


def annotated(kubectl: Kubectl, user: str, *what: str) -> str:
    done = kubectl("annotate", *what, "--overwrite", check=False, as_user=user)
    return "" if done.returncode == 0 else done.stderr


def test_who_asks_does_not_approve(kubectl: Kubectl, namespace: str, as_: As) -> None:
    operator = as_("vworkspace-operator")
    kubectl.apply(backup(namespace, approvals={"required": True}), as_user=operator)
    for approvals in ({"approvedBy": operator}, {"claim": "vws1.e30.00"}, {"required": False}):
        refusal = patched(kubectl, namespace, operator, {"spec": {"approvals": approvals}})
        assert f"spec.approvals: {operator} may not approve here" in refusal, approvals
    refusal = patched(kubectl, namespace, operator, {"spec": {"approvals": None}})
    assert "may not approve here" in refusal


def test_nobody_is_born_approved(kubectl: Kubectl, namespace: str, as_: As) -> None:
    operator = as_("vworkspace-operator")
    done = kubectl.apply(backup(namespace, approvals={"approvedBy": operator}), as_user=operator, check=False)
    assert "may not approve here" in done.stderr


def test_an_approver_approves_in_the_own_name_and_in_no_other(kubectl: Kubectl, namespace: str, as_: As) -> None:
    approver = as_("vworkspace-approver")
    kubectl.apply(backup(namespace, approvals={"required": True}))
    refusal = patched(kubectl, namespace, approver, {"spec": {"approvals": {"approvedBy": "the-boss"}}})
    assert f"spec.approvals.approvedBy: must be {approver}" in refusal
    assert patched(kubectl, namespace, approver, {"spec": {"approvals": {"approvedBy": approver}}}) == ""


def test_an_approver_of_one_namespace_approves_in_no_other(
    kubectl: Kubectl, namespace: str, other: str, as_: As
) -> None:
    approver = as_("vworkspace-approver")
    kubectl(
        *("create", "rolebinding", approver, "-n", other, f"--user={approver}", "--clusterrole=vworkspace-operator")
    )
    kubectl.apply(backup(other, approvals={"required": True}))
    refusal = patched(kubectl, other, approver, {"spec": {"approvals": {"approvedBy": approver}}})
    assert f"in namespace {other}" in refusal


@pytest.mark.parametrize("verb", ["retry", "abort"])
def test_to_decide_takes_a_right_of_its_own(kubectl: Kubectl, namespace: str, as_: As, verb: str) -> None:
    operator, approver = as_("vworkspace-operator"), as_("vworkspace-approver")
    kubectl.apply(backup(namespace))
    what = ("operation", "backup", "-n", namespace, f"ops.vworkspace.io/{verb}=1")
    assert f"{approver} may not decide about it" in annotated(kubectl, approver, *what)
    assert annotated(kubectl, approver, "operation", "backup", "-n", namespace, "note=hello") == ""
    assert annotated(kubectl, operator, *what) == ""


def test_to_cancel_another_s_operation_takes_the_same(kubectl: Kubectl, namespace: str, as_: As) -> None:
    operator, approver = as_("vworkspace-operator"), as_("vworkspace-approver")
    kubectl.apply(backup(namespace))
    cancel = {"spec": {"cancel": True}}
    assert f"{approver} may not decide about it" in patched(kubectl, namespace, approver, cancel)
    assert patched(kubectl, namespace, operator, cancel) == ""


def test_to_restore_takes_a_right_of_its_own(kubectl: Kubectl, namespace: str, as_: As) -> None:
    kubectl(
        *("create", "role", "backs-up", "-n", namespace, "--verb=create,get,patch"),
        *("--resource=operations.ops.vworkspace.io",),
    )
    clerk, operator = as_(), as_("vworkspace-operator")
    kubectl("create", "rolebinding", clerk, "-n", namespace, f"--user={clerk}", "--role=backs-up")
    kubectl.apply(backup(namespace), as_user=clerk)
    refused = kubectl.apply(restore(namespace, "some"), as_user=clerk, check=False)
    assert f"spec.type: {clerk} may not restore here" in refused.stderr
    kubectl.apply(restore(namespace, "some"), as_user=operator)


@pytest.mark.parametrize("key", ["restore-to", "restore-from"])
def test_consent_takes_a_right_of_its_own_and_taking_it_back_does_not(
    kubectl: Kubectl, namespace: str, as_: As, key: str
) -> None:
    clerk = as_("vworkspace-operator", patches_namespace=True)
    owner = as_("vworkspace-consenter", patches_namespace=True)
    what = ("namespace", namespace, f"ops.vworkspace.io/{key}=elsewhere")
    assert f"{clerk} may not give consent for this namespace" in annotated(kubectl, clerk, *what)
    assert annotated(kubectl, clerk, "namespace", namespace, "note=hello") == ""
    assert annotated(kubectl, owner, *what) == ""
    assert annotated(kubectl, clerk, "namespace", namespace, f"ops.vworkspace.io/{key}-") == ""


def test_a_target_in_another_namespace_is_refused_at_once(kubectl: Kubectl, namespace: str, policies: None) -> None:
    elsewhere = {"apiVersion": "v1", "kind": "Namespace", "name": "elsewhere"}
    done = kubectl.apply(backup(namespace, targetRef=elsewhere), check=False)
    assert f"a Namespace target names the Operation's own namespace, {namespace}" in done.stderr


def test_the_engine_goes_on_working_under_them(
    engine: Engine, kubectl: Kubectl, operations: Operations, app: str, policies: None
) -> None:
    kubectl.apply(backup(app))
    assert operations.await_end(app)["status"]["phase"] == "Succeeded"
    kubectl("delete", "configmap,deployment", "--all", "-n", app)
    kubectl.apply(restore(app, "backup"))
    ended = operations.await_end(app, "restore")
    assert ended["status"]["phase"] == "Succeeded", ended["status"]["message"]

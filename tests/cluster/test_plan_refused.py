"""Plans and dry runs of what would be refused, and of those who may not ask: told in one sentence, nothing leaks."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.engine import ROOT, Engine
from support.kube import Kubectl, Operations, backup, restore
from support.planned import fates, plan, vop
from support.tenants import Tenant, tenant
from support.world import config_map

from local_cluster.cluster import LocalCluster

Json = dict[str, Any]
DRY = {"policy": {"dryRun": True}}


@pytest.fixture
def ann(kubectl: Kubectl) -> Iterator[Tenant]:
    with tenant(kubectl) as found:
        yield found


@pytest.fixture
def bob(kubectl: Kubectl) -> Iterator[Tenant]:
    with tenant(kubectl) as found:
        yield found


@pytest.fixture
def env(cluster: LocalCluster, engine: Engine) -> dict[str, str]:
    """An administrator's, with the engine's settings."""
    return {**cluster.env(), "VOP_APPROVALS_MODE": "Optional"}


def backed_up(kubectl: Kubectl, operations: Operations, who: Tenant) -> str:
    kubectl.apply(config_map(who.namespace, "jewels"))
    kubectl.apply(backup(who.namespace, "nightly"), as_user=who.user)
    return str(operations.await_end(who.namespace, "nightly")["status"]["outputs"]["backupName"])


def planned(env: dict[str, str], tmp_path: Path, manifest: Json, code: int = 3) -> Json:
    path = tmp_path / "operation.yaml"
    path.write_text(json.dumps(manifest))
    return plan(env, "-f", str(path), code=code)


def dry(kubectl: Kubectl, operations: Operations, who: Tenant, manifest: Json) -> Json:
    """The status of a tenant's dry run."""
    kubectl.apply(manifest, as_user=who.user)
    return dict(operations.await_end(who.namespace, manifest["metadata"]["name"])["status"])


def test_a_backup_that_is_not_there(
    env: dict[str, str], tmp_path: Path, kubectl: Kubectl, operations: Operations, ann: Tenant
) -> None:
    found = planned(env, tmp_path, restore(ann.namespace, "lost"))
    assert found["verdict"]["reason"] == "BackupNotFound"
    assert found["failsAt"] == "FindBackup"
    status = dry(kubectl, operations, ann, restore(ann.namespace, "lost", **DRY))
    assert (status["phase"], status["reason"]) == ("Failed", "BackupNotFound")
    assert status["message"].startswith("Dry run, nothing was done.")
    assert {step["name"] for step in status["steps"] if step["state"] == "Failed"} == {"FindBackup"}


def test_of_another_tenant_s_backup_nothing_is_told_before_its_owner_agrees(
    env: dict[str, str], tmp_path: Path, kubectl: Kubectl, operations: Operations, ann: Tenant, bob: Tenant
) -> None:
    name = backed_up(kubectl, operations, bob)
    way = {"parameters": {"namespaceMapping": {bob.namespace: ann.namespace}}}
    status = dry(kubectl, operations, ann, restore(ann.namespace, name, "dry", **DRY, **way))
    assert (status["phase"], status["reason"]) == ("Failed", "ConsentMissing")
    told = json.dumps(status)
    assert "jewels" not in told
    assert "Completed" not in told
    assert "default" not in told, "not even where it lies"
    assert planned(env, tmp_path, restore(ann.namespace, name, **way))["verdict"]["reason"] == "ConsentMissing"
    kubectl("annotate", "namespace", bob.namespace, f"ops.vworkspace.io/restore-to={ann.namespace}", as_user=bob.user)
    status = dry(kubectl, operations, ann, restore(ann.namespace, name, "agreed", **DRY, **way))
    assert (status["phase"], status["reason"]) == ("Succeeded", "DryRun"), status["message"]
    assert "jewels" in json.dumps(status)


def test_a_namesake_of_another_namespace_tells_nothing_either(
    kubectl: Kubectl, operations: Operations, ann: Tenant, bob: Tenant
) -> None:
    name = backed_up(kubectl, operations, bob)
    status = dry(kubectl, operations, ann, restore(ann.namespace, name, "dry", **DRY))
    assert (status["phase"], status["reason"]) == ("Failed", "BackupNotUsable")
    assert "jewels" not in json.dumps(status)


def test_who_got_the_name_of_a_namespace_is_told_nothing_of_the_one_before(
    env: dict[str, str], tmp_path: Path, kubectl: Kubectl, operations: Operations, ann: Tenant
) -> None:
    name = backed_up(kubectl, operations, ann)
    kubectl("delete", "namespace", ann.namespace)
    with tenant(kubectl, ann.namespace) as heir:
        status = dry(kubectl, operations, heir, restore(heir.namespace, name, "dry", **DRY))
        assert (status["phase"], status["reason"]) == ("Failed", "AwaitingApproval")
        assert "was deleted and made anew" in status["message"]
        told = json.dumps(status)
        assert "jewels" not in told
        assert "Completed" not in told
        assert planned(env, tmp_path, restore(heir.namespace, name))["failsAt"] == "AwaitApproval"


def test_an_approval_is_told_and_neither_waited_for_nor_spent(
    cluster: LocalCluster,
    env: dict[str, str],
    tmp_path: Path,
    kubectl: Kubectl,
    operations: Operations,
    ann: Tenant,
) -> None:
    backed_up(kubectl, operations, ann)
    kubectl("delete", "configmap", "jewels", "-n", ann.namespace)
    approvals = {"required": True, "claim": "vws1.never.looked-at"}
    status = dry(kubectl, operations, ann, restore(ann.namespace, "nightly", "dry", approvals=approvals, **DRY))
    assert (status["phase"], status["reason"]) == ("Succeeded", "DryRun"), status["message"]
    assert "approval" not in status
    steps = {step["name"]: step["message"] for step in status["steps"]}
    assert "The claim in spec.approvals would be checked, and spent." in steps["AwaitApproval"]
    found = planned(env, tmp_path, restore(ann.namespace, "nightly", approvals={"required": True}), code=0)
    (approve,) = [step for step in found["steps"] if step["name"] == "AwaitApproval"]
    assert approve["message"] == "An approval would be waited for. spec.approvals.required is true."
    spent = kubectl.json("get", "configmaps", "-n", "vworkspace-system")["items"]
    assert ann.namespace not in json.dumps(spent)


def account(kubectl: Kubectl, namespace: str) -> str:
    kubectl("create", "serviceaccount", "person", "-n", namespace)
    return f"{namespace}/person"


def test_a_person_without_the_rights_is_told_which_and_what_to_do_instead(
    cluster: LocalCluster, env: dict[str, str], tmp_path: Path, kubectl: Kubectl, ann: Tenant
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(cluster.kubeconfig_for(account(kubectl, ann.namespace)))
    kubectl(
        "create",
        "rolebinding",
        "person",
        "-n",
        ann.namespace,
        "--role=tenant",
        f"--serviceaccount={ann.namespace}:person",
    )
    kubectl.apply(restore(ann.namespace, "nightly"))
    done = vop({**env, "KUBECONFIG": str(kubeconfig)}, "plan", f"{ann.namespace}/restore")
    assert done.returncode == 1
    assert "get backups.velero.io in velero" in done.stderr
    assert "set spec.policy.dryRun: true" in done.stderr
    assert done.stderr.count("\n") == 1, "a sentence, and no traceback"


def test_the_rights_in_deploy_are_enough_for_a_person(
    cluster: LocalCluster,
    env: dict[str, str],
    tmp_path: Path,
    kubectl: Kubectl,
    operations: Operations,
    ann: Tenant,
) -> None:
    backed_up(kubectl, operations, ann)
    kubectl("delete", "configmap", "jewels", "-n", ann.namespace)
    kubectl("apply", "-f", str(ROOT / "deploy/planner.yaml"))
    person = account(kubectl, ann.namespace).replace("/", ":")
    try:
        kubectl(
            "create",
            "clusterrolebinding",
            person.replace(":", "-"),
            "--clusterrole=vworkspace-planner",
            f"--serviceaccount={person}",
        )
        kubectl(
            "create", "rolebinding", "person", "-n", "velero", "--role=vworkspace-planner", f"--serviceaccount={person}"
        )
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(cluster.kubeconfig_for(person.replace(":", "/")))
        kubectl.apply(restore(ann.namespace, "nightly", approvals={"required": True}))
        found = plan({**env, "KUBECONFIG": str(kubeconfig)}, f"{ann.namespace}/restore")
    finally:
        kubectl("delete", "-f", str(ROOT / "deploy/planner.yaml"), "--ignore-not-found")
        kubectl("delete", "clusterrolebinding", person.replace(":", "-"), "--ignore-not-found")
        kubectl("delete", "rolebinding", "person", "-n", "velero", "--ignore-not-found")
    assert fates(found)["ConfigMap/jewels"] == "create"
    assert "unknown" not in fates(found).values()


BAD: dict[str, tuple[tuple[str, ...], str, str]] = {
    "nothing": ((), "", "Name one Operation"),
    "both": (("shop/x", "-f", "FILE"), "", "Name one Operation"),
    "no namespace": (("restore",), "", "restore is not NAMESPACE/NAME"),
    "not there": (("default/nobody-s",), "", "There is no Operation nobody-s in namespace default"),
    "no file": (("-f", "/nowhere.yaml"), "", "/nowhere.yaml cannot be read"),
    "no YAML": (("-f", "FILE"), "a: [", "cannot be read"),
    "no Operation": (("-f", "FILE"), "kind: ConfigMap\n", "holds 0 Operations"),
    "a wrong one": (
        ("-f", "FILE"),
        json.dumps({**backup("default"), "spec": {"type": "Restor"}}),
        "The API server would refuse",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_answered_with_a_sentence(env: dict[str, str], tmp_path: Path, case: str) -> None:
    args, text, says = BAD[case]
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    done = vop(env, "plan", *(str(path) if arg == "FILE" else arg for arg in args))
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_kubeconfig_that_cannot_be_read_is_named(env: dict[str, str], tmp_path: Path) -> None:
    done = vop({**env, "KUBECONFIG": str(tmp_path)}, "plan", "shop/x")
    assert done.returncode == 1
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr

"""`vop plan` and dry runs tell what a Restore will do: then it is done, and object by object they agree."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.bucket import Bucket
from support.engine import Engine
from support.kube import Kubectl, Operations, backup, restore
from support.planned import disagreements, fates, plan, vop
from support.world import VELERO, claim_and_volume, config_map, deployment, fresh_namespace, secret

from activities import artefacts
from local_cluster.cluster import LocalCluster
from operation_engine import planning
from operation_engine.domain.resources.operation import Operation
from operation_engine.runtime import kubernetes, temporal
from operation_engine.runtime.settings import load_settings

Json = dict[str, Any]
AT_ONCE = {"decisionTimeout": "0s"}
OPTIONAL = {"VOP_APPROVALS_MODE": "Optional"}
PREFIX = "t-plan-"


def service(namespace: str, name: str) -> Json:
    spec = {"selector": {"app": name}, "ports": [{"port": 80}]}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": name, "labels": {"tier": "front"}},
        "spec": spec,
    }


def viewers(namespace: str) -> Json:
    """Who may look at the source has no say in another namespace."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    meta = {"namespace": namespace, "name": "viewers"}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta, "roleRef": role}


class Foretold:
    """A namespace with a backup; plans of Restores, and the Restores themselves."""

    def __init__(
        self, cluster: LocalCluster, kubectl: Kubectl, operations: Operations, namespace: str, backup_name: str
    ) -> None:
        self.env = {**cluster.env(), **OPTIONAL, "VOP_NEW_NAMESPACE_PREFIXES": json.dumps({"*": [PREFIX]})}
        self.kubectl, self.operations, self.namespace, self.backup_name = kubectl, operations, namespace, backup_name
        self.bucket = Bucket(cluster.env())
        self._count = 0

    def manifest(self, *, policy: Json | None = None, **parameters: Any) -> Json:
        self._count += 1
        wanted = {"safetyBackup": False, "verify": {"volumesBound": False, "workloadsReady": False}, **parameters}
        name = f"restore-{self._count}"
        return restore(self.namespace, "nightly", name, parameters=wanted, policy={**AT_ONCE, **(policy or {})})

    def planned(self, manifest: Json, tmp_path: Path, code: int = 0) -> Json:
        """The plan of what is not applied yet."""
        path = tmp_path / "operation.yaml"
        path.write_text(json.dumps(manifest))
        return plan(self.env, "-f", str(path), code=code)

    def done(self, manifest: Json) -> Json:
        """The same, in earnest: the status it ended with."""
        self.kubectl.apply(manifest)
        return dict(self.operations.await_end(self.namespace, manifest["metadata"]["name"])["status"])

    def listed(self, status: Json) -> dict[str, list[str]]:
        """What Velero says that its Restore did."""
        return self.bucket.restored(status["outputs"]["restoreName"])

    def lose(self, *objects: str) -> None:
        self.kubectl("delete", *objects, "-n", self.namespace, "--ignore-not-found", "--wait=true")


@pytest.fixture(scope="module")
def shop(running_engine: Engine, cluster: LocalCluster, kubectl: Kubectl, operations: Operations) -> Iterator[Foretold]:
    with fresh_namespace(kubectl) as ns:
        kubectl.apply(
            config_map(ns, "front", tier="front"),
            config_map(ns, "back", tier="back"),
            secret(ns, "keys", tier="front"),
            service(ns, "web"),
            deployment(ns, "web"),
            viewers(ns),
            *claim_and_volume(ns, "data"),
        )
        kubectl("rollout", "status", "deployment/web", "-n", ns, "--timeout=60s")
        kubectl("wait", "pvc/data", "-n", ns, "--for=jsonpath={.status.phase}=Bound", "--timeout=60s")
        kubectl.apply(backup(ns, "nightly"))
        status = operations.await_end(ns, "nightly")["status"]
        assert status["phase"] == "Succeeded", status["message"]
        yield Foretold(cluster, kubectl, operations, ns, status["outputs"]["backupName"])


def changed(shop: Foretold, name: str) -> None:
    patch = json.dumps({"data": {"name": f"changed-{uuid.uuid4().hex[:6]}"}})
    shop.kubectl("patch", "configmap", name, "-n", shop.namespace, "--type=merge", "-p", patch)


def lose_all_but(shop: Foretold) -> None:
    """Of what was backed up stay `back` and the claim; pods that a Restore brought without a workload go, too."""
    shop.lose("configmap/front", "secret/keys", "service/web", "deployment/web")
    shop.kubectl("delete", "replicasets,pods,endpoints,endpointslices", "--all", "-n", shop.namespace, "--wait=true")


CASES: dict[str, Json] = {
    "what is lost comes back": {},
    "what exists is updated": {"existingResourcePolicy": "update"},
    "some resources": {"includedResources": ["cm", "services"]},
    "without some": {"excludedResources": ["secrets", "deployments.apps"]},
    "by label": {"labelSelector": {"matchLabels": {"tier": "front"}}},
    "by expression": {
        "labelSelector": {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["back"]}]}
    },
}


@pytest.mark.parametrize("case", CASES)
def test_what_was_foretold_is_what_was_done_object_by_object(shop: Foretold, tmp_path: Path, case: str) -> None:
    lose_all_but(shop)
    changed(shop, "back")
    manifest = shop.manifest(**CASES[case])
    found = shop.planned(manifest, tmp_path)
    status = shop.done(manifest)
    assert status["phase"] == "Succeeded", status["message"]
    assert disagreements(found, shop.listed(status)) == []
    assert fates(found)["ConfigMap/front"] == "create"


def test_an_agreement_that_is_none_would_be_noticed(shop: Foretold, tmp_path: Path) -> None:
    shop.lose("configmap/front")
    manifest = shop.manifest(includedResources=["configmaps"])
    found = shop.planned(manifest, tmp_path)
    listed = shop.listed(shop.done(manifest))
    for one in found["objects"]:
        if one["name"] == "front":
            one["fate"] = "keep"
    found["objects"] = [one for one in found["objects"] if one["name"] != "back"]
    wrong = disagreements(found, listed)
    assert len(wrong) == 2
    assert "was to keep, and was created" in " ".join(wrong)
    assert "not in the plan" in " ".join(wrong)


def test_a_fresh_namespace_is_foretold_with_what_kubernetes_puts_there(shop: Foretold, tmp_path: Path) -> None:
    destination = f"{PREFIX}{uuid.uuid4().hex[:6]}"
    found = shop.planned(shop.manifest(namespaceMapping={shop.namespace: destination}), tmp_path)
    assert found["destination"] == destination
    assert fates(found)["ConfigMap/kube-root-ca.crt"] == "keep"
    assert fates(found)[f"Namespace/{destination}"] == "create"
    assert {o["fate"] for o in found["objects"] if o["name"] in ("front", "back", "keys", "web")} == {"create"}
    assert "not found" in shop.kubectl("get", "namespace", destination, check=False).stderr.lower()


def test_another_namespace_is_filled_as_foretold(shop: Foretold, tmp_path: Path) -> None:
    consent = f"ops.vworkspace.io/restore-from={shop.namespace}"
    with fresh_namespace(shop.kubectl) as copy:
        shop.kubectl("annotate", "namespace", copy, consent)
        shop.kubectl.apply(config_map(copy, "front"))
        manifest = shop.manifest(namespaceMapping={shop.namespace: copy})
        found = shop.planned(manifest, tmp_path)
        status = shop.done(manifest)
        assert status["phase"] == "Succeeded", status["message"]
        assert disagreements(found, shop.listed(status)) == []
    assert fates(found)["ConfigMap/front"] == "keep"
    assert fates(found)["ConfigMap/back"] == "create"
    assert fates(found)["RoleBinding/viewers"] == "leave out"


def test_what_volumes_replace_is_named_before_it_goes(shop: Foretold, tmp_path: Path) -> None:
    lose_all_but(shop)
    info = {"pvcName": "data", "pvcNamespace": shop.namespace, "pvName": f"{shop.namespace}-data"}
    how = {"backupMethod": "PodVolumeBackup", "result": "succeeded", "pvbInfo": {"podName": "web", "size": 1}}
    shop.bucket.put(shop.backup_name, "volumeinfo.json.gz", [{**info, **how}])
    kept = shop.planned(shop.manifest(), tmp_path, code=3)
    assert "existingVolumes: Keep would not keep data (pod web)" in kept["verdict"]["message"]
    manifest = shop.manifest(existingVolumes="Replace")
    found = shop.planned(manifest, tmp_path, code=3)
    assert fates(found)["PersistentVolumeClaim/data"] == "replace"
    assert found["verdict"]["reason"] == "VerificationFailed"
    assert "without the data that the backup holds" in found["verdict"]["message"]
    status = shop.done(manifest)
    assert (status["phase"], status["reason"]) == ("Failed", "VerificationFailed"), status["message"]
    assert disagreements(found, shop.listed(status)) == []
    shop.bucket.put(shop.backup_name, "volumeinfo.json.gz", [])


async def test_an_archive_that_is_too_large_is_planned_by_its_list_and_that_is_said(
    shop: Foretold, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_all_but(shop)
    for name, value in shop.env.items():
        monkeypatch.setenv(name, value)
    manifest, settings = shop.manifest(), load_settings()
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", shop.env["KUBECONFIG"])
    monkeypatch.setattr(artefacts, "MAX_MEMBERS", 1)
    async with kubernetes.connect() as api:
        made = await api.create(kubernetes.OPERATIONS, manifest, shop.namespace, only_try=True)
        client = await temporal.connect(settings, lazily=True)
        plan = await planning.plan(api, client, settings, Operation.from_api(made))
    found = plan.to_api()
    assert "the archive is too large" in " ".join(found["cannotTell"])
    status = await asyncio.to_thread(shop.done, manifest)
    assert disagreements(found, shop.listed(status)) == []
    assert fates(found)["ConfigMap/front"] == "create"


def test_a_restore_of_which_nothing_would_come_back_is_told_so(shop: Foretold, tmp_path: Path) -> None:
    manifest = shop.manifest(includedResources=["configmaps"], labelSelector={"matchLabels": {"tier": "attic"}})
    found = shop.planned(manifest, tmp_path, code=3)
    assert found["verdict"]["reason"] == "NothingRestored"
    status = shop.done(manifest)
    assert (status["phase"], status["reason"]) == ("Failed", "NothingRestored")


def test_the_text_names_steps_objects_and_what_cannot_be_told(shop: Foretold, tmp_path: Path) -> None:
    shop.lose("configmap/front")
    path = tmp_path / "operation.yaml"
    path.write_text(json.dumps(shop.manifest(includedResources=["configmaps"])))
    text = vop(shop.env, "plan", "-f", str(path)).stdout
    assert "nothing has been done" in text
    assert "  run  CreateRestore " in text
    assert "  skip ReplaceVolumes " in text
    assert "  create    ConfigMap front\n" in text
    assert "  keep      ConfigMap back, kube-root-ca.crt\n" in text
    assert "What cannot be told beforehand:" in text
    assert "It would go through, as far as can be told" in text


def test_a_backup_s_plan_names_what_would_be_in_it(shop: Foretold, tmp_path: Path) -> None:
    manifest = backup(shop.namespace, "planned", parameters={"excludedResources": ["secrets"]})
    found = fates(shop.planned(manifest, tmp_path))
    shop.kubectl.apply(manifest)
    status = shop.operations.await_end(shop.namespace, "planned")["status"]
    held = shop.bucket.contents(status["outputs"]["backupName"])
    of_the_namespace = {
        f"{kind.rpartition('/')[2]}/{name.partition('/')[2]}"
        for kind, names in held.items()
        for name in names
        if "/" in name
    }
    assert {what for what in found if not what.startswith("Event/")} == {
        what for what in of_the_namespace if not what.startswith("Event/")
    }


def world(kubectl: Kubectl, *namespaces: str) -> dict[str, str]:
    """Every object of these namespaces, and of the cluster, by its resourceVersion; leases and Velero's checks move."""
    kinds = kubectl("api-resources", "--verbs=list", "-o", "name").stdout.split()
    moving = ("leases.", "events", "operations.", "downloadrequests.", "backupstoragelocations.", "componentstatuses")
    still = ",".join(kind for kind in kinds if not kind.startswith(moving) and "metrics.k8s.io" not in kind)
    own = (*namespaces, VELERO, "vworkspace-system")
    return {
        f"{item['kind']} {meta.get('namespace', '')}/{meta['name']}": meta["resourceVersion"]
        for item in kubectl.json("get", still, "-A")["items"]
        if (meta := item["metadata"]).get("namespace", own[0]) in own and item["kind"] != "Node"
    }


def await_the_end_of_others(kubectl: Kubectl) -> None:
    """What tests before left goes in its own time, and is a part of the world."""
    for namespace in kubectl.json("get", "namespaces")["items"]:
        if "deletionTimestamp" in namespace["metadata"]:
            kubectl("wait", f"namespace/{namespace['metadata']['name']}", "--for=delete", "--timeout=60s")


def test_a_dry_run_leaves_the_world_as_it_was(shop: Foretold, kubectl: Kubectl) -> None:
    shop.lose("configmap/front")
    await_the_end_of_others(kubectl)
    manifest = shop.manifest(policy={"dryRun": True}, safetyBackup=True)
    before = world(kubectl, shop.namespace)
    status = shop.done(manifest)
    assert (status["phase"], status["reason"]) == ("Succeeded", "DryRun"), status["message"]
    assert world(kubectl, shop.namespace) == before
    assert "attempts" not in status
    steps = {step["name"]: step for step in status["steps"]}
    assert {step["state"] for name, step in steps.items() if name != "Admit"} == {"Skipped"}
    assert steps["CreateRestore"]["message"].startswith("Would run: A Velero Restore of Backup nightly-")
    assert "ConfigMap front" in steps["CreateRestore"]["message"]
    assert "would be backed up first" in steps["SafetyBackup"]["message"]
    assert status["outputs"]["backupName"] == shop.backup_name
    assert "restoreName" not in status["outputs"]


def test_a_world_that_moved_would_be_noticed(shop: Foretold, kubectl: Kubectl) -> None:
    before = world(kubectl, shop.namespace)
    changed(shop, "back")
    assert world(kubectl, shop.namespace) != before


def test_a_dry_backup_makes_no_backup(shop: Foretold, kubectl: Kubectl) -> None:
    kubectl.apply(backup(shop.namespace, "dry", policy={"dryRun": True}))
    operation = shop.operations.await_end(shop.namespace, "dry")
    status = operation["status"]
    assert (status["phase"], status["reason"]) == ("Succeeded", "DryRun"), status["message"]
    assert status["message"].startswith("Dry run, nothing was done.")
    uid = operation["metadata"]["uid"]
    made = kubectl.json("get", "backups.velero.io", "-n", VELERO, "-l", f"ops.vworkspace.io/operation={uid}")["items"]
    assert made == []

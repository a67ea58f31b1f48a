"""Each parameter of a Restore does what it says: seen in the namespace, in the Velero Restore, and in the message."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.engine import Engine
from support.kube import Kubectl, Operations, backup, restore
from support.world import VELERO, config_map, deployment, fresh_namespace, secret

Json = dict[str, Any]
AT_ONCE = {"decisionTimeout": "0s"}


def stateful_set(namespace: str, name: str, storage_class: str) -> Json:
    """Without replicas: only its template of a claim is of interest."""
    labels = {"app": name}
    claim = {"accessModes": ["ReadWriteOnce"], "storageClassName": storage_class}
    template = {"metadata": {"name": "data"}, "spec": {**claim, "resources": {"requests": {"storage": "1Mi"}}}}
    pod = {"containers": [{"name": name, "image": "busybox"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "serviceName": name,
            "template": {"metadata": {"labels": labels}, "spec": pod},
            "volumeClaimTemplates": [template],
        },
    }


def claim(namespace: str, name: str, storage_class: str) -> Json:
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": storage_class}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {**spec, "resources": {"requests": {"storage": "1Mi"}}},
    }


class Shop:
    """A namespace with a backup, to lose things in and to restore into."""

    def __init__(self, kubectl: Kubectl, operations: Operations, namespace: str) -> None:
        self.kubectl, self._operations, self.namespace = kubectl, operations, namespace
        self._count = 0

    def lose(self, *objects: str) -> None:
        self.kubectl("delete", *objects, "-n", self.namespace, "--ignore-not-found", "--wait=true")

    def restored(self, *, policy: Json | None = None, **parameters: Any) -> Json:
        """The status of a Restore of `nightly` that has ended."""
        self._count += 1
        name = f"restore-{self._count}"
        wanted = {"safetyBackup": False, **parameters}
        self.kubectl.apply(
            restore(self.namespace, "nightly", name, parameters=wanted, policy={**AT_ONCE, **(policy or {})})
        )
        return dict(self._operations.await_end(self.namespace, name)["status"])

    def names(self, kind: str) -> set[str]:
        found = self.kubectl.json("get", kind, "-n", self.namespace)["items"]
        return {item["metadata"]["name"] for item in found} - {"kube-root-ca.crt"}

    def get(self, kind: str, name: str) -> Json:
        found: Json = self.kubectl.json("get", kind, name, "-n", self.namespace)
        return found

    def velero(self, status: Json) -> Json:
        found: Json = self.kubectl.json("get", "restores.velero.io", status["outputs"]["restoreName"], "-n", VELERO)
        return found


@pytest.fixture(scope="module")
def shop(running_engine: Engine, kubectl: Kubectl, operations: Operations) -> Iterator[Shop]:
    with fresh_namespace(kubectl) as ns:
        kubectl.apply(
            config_map(ns, "front", tier="front"),
            config_map(ns, "back", tier="back"),
            secret(ns, "keys", tier="front"),
            stateful_set(ns, "db", "slow"),
            claim(ns, "data", "slow"),
            deployment(ns, "web"),
        )
        kubectl("rollout", "status", "deployment/web", "-n", ns, "--timeout=60s")
        kubectl.apply(backup(ns, "nightly"))
        assert operations.await_end(ns, "nightly")["status"]["phase"] == "Succeeded"
        yield Shop(kubectl, operations, ns)


UNBOUND = {"verify": {"volumesBound": False}}


def test_included_resources_are_all_that_comes_back(shop: Shop) -> None:
    shop.lose("configmap/front", "configmap/back", "secret/keys")
    status = shop.restored(includedResources=["configmaps"])
    assert status["phase"] == "Succeeded", status["message"]
    assert {"front", "back"} <= shop.names("configmaps")
    assert "keys" not in shop.names("secrets")
    assert status["outputs"]["restoredItemCount"] == "2"


def test_excluded_resources_stay_away(shop: Shop) -> None:
    shop.lose("configmap/front", "secret/keys")
    status = shop.restored(excludedResources=["secrets"], **UNBOUND)
    assert status["phase"] == "Succeeded", status["message"]
    assert "front" in shop.names("configmaps")
    assert "keys" not in shop.names("secrets")


def test_a_label_selector_brings_back_what_matches(shop: Shop) -> None:
    shop.lose("configmap/front", "configmap/back", "secret/keys")
    status = shop.restored(labelSelector={"matchLabels": {"tier": "front"}})
    assert status["phase"] == "Succeeded", status["message"]
    assert "front" in shop.names("configmaps")
    assert "back" not in shop.names("configmaps")
    assert "keys" in shop.names("secrets")


@pytest.mark.parametrize("policy", [None, "none"])
def test_what_exists_is_left_as_it_is_and_a_restore_that_did_nothing_says_so(shop: Shop, policy: str | None) -> None:
    shop.restored(includedResources=["configmaps"], existingResourcePolicy="update")
    shop.kubectl("patch", "configmap", "front", "-n", shop.namespace, "-p", '{"data":{"name":"changed since"}}')
    wanted = {} if policy is None else {"existingResourcePolicy": policy}
    status = shop.restored(includedResources=["configmaps"], **wanted)
    assert (status["phase"], status["reason"]) == ("Failed", "NothingRestored"), status["message"]
    assert "existingResourcePolicy: update" in status["message"]
    assert shop.get("configmap", "front")["data"] == {"name": "changed since"}
    assert shop.velero(status)["status"]["phase"] == "Completed", "which is what Velero calls it"
    assert any("already exists" in warning for warning in status["outputs"]["warnings"])


def test_update_puts_back_what_changed(shop: Shop) -> None:
    shop.kubectl("patch", "configmap", "front", "-n", shop.namespace, "-p", '{"data":{"name":"changed since"}}')
    status = shop.restored(includedResources=["configmaps"], existingResourcePolicy="update")
    assert status["phase"] == "Succeeded", status["message"]
    assert "updated" in status["message"]
    assert shop.get("configmap", "front")["data"] == {"name": "front"}


def test_too_few_items_are_a_failure(shop: Shop) -> None:
    shop.lose("configmap/front")
    status = shop.restored(includedResources=["configmaps"], verify={"minItems": 5})
    assert (status["phase"], status["reason"]) == ("Failed", "VerificationFailed")
    assert "brought 1 objects back; spec.parameters.verify.minItems is 5" in status["message"]
    shop.lose("configmap/front")
    assert shop.restored(includedResources=["configmaps"], verify={"minItems": 1})["phase"] == "Succeeded"


def test_storage_classes_are_mapped_for_this_restore_alone(shop: Shop) -> None:
    shop.lose("statefulset/db", "pvc/data")
    status = shop.restored(storageClassMapping={"slow": "fast"}, **UNBOUND)
    assert status["phase"] == "Succeeded", status["message"]
    assert shop.get("pvc", "data")["spec"]["storageClassName"] == "fast"
    template = shop.get("statefulset", "db")["spec"]["volumeClaimTemplates"][0]
    assert template["spec"]["storageClassName"] == "fast"
    velero = shop.velero(status)
    modifier = shop.kubectl.json("get", "configmap", velero["metadata"]["name"], "-n", VELERO)
    assert modifier["metadata"]["ownerReferences"][0]["uid"] == velero["metadata"]["uid"], "it goes with its Restore"
    shop.lose("statefulset/db", "pvc/data")
    assert shop.restored(**UNBOUND)["phase"] == "Succeeded"
    assert shop.get("pvc", "data")["spec"]["storageClassName"] == "slow"


@pytest.mark.parametrize("name", ['x", "path": "/spec/volumeName', "Fast", "a b", ""])
def test_a_storage_class_that_could_be_no_name_is_refused(shop: Shop, name: str) -> None:
    status = shop.restored(storageClassMapping={"slow": name})
    assert (status["phase"], status["reason"]) == ("Failed", "ValidationFailed")
    assert "spec.parameters.storageClassMapping" in status["message"]
    assert "attempts" not in status


def test_what_is_velero_s_alone_reaches_velero(shop: Shop) -> None:
    shop.lose("configmap/front")
    status = shop.restored(restorePVs=False, itemOperationTimeout="25m", includedResources=["configmaps"])
    spec = shop.velero(status)["spec"]
    assert (spec["restorePVs"], spec["itemOperationTimeout"]) == (False, "25m0s")


def test_a_claim_that_is_not_bound_fails_the_restore_and_is_named(shop: Shop) -> None:
    shop.lose("pvc/data")
    status = shop.restored(includedResources=["persistentvolumeclaims"], verify={"timeout": "2s"})
    assert (status["phase"], status["reason"]) == ("Failed", "VerificationFailed")
    assert "PersistentVolumeClaim/data: it is Pending (storage class slow)" in status["message"]


def test_a_claim_that_exists_is_named_as_not_restored(shop: Shop) -> None:
    shop.restored(includedResources=["persistentvolumeclaims"], **UNBOUND)
    shop.lose("configmap/front")
    wanted = {"includedResources": ["configmaps", "persistentvolumeclaims"], **UNBOUND}
    status = shop.restored(**wanted)
    assert status["phase"] == "Succeeded", status["message"]
    assert "NOT restored: PersistentVolumeClaim data" in status["message"]
    assert status["outputs"]["restoredItemCount"] == "1"
    updated = shop.restored(existingResourcePolicy="update", **wanted)
    assert "NOT restored: PersistentVolumeClaim data" in updated["message"]


def test_pods_that_do_not_come_up_fail_the_restore_with_their_cause(
    shop: Shop, kubectl: Kubectl, operations: Operations
) -> None:
    with fresh_namespace(kubectl) as ns:
        nowhere = deployment(ns, "stuck", nodeSelector={"kubernetes.io/hostname": "nowhere"})
        kubectl.apply(nowhere, backup(ns, "nightly", parameters={"includedResources": ["deployments"]}))
        assert operations.await_end(ns, "nightly")["status"]["phase"] == "Succeeded"
        kubectl("delete", "deployment", "stuck", "-n", ns)
        status = Shop(kubectl, operations, ns).restored(verify={"timeout": "4s"})
        assert (status["phase"], status["reason"]) == ("Failed", "VerificationFailed")
        assert "Deployment/stuck: 0 of 1 pods are ready (pod stuck-" in status["message"]
        assert "0/1 nodes are available" in status["message"]
        kubectl("delete", "deployment", "stuck", "-n", ns)
        again = Shop(kubectl, operations, ns)
        kubectl("delete", "operation", "restore-1", "-n", ns)
        assert again.restored(verify={"workloadsReady": False})["phase"] == "Succeeded"


HTTP: dict[str, tuple[str, str]] = {
    "nobody": ("http://nobody/healthz", "there is no Service nobody"),
    "another-namespace": ("http://web.default.svc/", "neither a Service nor the host of an Ingress"),
    "the-api-server": ("https://kubernetes.default.svc/healthz", "neither a Service nor the host of an Ingress"),
    "the-machine": ("http://127.0.0.1/", "neither a Service nor the host of an Ingress"),
    "another-port": ("http://web:81/", "Service web has no TCP port 81; it has: 80"),
}
# Never a ready pod: those of kwok have addresses that are not of this machine. Answers: tests/unit/test_probes.py.


@pytest.mark.parametrize("what", HTTP)
def test_an_http_check_asks_the_application_and_nobody_else(shop: Shop, what: str) -> None:
    url, says = HTTP[what]
    ports = [{"port": 80, "targetPort": 8080}]
    metadata = {"name": "web", "namespace": shop.namespace}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
    shop.kubectl.apply({**service, "spec": {"selector": {"app": "web"}, "ports": ports}})
    shop.lose("configmap/front")
    verify = {"timeout": "1s", "http": {"url": url, "timeout": "500ms"}}
    status = shop.restored(includedResources=["configmaps"], verify=verify)
    assert (status["phase"], status["reason"]) == ("Failed", "VerificationFailed")
    assert says in status["message"]
    assert {s["name"]: s["state"] for s in status["steps"]}["VerifyHttp"] == "Failed"


@pytest.mark.parametrize("url", ["ftp://web/", "http://user:pw@web/", "http://web/\nHost: x"])
def test_a_url_that_is_none_is_refused_before_anything_is_done(shop: Shop, url: str) -> None:
    status = shop.restored(verify={"http": {"url": url}})
    assert (status["phase"], status["reason"]) == ("Failed", "ValidationFailed")
    assert "spec.parameters.verify.http.url" in status["message"]


def test_operations_and_leases_cannot_be_brought_back(shop: Shop) -> None:
    status = shop.restored(includedResources=["operations.ops.vworkspace.io", "configmaps"])
    assert (status["phase"], status["reason"]) == ("Failed", "VeleroRestoreValidationFailed"), json.dumps(status)

"""What Operations work on: namespaces with a small application in them, and Velero's own objects."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.kube import Kubectl

from local_cluster import images

MANAGED = {"app.vworkspace.io/managed-by": "vworkspace"}
VELERO = "velero"

Json = dict[str, Any]


@contextmanager
def fresh_namespace(kubectl: Kubectl, labels: dict[str, str] | None = None) -> Iterator[str]:
    """A namespace of the block's own, served by the engine unless other labels are given."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    metadata = {"name": name, "labels": MANAGED if labels is None else labels}
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    try:
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def config_map(namespace: str, name: str, **labels: str) -> Json:
    """Something to back up."""
    metadata = {"namespace": namespace, "name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"name": name}}


def secret(namespace: str, name: str, **labels: str) -> Json:
    """Something else to back up."""
    metadata = {"namespace": namespace, "name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"name": name}}


def deployment(namespace: str, name: str, **spec: Any) -> Json:
    """A workload that runs wherever a pod can run; `spec` stands over the plain pod's."""
    labels = {"app": name}
    pod = {"containers": [{"name": name, "image": "busybox", "command": ["sleep", "1000000000"]}], **spec}
    template = {"metadata": {"labels": labels}, "spec": pod}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
    }


def claim_and_volume(namespace: str, name: str, source: str = "local") -> tuple[Json, Json]:
    """A claim that is bound at once; nothing is ever written to its volume, which is `local` or `hostPath`."""
    shared = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    on_any_node = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "Exists"}]}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{namespace}-{name}"},
        "spec": {
            **shared,
            "capacity": {"storage": "1Mi"},
            "claimRef": {"namespace": namespace, "name": name},
            "persistentVolumeReclaimPolicy": "Delete",
            source: {"path": "/nowhere"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [on_any_node]}},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"namespace": namespace, "name": name, "labels": {"case": namespace}},
        "spec": {**shared, "volumeName": f"{namespace}-{name}", "resources": {"requests": {"storage": "1Mi"}}},
    }
    return volume, claim


def pod_with_claim(namespace: str, name: str, claim: str, annotations: dict[str, str], **spec: Any) -> Json:
    """A pod that mounts a claim as its volume `files`."""
    container = {"name": "main", "image": "busybox", "volumeMounts": [{"name": "files", "mountPath": "/files"}]}
    volumes = [{"name": "files", "persistentVolumeClaim": {"claimName": claim}}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": {"case": namespace},
            "annotations": annotations,
        },
        "spec": {"containers": [container], "volumes": volumes, "automountServiceAccountToken": False, **spec},
    }


def application_instance(namespace: str, name: str, release_namespace: str | None = None) -> Json:
    """An ApplicationInstance that releases into its own namespace, or into another."""
    chart = {"sourceType": "oci", "url": "oci://charts.example.com/shop", "name": "shop", "version": "1.0.0"}
    return {
        "apiVersion": "apps.vworkspace.io/v1alpha1",
        "kind": "ApplicationInstance",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "appRef": {"catalogId": "shop"},
            "chart": chart,
            "release": {"name": name, "namespace": release_namespace or namespace},
            "values": {"source": "inline", "inline": {}},
        },
    }


def files_on_a_volume(namespace: str) -> Json:
    """A StatefulSet with an empty volume at /data, where pods run."""
    labels = {"app": "files"}
    container = {
        "name": "files",
        "image": images.BUSYBOX,
        "imagePullPolicy": "Never",
        "command": ["sleep", "1000000000"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "files", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
            },
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
        },
    }


def taken_up(operation: Json) -> list[Json]:
    """The attempts that Velero took up; one that it refused for a location that was not back yet is none."""
    attempts: list[Json] = operation["status"]["attempts"]
    return [attempt for attempt in attempts if attempt.get("reason") != "StorageLocationUnavailable"]


class VeleroBackups:
    """Velero's Backups, and their status as only Velero writes it: by hand, while Velero is stopped."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl

    def of(self, operation: Json) -> list[Json]:
        """Every Backup that was made for an Operation."""
        selector = f"ops.vworkspace.io/operation={operation['metadata']['uid']}"
        found: list[Json] = self._kubectl.json("get", "backups.velero.io", "-n", VELERO, "-l", selector)["items"]
        return found

    def names(self, operation: Json) -> list[str]:
        """Names of the Backups that were made for an Operation."""
        return sorted(found["metadata"]["name"] for found in self.of(operation))

    def all(self, namespace: str) -> list[Json]:
        """Every Backup that was made for Operations of a namespace."""
        selector = f"ops.vworkspace.io/operation-namespace={namespace}"
        found: list[Json] = self._kubectl.json("get", "backups.velero.io", "-n", VELERO, "-l", selector)["items"]
        return found

    def get(self, name: str) -> Json:
        found: Json = self._kubectl.json("get", "backups.velero.io", "-n", VELERO, name)
        return found

    def say(self, name: str, **status: Any) -> None:
        """Write a Backup's status (it has no subresource), and the location that Velero fills in with it."""
        body = json.dumps({"spec": {"storageLocation": "default"}, "status": status})
        self._kubectl("patch", "backups.velero.io", name, "-n", VELERO, "--type=merge", "-p", body)

    def delete(self, name: str) -> None:
        self._kubectl("delete", "backups.velero.io", name, "-n", VELERO)


class VeleroRestores:
    """Velero's Restores, and their status as only Velero writes it: by hand, while Velero is stopped."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl

    def of(self, operation: Json) -> list[Json]:
        selector = f"ops.vworkspace.io/operation={operation['metadata']['uid']}"
        found: list[Json] = self._kubectl.json("get", "restores.velero.io", "-n", VELERO, "-l", selector)["items"]
        return found

    def say(self, name: str, **status: Any) -> None:
        body = json.dumps({"status": status})
        self._kubectl("patch", "restores.velero.io", name, "-n", VELERO, "--type=merge", "-p", body)

    def get(self, name: str) -> Json:
        found: Json = self._kubectl.json("get", "restores.velero.io", "-n", VELERO, name)
        return found

    def delete(self, name: str) -> None:
        self._kubectl("delete", "restores.velero.io", name, "-n", VELERO, "--wait=false")

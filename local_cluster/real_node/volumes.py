"""Volumes for pods of the real node: local-path-provisioner beside the cluster, and its StorageClass; used by the node.

Each claim becomes a folder of the state dir, made and removed by a short-lived helper pod. A PersistentVolume is of
type `local`, for Velero takes no data from those of type hostPath.
"""

import json
from typing import Any

import yaml

from local_cluster import images
from local_cluster.files import make_folder, write_atomically
from local_cluster.kube import admin_binding, write_kubeconfig
from local_cluster.parts import Part, Site

PART = "local-path-provisioner"
NAMESPACE = "local-path-storage"
STORAGE_CLASS = "local-path"
_CONFIG_MAP = "local-path-config"

# Everybody may write into a new volume: no image here says which user its claim is for.
_SETUP = '#!/bin/sh\nset -eu\nmkdir -m 0777 -p "$VOL_DIR"\n'
_TEARDOWN = '#!/bin/sh\nset -eu\nrm -rf "$VOL_DIR"\n'


def provisioner(site: Site) -> Part:
    """local-path-provisioner; it runs outside the cluster and needs no image of its own.

    Its log says of each helper pod that its logs cannot be saved, for that is done from inside a cluster only; the
    volume is made all the same.
    """
    config = site.layout.config
    argv = (
        site.program(PART),
        "start",
        f"--kubeconfig={site.layout.kubeconfig(PART)}",
        f"--namespace={NAMESPACE}",
        f"--configmap-name={_CONFIG_MAP}",
        f"--config={config / 'local-path.json'}",
        f"--helper-pod-file={config / 'local-path-helper.yaml'}",
        f"--helper-image={images.BUSYBOX}",
        "--service-account-name=default",
    )
    return Part(PART, argv, needs=("kube-apiserver",), prepare=lambda: _prepare(site))


def _prepare(site: Site) -> None:
    kube, config = site.kube(), site.layout.config
    for wanted in (*objects(), admin_binding(PART)):
        kube.apply(wanted)
    make_folder(site.layout.data("volumes"))
    write_kubeconfig(site.layout.kubeconfig(PART), site.kube(PART), PART)
    write_atomically(config / "local-path.json", json.dumps(_paths(site)))
    write_atomically(config / "local-path-helper.yaml", yaml.safe_dump(_helper_pod()))


def _paths(site: Site) -> dict[str, Any]:
    everywhere = {"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": [str(site.layout.data("volumes"))]}
    return {"nodePathMap": [everywhere]}


def objects() -> tuple[dict[str, Any], ...]:
    """The namespace of the helper pods, their scripts, and the default StorageClass."""
    meta = {"name": _CONFIG_MAP, "namespace": NAMESPACE}
    scripts = {"setup": _SETUP, "teardown": _TEARDOWN}
    return (
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": scripts},
        storage_class(),
    )


def storage_class() -> dict[str, Any]:
    """The default one: a claim that names none gets a volume where its pod runs."""
    annotations = {"storageclass.kubernetes.io/is-default-class": "true", "defaultVolumeType": "local"}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS, "annotations": annotations},
        "provisioner": "rancher.io/local-path",
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    }


def _helper_pod() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "helper-pod"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "helper-pod", "image": images.BUSYBOX, "imagePullPolicy": "Never"}],
        },
    }

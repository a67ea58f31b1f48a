"""What the archive of a backup says of its pods, workloads, claims and volumes."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from operation_engine.domain import artefacts
from operation_engine.domain.artefacts import is_held_kind, outline
from operation_engine.domain.volumes import HeldObjects, Mount


def pod(*volume_list: dict[str, Any], **annotations: str) -> dict[str, Any]:
    named = {f"backup.velero.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    metadata = {"name": "db-0", "namespace": "shop", "annotations": named}
    return {"kind": "Pod", "metadata": metadata, "spec": {"volumes": list(volume_list)}}


DATA = {"name": "files", "persistentVolumeClaim": {"claimName": "data"}}


def test_a_pod_says_which_claims_it_mounts_and_what_it_thinks_of_them() -> None:
    plain = held_objects([pod(DATA, {"name": "tmp", "emptyDir": {}})])
    assert plain.mounts == (Mount(claim="shop/data", pod="shop/db-0"),)
    assert plain.pods == {"shop/db-0"}
    assert held_objects([pod(DATA, backup_volumes="tmp,files")]).mounts[0].opted_in
    assert held_objects([pod(DATA, backup_volumes_excludes="tmp,files")]).mounts[0].opted_out
    assert not held_objects([pod(DATA, backup_volumes_excludes="files2")]).mounts[0].opted_out


def held_objects(objects: Sequence[dict[str, Any]]) -> HeldObjects:
    """Read in full, and by their outlines as the archive is: the same."""
    found = artefacts.held_objects(objects)
    assert artefacts.held_objects([outline(o) for o in objects]) == found
    return found


def test_an_outline_is_small_however_much_an_object_says() -> None:
    wordy = pod(DATA, {"name": "x", "configMap": {"name": "y" * 5000}}, backup_volumes="files")
    wordy["metadata"] |= {"managedFields": ["z" * 5000], "labels": {"l": "m" * 5000}}
    wordy["metadata"]["annotations"]["last-applied"] = "a" * 5000
    wordy |= {"status": "s" * 5000}
    assert len(json.dumps(outline(wordy))) < 500


def workload(kind: str, *volume_list: dict[str, Any], annotations: str, **spec: Any) -> dict[str, Any]:
    template = pod(*volume_list, backup_volumes=annotations)
    del template["metadata"]["namespace"]
    parts = {"metadata": template["metadata"], "spec": template["spec"]}
    return {"kind": kind, "metadata": {"name": "db", "namespace": "shop"}, "spec": {"template": parts, **spec}}


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController"])
def test_a_template_says_what_its_pods_would(kind: str) -> None:
    found = held_objects([workload(kind, DATA, annotations="files")])
    where = f"pod template of {kind} shop/db"
    assert (found.mounts, found.templates) == ((), (Mount(claim="shop/data", pod=where, opted_in=True),))
    assert not held_objects([workload(kind, DATA, annotations="other")]).templates[0].opted_in


def test_an_old_revision_of_a_deployment_asks_for_nothing() -> None:
    old = workload("ReplicaSet", DATA, annotations="files")
    old["metadata"]["ownerReferences"] = [{"kind": "Deployment"}]
    assert held_objects([old]).templates == ()


SETS = [
    ({"replicas": 2}, {"shop/files-db-0", "shop/files-db-1"}),
    ({}, {"shop/files-db-0"}),
    ({"replicas": 1, "ordinals": {"start": 2}}, {"shop/files-db-2"}),
    ({"replicas": 0}, {"shop/files-db-0", "shop/files-db-1", "shop/files-db-2"}),
]


@pytest.mark.parametrize(("spec", "claims"), SETS, ids=["two", "one", "from 2 on", "scaled to nothing"])
def test_a_stateful_set_says_which_of_its_claims_its_pods_use(spec: dict[str, Any], claims: set[str]) -> None:
    made = [("files-db-0"), ("files-db-1"), ("files-db-2"), ("files-db-x"), ("files-other-0")]
    objects = [
        {"kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "shop"}, "spec": {"volumeName": "v"}}
        for name in made
    ]
    own = {"volumeClaimTemplates": [{"metadata": {"name": "files"}}], **spec}
    found = held_objects([*objects, workload("StatefulSet", annotations="files", **own)])
    assert {mount.claim for mount in found.templates} == claims
    assert all(mount.opted_in for mount in found.templates)


def test_claims_and_volumes_say_what_cannot_be_taken() -> None:
    def claim(name: str, volume: str | None, owner: str | None = None) -> dict[str, Any]:
        metadata: dict[str, Any] = {"name": name, "namespace": "shop"}
        if owner:
            metadata["ownerReferences"] = [{"kind": owner}]
        return {"kind": "PersistentVolumeClaim", "metadata": metadata, "spec": {"volumeName": volume}}

    host = {"hostPath": {"path": "/x"}, "claimRef": {"namespace": "shop", "name": "data"}}
    local = {"local": {"path": "/x"}, "claimRef": {"namespace": "shop", "name": "other"}}
    found = held_objects(
        [
            claim("data", "pv-1"),
            claim("unbound", None),
            claim("scratch", "pv-2", "Pod"),
            claim("set", "pv-3", "StatefulSet"),
            {"kind": "PersistentVolume", "metadata": {"name": "pv-1"}, "spec": host},
            {"kind": "PersistentVolume", "metadata": {"name": "pv-4"}, "spec": local},
        ]
    )
    assert found.dataless_claims == {"shop/unbound", "shop/scratch"}
    assert found.host_path_claims == {"shop/data"}


def test_of_the_archive_only_one_copy_of_what_counts_is_read() -> None:
    assert is_held_kind("resources/pods/namespaces/shop/db-0.json")
    assert is_held_kind("resources/persistentvolumes/cluster/pv-1.json")
    assert is_held_kind("resources/deployments.apps/namespaces/shop/db.json")
    assert is_held_kind("resources/statefulsets.apps/namespaces/shop/db.json")
    assert not is_held_kind("resources/pods/v1-preferredversion/namespaces/shop/db-0.json")
    assert not is_held_kind("resources/secrets/namespaces/shop/keys.json")
    assert not is_held_kind("metadata/version")
    assert not is_held_kind("resources/pods/namespaces")

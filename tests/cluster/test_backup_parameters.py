"""Each parameter of a Backup does what it says: seen in the Velero Backup, and in what the bucket holds."""

from typing import Any

import pytest
from support.bucket import Bucket
from support.engine import Engine
from support.kube import Kubectl, Operations, backup
from support.world import VeleroBackups, config_map, secret

from local_cluster.cluster import LocalCluster

CONFIG_MAP, SECRET = "v1/ConfigMap", "v1/Secret"

WANTED: dict[str, dict[str, Any]] = {
    "plain": {},
    "ttl": {"ttl": "48h"},
    "retention": {"retention": "30d"},
    "included": {"includedResources": ["configmaps"]},
    "excluded": {"excludedResources": ["secrets", "pods"]},
    "labelled": {"labelSelector": {"matchLabels": {"tier": "front"}}},
    "expression": {"labelSelector": {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["front"]}]}},
    "located": {"storageLocation": "default"},
    "no-snapshots": {"snapshotVolumes": False},
    "volumes": {"snapshotVolumes": True, "snapshotMoveData": False, "defaultVolumesToFsBackup": True},
    "no-class": {"csiSnapshotClassName": "nowhere"},
    "no-class-alias": {"snapshotClassName": "nowhere"},
    "item-timeout": {"itemOperationTimeout": "25m"},
    "own-kind": {"includedResources": ["operations.ops.vworkspace.io", "configmaps"]},
}


class Taken:
    """Backups that have ended, by their names above."""

    def __init__(self, operations: dict[str, Any], velero: VeleroBackups, bucket: Bucket) -> None:
        self._operations, self._velero, self._bucket = operations, velero, bucket

    def status(self, name: str) -> dict[str, Any]:
        return dict(self._operations[name]["status"])

    def velero(self, name: str) -> dict[str, Any]:
        (found,) = self._velero.of(self._operations[name])
        return dict(found)

    def held(self, name: str, kind: str) -> set[str]:
        """Names of the objects of a kind in the bucket."""
        status = self.status(name)
        assert status["phase"] == "Succeeded", status["message"]
        contents = self._bucket.contents(status["outputs"]["backupName"])
        return {item.rpartition("/")[2] for item in contents.get(kind, [])}

    def kinds(self, name: str) -> set[str]:
        return set(self._bucket.contents(self.status(name)["outputs"]["backupName"]))


@pytest.fixture(scope="module")
def taken(
    running_engine: Engine,
    cluster: LocalCluster,
    kubectl: Kubectl,
    operations: Operations,
    backups: VeleroBackups,
    shared_namespace: str,
) -> Taken:
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"namespace": shared_namespace, "name": "somebodys-lock", "labels": {"tier": "front"}},
    }
    kubectl.apply(
        config_map(shared_namespace, "front", tier="front"),
        config_map(shared_namespace, "back", tier="back"),
        secret(shared_namespace, "front-keys", tier="front"),
        lease,
    )
    ended = {}
    for name, keys in WANTED.items():
        # One after the other: Velero lets Backups of one namespace wait for each other for minutes.
        kubectl.apply(backup(shared_namespace, name, parameters=keys))
        ended[name] = operations.await_end(shared_namespace, name)
    return Taken(ended, backups, Bucket(cluster.env()))


def test_a_plain_backup_holds_the_namespace_and_leaves_the_rest_to_velero(taken: Taken) -> None:
    assert {"front", "back"} <= taken.held("plain", CONFIG_MAP)
    assert "front-keys" in taken.held("plain", SECRET)
    spec = taken.velero("plain")["spec"]
    assert spec["ttl"] == "720h0m0s"
    assert "snapshotVolumes" not in spec
    assert "includedResources" not in spec


@pytest.mark.parametrize("name", ["plain", "included", "excluded", "labelled"])
def test_operations_and_leases_are_never_in_a_backup(taken: Taken, name: str) -> None:
    spec = taken.velero(name)["spec"]
    assert {"operations.ops.vworkspace.io", "leases.coordination.k8s.io"} <= set(spec["excludedResources"])
    assert taken.kinds(name).isdisjoint({"ops.vworkspace.io/v1alpha1/Operation", "coordination.k8s.io/v1/Lease"})


def test_operations_cannot_be_asked_for_either(taken: Taken) -> None:
    status = taken.status("own-kind")
    assert (status["phase"], status["reason"]) == ("Failed", "VeleroBackupValidationFailed")
    assert "cannot contain an item in the includes list" in status["message"]


@pytest.mark.parametrize(("name", "ttl"), [("ttl", "48h0m0s"), ("retention", "720h0m0s")])
def test_ttl_and_its_alias_retention_decide_when_velero_deletes_it(taken: Taken, name: str, ttl: str) -> None:
    velero = taken.velero(name)
    assert velero["spec"]["ttl"] == ttl
    assert taken.status(name)["outputs"]["expiresAt"] == velero["status"]["expiration"]


def test_included_resources_are_all_that_is_taken(taken: Taken) -> None:
    assert {"front", "back"} <= taken.held("included", CONFIG_MAP)
    assert taken.kinds("included") <= {CONFIG_MAP, "v1/Namespace"}


def test_excluded_resources_are_left_out(taken: Taken) -> None:
    assert {"front", "back"} <= taken.held("excluded", CONFIG_MAP)
    assert SECRET not in taken.kinds("excluded")


def test_a_label_selector_takes_what_matches(taken: Taken) -> None:
    assert taken.held("labelled", CONFIG_MAP) == {"front"}
    assert taken.held("labelled", SECRET) == {"front-keys"}
    assert "back" in taken.held("expression", CONFIG_MAP)
    assert "front" not in taken.held("expression", CONFIG_MAP)


def test_the_default_storage_location_can_be_named(taken: Taken) -> None:
    assert taken.status("located")["phase"] == "Succeeded"
    assert taken.velero("located")["spec"]["storageLocation"] == "default"


def test_volume_settings_reach_velero_as_they_were_written(taken: Taken) -> None:
    assert taken.velero("no-snapshots")["spec"]["snapshotVolumes"] is False
    spec = taken.velero("volumes")["spec"]
    assert (spec["snapshotVolumes"], spec["snapshotMoveData"], spec["defaultVolumesToFsBackup"]) == (True, False, True)
    assert taken.status("volumes")["phase"] == "Succeeded", "a namespace without volumes has none to miss"


@pytest.mark.parametrize("name", ["no-class", "no-class-alias"])
def test_a_snapshot_class_that_does_not_exist_is_a_warning_in_the_outputs(taken: Taken, name: str) -> None:
    status = taken.status(name)
    assert status["phase"] == "Succeeded"
    (warning,) = status["outputs"]["warnings"]
    assert "VolumeSnapshotClass nowhere does not exist" in warning


def test_the_item_operation_timeout_reaches_velero(taken: Taken) -> None:
    assert taken.velero("item-timeout")["spec"]["itemOperationTimeout"] == "25m0s"

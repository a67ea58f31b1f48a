"""A destination is backed up before it is touched, where something could be lost, and as its volumes need it."""

from typing import Any

import pytest
from support.values import REF, UID, operation

from operation_engine.domain import safety
from operation_engine.domain.safety import Holdings, is_default, wants_safety_backup
from operation_engine.domain.velero import Marks

MARKS = Marks(cluster_id="c", source_namespace_uid="uid-copy", restore_to="till")


def manifest(like: dict[str, Any], **parts: Any) -> dict[str, Any]:
    restore = operation(type="Restore", parameters={"backupName": "b", **parts})
    return safety.backup_manifest(restore, 2, "copy", "velero", MARKS, like)


def test_it_is_a_backup_of_the_destination_and_nothing_else_kept_for_thirty_days() -> None:
    found = manifest({"metadata": {}})
    assert found["spec"]["includedNamespaces"] == ["copy"]
    assert found["spec"]["ttl"] == "720h0m0s"
    assert found["spec"]["excludedResources"] == ["leases.coordination.k8s.io", "operations.ops.vworkspace.io"]
    assert "storageLocation" not in found["spec"]
    labels = found["metadata"]["labels"]
    assert (labels["ops.vworkspace.io/role"], labels["ops.vworkspace.io/attempt"]) == ("safety", "2")
    assert labels["ops.vworkspace.io/operation"] == UID
    assert found["metadata"]["name"] == safety.backup_name(REF, 2) == "nightly-0f8fad5b-safety-2"
    annotations = found["metadata"]["annotations"]
    assert annotations["ops.vworkspace.io/source-namespace-uid"] == "uid-copy"
    assert annotations["ops.vworkspace.io/restore-to"] == "till"


def test_what_a_restore_selects_does_not_narrow_it() -> None:
    narrow = manifest({"metadata": {}}, includedResources=["secrets"], labelSelector={"matchLabels": {"a": "b"}})
    assert narrow["spec"].keys() == manifest({"metadata": {}})["spec"].keys()


def test_volumes_are_taken_as_in_the_backup_that_is_restored() -> None:
    annotations = {"velero.io/csi-volumesnapshot-class_d": "fast", "ops.vworkspace.io/restore-to": "everybody"}
    spec = {"defaultVolumesToFsBackup": True, "snapshotVolumes": False, "ttl": "1h", "includedNamespaces": ["x"]}
    found = manifest({"metadata": {"annotations": annotations}, "spec": spec})
    assert (found["spec"]["defaultVolumesToFsBackup"], found["spec"]["snapshotVolumes"]) == (True, False)
    assert found["spec"]["ttl"] == "720h0m0s"
    assert found["metadata"]["annotations"]["velero.io/csi-volumesnapshot-class_d"] == "fast"
    assert found["metadata"]["annotations"]["ops.vworkspace.io/restore-to"] == "till", "the destination's own consent"


@pytest.mark.parametrize(
    ("asked", "counts", "wanted"),
    [
        (None, {"configmaps": 1}, True),
        (None, {"configmaps": 0}, False),
        (None, {}, False),
        (True, {}, True),
        (False, {"persistentvolumeclaims": 3}, False),
    ],
)
def test_a_backup_comes_first_where_something_could_be_lost(
    asked: bool | None, counts: dict[str, int], wanted: bool
) -> None:
    assert wants_safety_backup(asked, Holdings(counts=counts)) == wanted


def test_holdings_are_told_in_words() -> None:
    assert str(Holdings(counts={"secrets": 2, "configmaps": 0, "deployments": 1})) == "1 deployments, 2 secrets"
    assert str(Holdings()) == "nothing"


@pytest.mark.parametrize(
    ("plural", "meta", "default"),
    [
        ("configmaps", {"name": "kube-root-ca.crt"}, True),
        ("configmaps", {"name": "settings"}, False),
        ("secrets", {"name": "x", "annotations": {"kubernetes.io/service-account.name": "default"}}, True),
        ("secrets", {"name": "kube-root-ca.crt"}, False),
        ("deployments", {"name": "kube-root-ca.crt"}, False),
    ],
)
def test_what_every_namespace_holds_counts_for_nothing(plural: str, meta: dict[str, Any], default: bool) -> None:
    assert is_default(plural, {"metadata": meta}) == default

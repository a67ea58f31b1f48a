"""The backup of a Restore is lost, comes back, or is replaced by a namesake, between attempts."""

from collections.abc import Iterator
from typing import Any

import pytest
from support.engine import Engine
from support.kube import Kubectl, Operations, restore
from support.velero import Velero
from support.world import VELERO, VeleroRestores, config_map

Json = dict[str, Any]
SYNCED_WITHIN_S = 120
NEVER_ENOUGH = {"safetyBackup": False, "verify": {"minItems": 1000}}


class Failing:
    """A Restore whose every attempt fails its last check, so that each retry begins from the backup again."""

    def __init__(self, kubectl: Kubectl, operations: Operations, namespace: str, backup_name: str) -> None:
        self.kubectl, self.operations, self.namespace, self.backup_name = kubectl, operations, namespace, backup_name
        kubectl.apply(restore(namespace, backup_name, parameters=NEVER_ENOUGH))
        first = self.asked(1)
        assert "VerificationFailed" in first["message"], first["message"]
        self.settled: Json = first["outputs"]

    def asked(self, attempt: int) -> Json:
        """The status with which this attempt waits for a person."""
        self.operations.await_path(self.namespace, "restore", "{.status.attempt}", str(attempt))
        asked = self.operations.await_path(self.namespace, "restore", "{.status.reason}", "AwaitingDecision")
        assert asked["status"]["attempt"] == attempt
        return dict(asked["status"])

    def retried(self, attempt: int) -> Json:
        """The status with which the attempt that follows this one waits for a person."""
        self._decide("retry", attempt)
        return self.asked(attempt + 1)

    def abort(self, attempt: int) -> Json:
        self._decide("abort", attempt)
        return self.operations.await_end(self.namespace, "restore")

    def _decide(self, verb: str, attempt: int) -> None:
        decision = f"ops.vworkspace.io/{verb}={attempt}"
        self.kubectl("annotate", "operation", "restore", "-n", self.namespace, decision, "--overwrite")


@pytest.fixture
def velero(kubectl: Kubectl) -> Velero:
    return Velero(kubectl)


@pytest.fixture
def failing(
    engine: Engine, kubectl: Kubectl, operations: Operations, namespace: str, velero: Velero
) -> Iterator[Failing]:
    kubectl.apply(config_map(namespace, "settings"))
    name = velero.back_up(namespace)["metadata"]["name"]
    kubectl("delete", "configmap", "settings", "-n", namespace)
    yield Failing(kubectl, operations, namespace, name)
    velero("backup", "delete", name, "--confirm")


def test_a_backup_that_velero_brings_back_from_the_bucket_is_the_one_that_was_settled_on(
    failing: Failing, kubectl: Kubectl
) -> None:
    """Its object is gone from the cluster, everything is still in the bucket."""
    kubectl("delete", "backups.velero.io", failing.backup_name, "-n", VELERO)
    status = failing.retried(1)
    assert status["attempts"][1]["reason"] == "BackupNotFound", status["message"]
    assert f"Velero Backup {failing.backup_name}, which this Operation restores, is gone" in status["message"]
    other = restore(failing.namespace, failing.backup_name, "too-early")
    kubectl.apply(other)
    refused = failing.operations.await_end(failing.namespace, "too-early")["status"]
    assert refused["reason"] == "BackupNotFound"
    assert "If it lies in the bucket only: Velero looks there for new ones about every minute." in refused["message"]
    back = ("--for=jsonpath={.status.phase}=Completed", f"--timeout={SYNCED_WITHIN_S}s")
    kubectl("wait", "--for=create", "backups.velero.io", failing.backup_name, "-n", VELERO, back[1])
    kubectl("wait", "backups.velero.io", failing.backup_name, "-n", VELERO, *back)
    status = failing.retried(2)
    assert status["attempts"][2]["reason"] == "VerificationFailed", status["message"]
    outputs, settled = status["outputs"], failing.settled
    assert outputs["backupUid"] != settled["backupUid"]
    assert outputs["backupStartedAt"] == settled["backupStartedAt"]
    failing.abort(3)


def test_a_namesake_of_the_backup_is_never_restored_in_its_place(
    failing: Failing, kubectl: Kubectl, velero: Velero
) -> None:
    name = failing.backup_name
    velero("backup", "delete", name, "--confirm")
    kubectl("wait", "--for=delete", "backups.velero.io", name, "-n", VELERO, "--timeout=60s")
    kubectl.apply(config_map(failing.namespace, "made-since"))
    velero("backup", "create", name, "--include-namespaces", failing.namespace, "--wait")
    made = kubectl.json("get", "backups.velero.io", name, "-n", VELERO)
    status = failing.retried(1)
    assert status["attempts"][1]["reason"] == "BackupNotUsable", status["message"]
    begun = failing.settled["backupStartedAt"]
    assert f"is not the one that this Operation settled on (begun {begun}" in status["message"]
    assert f"made anew under its name (begun {made['status']['startTimestamp']}" in status["message"]
    # Velero deletes the Restores of a backup with it.
    assert not VeleroRestores(kubectl).of(failing.abort(2)), "none was made of the namesake"

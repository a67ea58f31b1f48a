"""Two tenants where an installation requires approvals: each claim buys one Restore, as it was asked for."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.claims import SECRET, claim
from support.engine import Engine
from support.kube import Kubectl, Operations, backup
from support.tenants import FROM, TO, Restoring, Tenant, elsewhere, tenant
from support.velero import Velero
from support.world import VELERO, VeleroBackups

from local_cluster.cluster import LocalCluster


@pytest.fixture(scope="module")
def strict_engine(
    cluster: LocalCluster, running_engine: Engine, engine_kubeconfig: Path, tmp_path_factory: Any
) -> Iterator[Engine]:
    secret = tmp_path_factory.mktemp("approvals") / "secret"
    secret.write_bytes(SECRET)
    running_engine.stop("worker")
    settings = {
        "VOP_APPROVALS_MODE": "Required",
        "VOP_APPROVAL_SECRET_FILE": str(secret),
        "VOP_NEW_NAMESPACE_PREFIXES": '{"*": ["{namespace}-"]}',
    }
    strict = Engine(cluster, engine_kubeconfig, settings)
    strict.start("strict-worker", "worker")
    yield strict
    strict.stop("strict-worker")


class TestWhereApprovalsAreRequired:
    """An engine as an installation runs it: approvals required, claims verified, some new namespaces allowed."""

    @pytest.fixture
    def restoring(self, strict_engine: Engine, kubectl: Kubectl, operations: Operations) -> Restoring:
        return Restoring(kubectl, operations)

    def test_a_name_that_was_used_again_is_not_the_one_before_and_only_an_approval_takes_it_for_that(
        self, restoring: Restoring, kubectl: Kubectl, operations: Operations, ann: Tenant
    ) -> None:
        backup_name, name = restoring.backed_up(ann), f"restore-{uuid.uuid4().hex[:6]}"
        kubectl("delete", "namespace", ann.namespace, "--timeout=60s")
        with tenant(kubectl, ann.namespace) as heir:
            kubectl("delete", "configmap", "settings", "-n", heir.namespace)
            restoring.asked(heir, backup_name, name)
            waiting = operations.await_path(heir.namespace, name, "{.status.reason}", "AwaitingApproval")["status"]
            assert waiting["phase"] == "Pending"
            assert f"Namespace {ann.namespace} was deleted and made anew" in waiting["message"]
            assert not waiting.get("attempts")
            # Nobody but who may approve is told the claim.
            restoring.runs(waiting["message"].replace("\u2026", claim(name)))
            status = operations.await_end(heir.namespace, name)["status"]
            assert status["phase"] == "Succeeded", status["message"]
            assert "made anew" in status["approval"]["because"]

    def test_what_changes_while_it_is_waited_for_an_approval_was_not_approved(
        self, restoring: Restoring, kubectl: Kubectl, operations: Operations, ann: Tenant, bob: Tenant
    ) -> None:
        """Consent is taken back, or the backup deleted: then an approval no longer helps, and nothing is touched."""
        kubectl("annotate", "namespace", bob.namespace, f"{TO}={ann.namespace}", as_user=bob.user)
        backup_name = restoring.backed_up(bob)
        names = [f"restore-{uuid.uuid4().hex[:6]}" for _ in range(2)]
        for name in names:
            restoring.asked(ann, backup_name, name, parameters=elsewhere(bob, ann))
            operations.await_path(ann.namespace, name, "{.status.reason}", "AwaitingApproval")
        kubectl("annotate", "namespace", bob.namespace, f"{TO}-", as_user=bob.user)
        self.approve(kubectl, ann, names[0], claim=claim(names[0]))
        first = operations.await_end(ann.namespace, names[0])["status"]
        assert (first["phase"], first["reason"]) == ("Failed", "ConsentMissing"), first["message"]
        restoring.runs(first["message"], bob.user)
        Velero(kubectl)("backup", "delete", backup_name, "--confirm")
        kubectl("wait", "--for=delete", "backups.velero.io", backup_name, "-n", VELERO, "--timeout=60s")
        self.approve(kubectl, ann, names[1], claim=claim(names[1]))
        second = operations.await_end(ann.namespace, names[1])["status"]
        assert (second["phase"], second["reason"]) == ("Failed", "BackupNotFound"), second["message"]
        assert "it expired, or somebody deleted it" in second["message"]
        for status in (first, second):
            assert not status.get("attempts"), "before anything was begun"

    def approve(self, kubectl: Kubectl, who: Tenant, name: str, **approvals: str) -> None:
        body = json.dumps({"spec": {"approvals": approvals}})
        kubectl("patch", "operation", name, "-n", who.namespace, "--type=merge", "-p", body)

    def test_a_restore_waits_and_goes_on_as_soon_as_it_is_approved(
        self, restoring: Restoring, kubectl: Kubectl, operations: Operations, ann: Tenant
    ) -> None:
        restoring.lost(ann)
        name = f"restore-{uuid.uuid4().hex[:6]}"
        restoring.asked(ann, "nightly", name)
        operations.await_path(ann.namespace, name, "{.status.reason}", "AwaitingApproval")
        self.approve(kubectl, ann, name, approvedBy="mallory")
        operations.await_path(ann.namespace, name, "{.status.observedGeneration}", "2")
        assert operations.get(ann.namespace, name)["status"]["reason"] == "AwaitingApproval"
        self.approve(kubectl, ann, name, claim=claim(name))
        operation = operations.await_end(ann.namespace, name)
        status = operation["status"]
        assert status["phase"] == "Succeeded", status["message"]
        assert status["approval"]["by"] == "ann@example.com"
        assert status["approval"]["claimDigest"].startswith("sha256:")
        assert status["observedGeneration"] == operation["metadata"]["generation"] == 3

    def test_a_dry_run_spends_no_claim(self, restoring: Restoring, kubectl: Kubectl, ann: Tenant) -> None:
        restoring.lost(ann)
        name = f"restore-{uuid.uuid4().hex[:6]}"
        approvals = {"claim": claim(name)}
        status = restoring.ended(ann, "nightly", name, policy={"dryRun": True}, approvals=approvals)
        assert (status["phase"], status["reason"]) == ("Succeeded", "DryRun"), status["message"]
        assert "approval" not in status
        kubectl("delete", "operation", name, "-n", ann.namespace)
        status = restoring.ended(ann, "nightly", name, approvals=approvals)
        assert (status["phase"], status["approval"]["by"]) == ("Succeeded", "ann@example.com"), status["message"]

    def test_a_claim_buys_one_restore_and_none_of_a_namesake(
        self, restoring: Restoring, ann: Tenant, bob: Tenant
    ) -> None:
        name = f"restore-{uuid.uuid4().hex[:6]}"
        approvals = {"claim": claim(name)}
        for who in (ann, bob):
            restoring.lost(who)
        assert restoring.ended(ann, "nightly", name, approvals=approvals)["phase"] == "Succeeded"
        message = restoring.refused("ApprovalInvalid", bob, "nightly", name, approvals=approvals)
        assert "it was spent on another Operation before" in message

    def test_an_operation_made_anew_needs_a_claim_of_its_own(
        self, restoring: Restoring, kubectl: Kubectl, ann: Tenant
    ) -> None:
        name = f"restore-{uuid.uuid4().hex[:6]}"
        restoring.lost(ann)
        approvals = {"claim": claim(name)}
        assert restoring.ended(ann, "nightly", name, approvals=approvals)["phase"] == "Succeeded"
        kubectl("delete", "operation", name, "-n", ann.namespace)
        restoring.refused("ApprovalInvalid", ann, "nightly", name, approvals=approvals)

    def test_a_copy_goes_into_a_namespace_that_the_engine_makes(
        self, restoring: Restoring, kubectl: Kubectl, ann: Tenant
    ) -> None:
        name, copy = f"restore-{uuid.uuid4().hex[:6]}", f"{ann.namespace}-copy"
        kubectl("annotate", "namespace", ann.namespace, f"{TO}=somebody", f"{FROM}=everybody", as_user=ann.user)
        restoring.backed_up(ann)
        way = {"namespaceMapping": {ann.namespace: copy}}
        status = restoring.ended(ann, "nightly", name, parameters=way, approvals={"claim": claim(name)})
        try:
            assert status["phase"] == "Succeeded", status["message"]
            assert kubectl.json("get", "configmap", "settings", "-n", copy)
            annotations = kubectl.json("get", "namespace", copy)["metadata"].get("annotations", {})
            assert not {TO, FROM} & set(annotations), "consents do not travel with a backup"
        finally:
            kubectl("delete", "namespace", copy, "--wait=false", "--ignore-not-found")

    def test_a_backup_waits_for_an_approval_where_it_asks_for_one(
        self, restoring: Restoring, kubectl: Kubectl, operations: Operations, ann: Tenant, backups: VeleroBackups
    ) -> None:
        name = f"backup-{uuid.uuid4().hex[:6]}"
        kubectl.apply(backup(ann.namespace, name, approvals={"required": True}), as_user=ann.user)
        waiting = operations.await_path(ann.namespace, name, "{.status.reason}", "AwaitingApproval")
        assert backups.of(waiting) == []
        self.approve(kubectl, ann, name, claim=claim(name))
        assert operations.await_end(ann.namespace, name)["status"]["phase"] == "Succeeded"

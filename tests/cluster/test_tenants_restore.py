"""Two tenants and their data: what each may restore where, as the users that they are."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.claims import SECRET, claim
from support.engine import Engine
from support.kube import Kubectl, Operations, backup, restore
from support.tenants import Tenant, tenant
from support.world import VELERO, VeleroBackups, config_map

from local_cluster.cluster import LocalCluster

Json = dict[str, Any]
TO, FROM = "ops.vworkspace.io/restore-to", "ops.vworkspace.io/restore-from"


@pytest.fixture
def ann(kubectl: Kubectl) -> Iterator[Tenant]:
    with tenant(kubectl) as found:
        yield found


@pytest.fixture
def bob(kubectl: Kubectl) -> Iterator[Tenant]:
    with tenant(kubectl) as found:
        yield found


class Restoring:
    """Backups and Restores as tenants make them."""

    def __init__(self, kubectl: Kubectl, operations: Operations) -> None:
        self._kubectl, self._operations = kubectl, operations

    def backed_up(self, who: Tenant, name: str = "nightly") -> str:
        """The Velero Backup that a tenant's Operation made."""
        self._kubectl.apply(backup(who.namespace, name), as_user=who.user)
        status = self._operations.await_end(who.namespace, name)["status"]
        assert status["phase"] == "Succeeded", status["message"]
        return str(status["outputs"]["backupName"])

    def lost(self, who: Tenant, name: str = "nightly") -> str:
        """The same, and afterwards the tenant loses something."""
        made = self.backed_up(who, name)
        self._kubectl("delete", "configmap", "settings", "-n", who.namespace)
        return made

    def asked(self, who: Tenant, backup_name: str, name: str = "restore", **spec: Any) -> None:
        self._kubectl.apply(restore(who.namespace, backup_name, name, **spec), as_user=who.user)

    def ended(self, who: Tenant, backup_name: str, name: str = "restore", **spec: Any) -> Json:
        """The status with which a tenant's Restore ended."""
        self.asked(who, backup_name, name, **spec)
        status: Json = self._operations.await_end(who.namespace, name)["status"]
        return status

    def refused(self, reason: str, who: Tenant, backup_name: str, name: str = "restore", **spec: Any) -> str:
        """The message of a Restore that was refused for this reason; nothing was made for it."""
        status = self.ended(who, backup_name, name, **spec)
        assert (status["phase"], status["reason"]) == ("Failed", reason), status["message"]
        assert not status.get("attempts")
        return str(status["message"])

    def runs(self, message: str, who: Tenant) -> None:
        """The tenant runs, to the letter, the command that a refusal names."""
        self._kubectl(*message.partition("Consent: kubectl ")[2].split(), as_user=who.user)


@pytest.fixture
def restoring(engine: Engine, kubectl: Kubectl, operations: Operations) -> Restoring:
    return Restoring(kubectl, operations)


def elsewhere(source: Tenant, destination: Tenant) -> Json:
    return {"namespaceMapping": {source.namespace: destination.namespace}}


def test_a_tenant_restores_its_own_after_losing_it(restoring: Restoring, kubectl: Kubectl, ann: Tenant) -> None:
    restoring.lost(ann)
    assert restoring.ended(ann, "nightly")["phase"] == "Succeeded"
    assert kubectl.json("get", "configmap", "settings", "-n", ann.namespace)["data"] == {"name": "settings"}


def test_another_tenant_s_backup_is_out_of_reach_by_its_name(restoring: Restoring, ann: Tenant, bob: Tenant) -> None:
    name = restoring.backed_up(bob)
    message = restoring.refused("BackupNotUsable", ann, name)
    assert f"Velero Backup {name} is of {bob.namespace}" in message


def test_data_moves_only_when_its_owner_agrees_and_no_longer_than_that(
    restoring: Restoring, kubectl: Kubectl, ann: Tenant, bob: Tenant
) -> None:
    kubectl.apply(config_map(bob.namespace, "of-bob"))
    name, way = restoring.backed_up(bob), elsewhere(bob, ann)
    message = restoring.refused("ConsentMissing", ann, name, parameters=way)
    not_ann_s = kubectl(*message.partition("Consent: kubectl ")[2].split(), as_user=ann.user, check=False)
    assert "forbidden" in not_ann_s.stderr.lower(), "consent is the owner's to give"
    restoring.runs(message, bob)
    assert restoring.ended(ann, name, "agreed", parameters=way)["phase"] == "Succeeded"
    assert kubectl.json("get", "configmap", "of-bob", "-n", ann.namespace)["data"] == {"name": "of-bob"}
    kubectl("annotate", "namespace", bob.namespace, f"{TO}-", as_user=bob.user)
    restoring.refused("ConsentMissing", ann, name, "taken-back", parameters=way)


def test_a_tenant_pushes_nothing_into_another_s_namespace(
    restoring: Restoring, kubectl: Kubectl, ann: Tenant, bob: Tenant
) -> None:
    kubectl.apply(config_map(ann.namespace, "of-ann"))
    name, way = restoring.backed_up(ann), elsewhere(ann, bob)
    kubectl("annotate", "namespace", ann.namespace, f"{TO}={bob.namespace}", as_user=ann.user)
    message = restoring.refused("ConsentMissing", ann, name, parameters=way)
    assert f"Namespace {bob.namespace} has not consented" in message
    restoring.runs(message, bob)
    assert restoring.ended(ann, name, "agreed", parameters=way)["phase"] == "Succeeded"
    assert kubectl.json("get", "configmap", "of-ann", "-n", bob.namespace)["data"] == {"name": "of-ann"}


def test_what_was_agreed_before_a_namespace_went_holds_on_its_backup(
    restoring: Restoring, kubectl: Kubectl, ann: Tenant, bob: Tenant
) -> None:
    kubectl("annotate", "namespace", bob.namespace, f"{TO}={ann.namespace}", as_user=bob.user)
    kubectl.apply(config_map(bob.namespace, "of-bob"))
    name = restoring.backed_up(bob)
    kubectl("delete", "namespace", bob.namespace, "--timeout=60s")
    status = restoring.ended(ann, name, parameters=elsewhere(bob, ann))
    assert status["phase"] == "Succeeded", status["message"]
    assert kubectl.json("get", "configmap", "of-bob", "-n", ann.namespace)["data"] == {"name": "of-bob"}


def test_what_was_not_agreed_before_a_namespace_went_only_an_administrator_grants(
    restoring: Restoring, kubectl: Kubectl, ann: Tenant, bob: Tenant
) -> None:
    kubectl.apply(config_map(bob.namespace, "of-bob"))
    name = restoring.backed_up(bob)
    kubectl("delete", "namespace", bob.namespace, "--timeout=60s")
    message = restoring.refused("ConsentMissing", ann, name, parameters=elsewhere(bob, ann))
    command = message.partition("Consent: kubectl ")[2].split()
    assert "forbidden" in kubectl(*command, as_user=ann.user, check=False).stderr.lower()
    kubectl(*command)
    assert restoring.ended(ann, name, "agreed", parameters=elsewhere(bob, ann))["phase"] == "Succeeded"


def test_a_name_that_was_used_again_is_not_the_one_before(
    restoring: Restoring, kubectl: Kubectl, operations: Operations, ann: Tenant
) -> None:
    name = restoring.backed_up(ann)
    kubectl("delete", "namespace", ann.namespace, "--timeout=60s")
    with tenant(kubectl, ann.namespace) as heir:
        restoring.asked(heir, name)
        waiting = operations.await_path(heir.namespace, "restore", "{.status.reason}", "AwaitingApproval")["status"]
        assert waiting["phase"] == "Pending"
        assert f"Namespace {ann.namespace} was deleted and made anew" in waiting["message"]
        assert not waiting.get("attempts")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": {"app.vworkspace.io/cluster-id": "another"}}, "was made in another cluster (another"),
        ({"namespaces": ["and-another"]}, "takes a backup of namespace"),
        ({"namespaces": []}, "is of every namespace"),
    ],
    ids=["of another cluster", "of several", "of everything"],
)
def test_a_backup_that_is_not_this_namespace_s_alone_is_refused(
    restoring: Restoring, kubectl: Kubectl, backups: VeleroBackups, ann: Tenant, change: Json, says: str
) -> None:
    name = f"by-hand-{uuid.uuid4().hex[:6]}"
    more = change.get("namespaces")
    namespaces = [ann.namespace] if more is None else [*([ann.namespace] if more else []), *more]
    meta = {"name": name, "namespace": VELERO, "labels": change.get("labels", {})}
    status = {"phase": "Completed", "expiration": "2100-01-01T00:00:00Z"}
    spec = {"includedNamespaces": namespaces, "storageLocation": "default"}
    kubectl.apply({"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": meta, "spec": spec, "status": status})
    try:
        assert says in restoring.refused("BackupNotUsable", ann, name)
    finally:
        backups.delete(name)


def test_a_tenant_s_own_backup_wins_over_another_s_of_the_same_name(
    restoring: Restoring, kubectl: Kubectl, backups: VeleroBackups, ann: Tenant, bob: Tenant
) -> None:
    shared = f"nightly-{uuid.uuid4().hex[:6]}"
    restoring.lost(ann, shared)
    meta = {"name": shared, "namespace": VELERO}
    spec = {"includedNamespaces": [bob.namespace], "storageLocation": "default"}
    status = {"phase": "Completed"}
    kubectl.apply({"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": meta, "spec": spec, "status": status})
    try:
        ended = restoring.ended(ann, shared)
        assert ended["phase"] == "Succeeded", ended["message"]
        assert kubectl.json("get", "configmap", "settings", "-n", ann.namespace)
    finally:
        backups.delete(shared)


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
        given = {"approvals": {"claim": claim(name)}}
        status = restoring.ended(ann, "nightly", name, policy={"dryRun": True}, **given)
        assert (status["phase"], status["reason"]) == ("Succeeded", "DryRun"), status["message"]
        assert "approval" not in status
        kubectl("delete", "operation", name, "-n", ann.namespace)
        status = restoring.ended(ann, "nightly", name, **given)
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

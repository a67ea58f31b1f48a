"""Two tenants and their data: what each may restore where, as the users that they are."""

import uuid
from typing import Any

import pytest
from support.engine import Engine
from support.kube import Kubectl, Operations
from support.tenants import TO, Restoring, Tenant, elsewhere
from support.velero import Velero
from support.world import VELERO, VeleroBackups, config_map, fresh_namespace

Json = dict[str, Any]
SYNCED_WITHIN_S = 120


@pytest.fixture
def restoring(engine: Engine, kubectl: Kubectl, operations: Operations) -> Restoring:
    return Restoring(kubectl, operations)


def test_a_tenant_restores_its_own_after_losing_it(restoring: Restoring, kubectl: Kubectl, ann: Tenant) -> None:
    restoring.lost(ann)
    assert restoring.ended(ann, "nightly")["phase"] == "Succeeded"
    assert kubectl.json("get", "configmap", "settings", "-n", ann.namespace)["data"] == {"name": "settings"}


def test_another_tenant_s_backup_is_out_of_reach_by_its_name(
    restoring: Restoring, kubectl: Kubectl, ann: Tenant, bob: Tenant
) -> None:
    name = restoring.backed_up(bob)
    message = restoring.refused("BackupNotUsable", ann, name)
    assert f"Velero Backup {name} is not a backup of namespace {ann.namespace}" in message
    assert bob.namespace not in message
    told = kubectl.json("get", "operation", "restore", "-n", ann.namespace)["status"]
    assert "outputs" not in told, "nor when it was made, nor where it lies"


def test_data_moves_only_when_its_owner_agrees_and_no_longer_than_that(
    restoring: Restoring, kubectl: Kubectl, ann: Tenant, bob: Tenant
) -> None:
    kubectl.apply(config_map(bob.namespace, "of-bob"))
    name, way = restoring.backed_up(bob), elsewhere(bob, ann)
    message = restoring.refused("ConsentMissing", ann, name, parameters=way)
    assert "forbidden" in restoring.runs(message, ann.user, check=False).lower(), "consent is the owner's to give"
    restoring.runs(message, bob.user)
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
    restoring.runs(message, bob.user)
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
    assert "forbidden" in restoring.runs(message, ann.user, check=False).lower()
    restoring.runs(message)
    assert restoring.ended(ann, name, "agreed", parameters=elsewhere(bob, ann))["phase"] == "Succeeded"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"namespaces": ["and-another"]}, "and of nothing else"),
        ({"namespaces": []}, "and of nothing else"),
    ],
    ids=["of several", "of everything"],
)
def test_a_backup_that_is_not_this_namespace_s_alone_is_refused(
    restoring: Restoring, kubectl: Kubectl, backups: VeleroBackups, ann: Tenant, change: Json, says: str
) -> None:
    name = f"by-hand-{uuid.uuid4().hex[:6]}"
    more = change.get("namespaces")
    namespaces = [ann.namespace] if more is None else [*([ann.namespace] if more else []), *more]
    meta = {"name": name, "namespace": VELERO}
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


def test_a_backup_that_was_synced_from_another_cluster_s_bucket_is_an_administrator_s_to_accept(
    restoring: Restoring, kubectl: Kubectl, ann: Tenant
) -> None:
    """Two clusters share the bucket: Velero shows each the other's backups."""
    velero = Velero(kubectl)
    name = velero.back_up(ann.namespace, "--labels", "app.vworkspace.io/cluster-id=another")["metadata"]["name"]
    kubectl("delete", "backups.velero.io", name, "-n", VELERO)
    kubectl("delete", "configmap", "settings", "-n", ann.namespace)
    within = f"--timeout={SYNCED_WITHIN_S}s"
    kubectl("wait", "--for=create", "backups.velero.io", name, "-n", VELERO, within)
    kubectl("wait", "backups.velero.io", name, "-n", VELERO, "--for=jsonpath={.status.phase}=Completed", within)
    try:
        message = restoring.refused("BackupNotUsable", ann, name)
        assert "was made in another cluster (another" in message
        assert "forbidden" in restoring.runs(message, ann.user, check=False).lower()
        restoring.runs(message)
        # It records no uid, and its namespace is older than it: nobody else's.
        assert restoring.ended(ann, name, "accepted")["phase"] == "Succeeded"
    finally:
        velero("backup", "delete", name, "--confirm")


def test_consent_that_is_taken_back_between_attempts_stops_the_next_and_given_again_lets_it_go_on(
    restoring: Restoring, kubectl: Kubectl, operations: Operations, ann: Tenant, bob: Tenant
) -> None:
    kubectl("annotate", "namespace", bob.namespace, f"{TO}={ann.namespace}", as_user=bob.user)
    parameters = {**elsewhere(bob, ann), "safetyBackup": False}
    # Both have the same ConfigMap: every attempt that is let go on restores nothing.
    restoring.asked(ann, restoring.backed_up(bob), parameters=parameters)

    def asked(attempt: int) -> Json:
        operations.await_path(ann.namespace, "restore", "{.status.attempt}", str(attempt))
        found = operations.await_path(ann.namespace, "restore", "{.status.reason}", "AwaitingDecision")
        return dict(found["status"])

    def decide(verb: str, attempt: int) -> None:
        decision = f"ops.vworkspace.io/{verb}={attempt}"
        kubectl("annotate", "operation", "restore", "-n", ann.namespace, decision, "--overwrite")

    assert asked(1)["attempts"][0]["reason"] == "NothingRestored"
    kubectl("annotate", "namespace", bob.namespace, f"{TO}-", as_user=bob.user)
    decide("retry", 1)
    status = asked(2)
    assert status["attempts"][1]["reason"] == "ConsentMissing", status["message"]
    restoring.runs(status["message"].partition(" Repair the cause")[0], bob.user)
    decide("retry", 2)
    assert asked(3)["attempts"][2]["reason"] == "NothingRestored"
    decide("abort", 3)
    operations.await_end(ann.namespace, "restore")


def test_a_destination_that_the_engine_does_not_serve_takes_nothing_until_an_administrator_says_so(
    restoring: Restoring, kubectl: Kubectl, ann: Tenant
) -> None:
    with fresh_namespace(kubectl, {}) as foreign:
        name, way = restoring.backed_up(ann), {"namespaceMapping": {ann.namespace: foreign}}
        message = restoring.refused("NamespaceNotManaged", ann, name, parameters=way)
        assert "forbidden" in restoring.runs(message, ann.user, check=False).lower()
        restoring.runs(message)
        message = restoring.refused("ConsentMissing", ann, name, "served", parameters=way)
        restoring.runs(message)
        assert restoring.ended(ann, name, "agreed", parameters=way)["phase"] == "Succeeded"


def test_a_destination_that_does_not_exist_is_made_by_who_may(
    restoring: Restoring, kubectl: Kubectl, ann: Tenant
) -> None:
    missing = f"{ann.namespace}-later"
    name, way = restoring.backed_up(ann), {"namespaceMapping": {ann.namespace: missing}}
    message = restoring.refused("ConsentMissing", ann, name, parameters=way)
    assert "names may begin with: none" in message
    assert "forbidden" in restoring.runs(message, ann.user, check=False).lower()
    try:
        restoring.runs(message)
        assert restoring.ended(ann, name, "agreed", parameters=way)["phase"] == "Succeeded"
        assert kubectl.json("get", "configmap", "settings", "-n", missing)["data"] == {"name": "settings"}
    finally:
        kubectl("delete", "namespace", missing, "--wait=false", "--ignore-not-found")

"""Restores as values: the backup that is chosen, the work order for Velero, what a resource list means."""

import json
from datetime import timedelta
from typing import Any

import pytest
from support.values import NOW, later, operation

from operation_engine.domain import leftovers, restored, restores
from operation_engine.domain.admission import Answer, Gate, refuse
from operation_engine.domain.resources.operation_spec import PartialFailure
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.restored import restored_items
from operation_engine.domain.velero import BackupObservation, StorageLocation

HOUR = timedelta(hours=1)
AVAILABLE = StorageLocation(name="default", phase="Available", access_mode="ReadOnly")
FINE = BackupObservation(name="b", uid="u", phase="Completed", storage_location="default", expiration=later(7200))


def restore(**parameters: Any) -> Any:
    return operation(type="Restore", parameters={"backupName": "b", **parameters})


def made(phase: str, at: str, name: str = "b") -> dict[str, Any]:
    return {"metadata": {"name": name, "creationTimestamp": at}, "status": {"phase": phase}}


def usable(backup: BackupObservation, location: StorageLocation | None = AVAILABLE, accept: bool = False) -> Any:
    policy = PartialFailure.ACCEPT if accept else PartialFailure.FAIL
    return restores.usable(backup, location, policy, NOW, HOUR)


def test_a_completed_backup_that_outlives_the_restore_is_usable_even_from_a_read_only_location() -> None:
    assert usable(FINE).answer == Answer.PASS
    assert usable(FINE.model_copy(update={"expiration": None})).answer == Answer.PASS


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"phase": "InProgress"}, "is InProgress, not Completed"),
        ({"phase": ""}, "is New, not Completed"),
        ({"phase": "Deleting"}, "is Deleting"),
        ({"phase": "Failed", "failure_reason": "disk full"}, "is Failed, not Completed: disk full"),
        ({"phase": "PartiallyFailed", "errors": 2}, "PartiallyFailed with 2 errors"),
        ({"errors": 1}, "says Completed and also: 1 errors"),
        ({"failure_reason": "odd"}, "says Completed and also: odd"),
        ({"expiration": later(3600)}, "expires at 2026-03-01T13:00:00Z"),
    ],
)
def test_a_backup_that_cannot_be_relied_on_is_refused_with_its_fault(change: dict[str, Any], says: str) -> None:
    gate = usable(FINE.model_copy(update=change))
    assert (gate.answer, gate.reason) == (Answer.REFUSE, "BackupNotUsable")
    assert says in gate.message


def test_a_partial_backup_is_usable_where_the_policy_accepts_it_and_a_failed_one_never() -> None:
    assert usable(FINE.model_copy(update={"phase": "PartiallyFailed"}), accept=True).answer == Answer.PASS
    assert usable(FINE.model_copy(update={"phase": "Failed"}), accept=True).answer == Answer.REFUSE


@pytest.mark.parametrize(
    "location", [None, AVAILABLE.model_copy(update={"phase": "Unavailable", "message": "no route"})]
)
def test_a_backup_whose_location_is_away_is_waited_for(location: StorageLocation | None) -> None:
    gate = usable(FINE, location)
    assert (gate.answer, gate.reason) == (Answer.WAIT, "StorageLocationUnavailable")
    assert location is None or "no route" in gate.message


def test_the_newest_backup_that_can_be_restored_is_chosen() -> None:
    old, new = made("Completed", "2026-01-01T00:00:00Z"), made("Completed", "2026-02-01T00:00:00Z")
    partial, failed = made("PartiallyFailed", "2026-03-01T00:00:00Z"), made("Failed", "2026-04-01T00:00:00Z")
    everything = [old, failed, new, partial]
    assert restores.newest_usable(everything, PartialFailure.FAIL) == new
    assert restores.newest_usable(everything, PartialFailure.ACCEPT) == partial
    assert restores.newest_usable([failed], PartialFailure.FAIL) == failed, "so that its fault can be told"
    assert restores.newest_usable([], PartialFailure.FAIL) is None


@pytest.mark.parametrize("text", ["a,b=c", "a=b", "", "-a", "a" * 64, "a\nb", "a)"])
def test_what_could_add_a_term_to_a_selector_is_no_label_value(text: str) -> None:
    assert not restores.is_label_value(text)
    assert restores.is_label_value("nightly.backup_1-a")


def test_the_work_order_names_the_source_alone_and_never_what_is_beyond_it() -> None:
    spec = restores.restore_spec(restore(), "b")
    assert spec["includedNamespaces"] == ["shop"]
    assert "namespaceMapping" not in spec
    assert "includeClusterResources" not in spec
    assert {"leases.coordination.k8s.io", "operations.ops.vworkspace.io"} <= set(spec["excludedResources"])
    moved = restores.restore_spec(restore(namespaceMapping={"shop": "copy"}), "b")
    assert (moved["includedNamespaces"], moved["namespaceMapping"]) == (["shop"], {"shop": "copy"})


def test_every_parameter_reaches_velero_as_it_was_written() -> None:
    spec = restores.restore_spec(
        restore(
            includedResources=["configmaps"],
            excludedResources=["secrets"],
            labelSelector={"matchLabels": {"a": "b"}},
            restorePVs=True,
            existingResourcePolicy="update",
            itemOperationTimeout="25m",
        ),
        "b",
    )
    assert spec["includedResources"] == ["configmaps"]
    assert "secrets" in spec["excludedResources"]
    assert spec["labelSelector"]["matchLabels"] == {"a": "b"}
    assert (spec["restorePVs"], spec["existingResourcePolicy"], spec["itemOperationTimeout"]) == (
        True,
        "update",
        "25m0s",
    )


def test_storage_classes_are_mapped_by_a_modifier_of_this_restore_alone() -> None:
    mapped = restore(storageClassMapping={"slow": "fast", "fast": "slow", "1": "true"})
    manifest = restores.restore_manifest(mapped, "r-1", 1, "velero", "cluster", "b", is_modified=True)
    assert manifest["spec"]["resourceModifier"] == {"kind": "ConfigMap", "name": "r-1"}
    modifier = restores.modifier_manifest(manifest, restores.class_rules({"slow": "fast", "1": "true"}))
    assert modifier["metadata"]["name"] == "r-1"
    (text,) = modifier["data"].values()
    rules = json.loads(text)["resourceModifierRules"]
    claims = [rule for rule in rules if rule["conditions"]["groupResource"] == "persistentvolumeclaims"]
    assert [rule["patches"][0]["value"] for rule in claims] == ['"fast"', '"true"'], "Velero would read true as a truth"
    assert "resourceModifier" not in restores.restore_manifest(restore(), "r-1", 1, "velero", "c", "b")["spec"]


LIST = {
    "v1/Namespace": ["shop(created)"],
    "v1/Secret": ["shop/keys(created)", "shop/old(skipped)", "shop/differs(failed)"],
    "v1/PersistentVolumeClaim": ["shop/kept(updated)", "shop/new(created)", "shop/same(skipped)"],
    "v1/PersistentVolume": ["pv-1(created)"],
    "v1/ConfigMap": ["shop/settings(updated)", "nonsense", "shop/odd(pondered)"],
}


def test_a_claim_that_existed_is_never_counted_as_restored() -> None:
    items = restored_items(LIST)
    assert restored.kept_claims(items) == ("kept", "same")
    assert restored.restored_count(items) == 3, "keys, new, settings"
    assert "PersistentVolumeClaim 1" in restored.told(items)


def test_what_every_namespace_has_a_copy_of_its_own_of_is_no_failure_to_be_told() -> None:
    listed = {"v1/ConfigMap": ["shop/kube-root-ca.crt(failed)", "shop/settings(created)"]}
    assert restored.told(restored_items(listed)) == "1 created (ConfigMap 1)"
    differs = {"v1/ConfigMap": [*listed["v1/ConfigMap"], "shop/pages(failed)"]}
    assert restored.told(restored_items(differs)) == "1 created, 1 failed (ConfigMap 1)"
    came_back = {"v1/ConfigMap": ["shop/kube-root-ca.crt(updated)"]}
    assert restored.told(restored_items(came_back)) == "1 updated (ConfigMap 1)"


def test_a_list_that_cannot_be_understood_holds_nothing() -> None:
    assert restored_items(None) == ()
    assert restored_items([]) == ()
    assert restored_items({"v1/Secret": None}) == ()


def test_what_the_backup_holds_and_the_restore_does_not_mention_is_told_by_kind() -> None:
    backed_up = {"v1/Secret": ["a"] * 4, "v1/Event": ["e"] * 9, "apps/v1/Deployment": ["web"]}
    assert restored.missing(backed_up, restored_items(LIST)) == ("Deployment 1", "Secret 1")


def test_only_what_the_attempt_created_in_the_destination_may_be_deleted() -> None:
    created = leftovers.created_in("shop", restored_items({**LIST, "v1/Pod": ["other/web(created)"]}))
    assert created == {"v1/Secret": {"keys"}, "v1/PersistentVolumeClaim": {"new"}}

    def found(name: str, at: str) -> dict[str, Any]:
        return {"metadata": {"name": name, "uid": f"uid-{name}", "creationTimestamp": at}}

    labelled = [found("keys", "2026-03-01T12:00:00Z"), found("old", "2026-03-01T12:00:00Z")]
    (one,) = leftovers.deletable("v1/Secret", created["v1/Secret"], labelled, NOW)
    assert (str(one), one.uid) == ("Secret keys", "uid-keys")
    older = [found("keys", "2026-03-01T11:59:59Z")]
    assert leftovers.deletable("v1/Secret", created["v1/Secret"], older, NOW) == ()


def test_without_a_list_no_secret_goes_and_a_claim_only_where_a_data_mover_was_at_it() -> None:
    def found(name: str, at: str = "2026-03-01T12:00:00Z") -> dict[str, Any]:
        return {"metadata": {"name": name, "uid": f"uid-{name}", "creationTimestamp": at}}

    labelled, movers = (
        [found("half"), found("operator-s"), found("old", "2026-03-01T11:59:59Z")],
        {"uid-half", "uid-old"},
    )

    def going(kind: str) -> list[str]:
        return [one.name for one in leftovers.unlisted(kind, labelled, NOW, movers)]

    assert going("v1/Secret") == []
    assert going("v1/PersistentVolumeClaim") == ["half"]
    assert going("v1/Pod") == ["half", "operator-s"]


def test_pods_made_anew_beside_a_workload_that_runs_are_no_restore() -> None:
    """Over a live namespace every pod of the backup has another name by now, so Velero creates it."""
    live = {
        "apps/v1/Deployment": ["shop/web(skipped)"],
        "apps/v1/ReplicaSet": ["shop/web-1(created)"],
        "v1/Pod": ["shop/web-1-a(created)"],
        "discovery.k8s.io/v1/EndpointSlice": ["shop/web-x(created)"],
        "v1/Endpoints": ["shop/web(created)"],
    }
    assert restored.restored_count(restored_items(live)) == 0
    bare = {"v1/Pod": ["shop/job-a(created)"]}
    assert restored.restored_count(restored_items(bare)) == 1


def test_what_an_earlier_attempt_brought_back_counts_for_a_later_one_but_not_its_claims() -> None:
    before = restored.brought(restored_items(LIST))
    again = restored_items({"v1/Secret": ["shop/keys(skipped)"], "v1/PersistentVolumeClaim": ["shop/new(skipped)"]})
    assert restored.restored_count(again) == 0
    assert restored.restored_count(again, before) == 1


def test_workloads_that_exist_and_differ_have_to_roll_out_too() -> None:
    assert restored.workloads(restored_items({"apps/v1/Deployment": ["shop/web(failed)"]})) == ("Deployment/web",)


def test_a_restore_into_another_namespace_brings_nobody_s_rights_along() -> None:
    moved = restores.restore_spec(restore(namespaceMapping={"shop": "copy"}), "b")
    assert "rolebindings.rbac.authorization.k8s.io" in moved["excludedResources"]
    assert "rolebindings.rbac.authorization.k8s.io" not in restores.restore_spec(restore(), "b")["excludedResources"]


def test_a_backup_that_was_synced_later_is_not_newer_for_that() -> None:
    synced = made("Completed", "2026-09-01T00:00:00Z")
    synced["status"]["startTimestamp"] = "2025-01-01T00:00:00Z"
    newer = made("Completed", "2026-02-01T00:00:00Z")
    newer["status"]["startTimestamp"] = "2026-02-01T00:00:00Z"
    assert restores.newest_usable([synced, newer], PartialFailure.FAIL) == newer


def test_before_its_owner_has_agreed_nothing_is_told_of_a_backup() -> None:
    words = refuse(Reason.BACKUP_NOT_USABLE, "Velero Backup theirs is Failed: no space left on till-db-0")
    told = restores.before_consent(words, "theirs", "till")
    assert (told.answer, told.reason) == (Answer.REFUSE, "BackupNotUsable")
    assert "Failed" not in told.message
    assert "no space left" not in told.message
    passed = Gate(answer=Answer.PASS, message="fine")
    assert restores.before_consent(passed, "theirs", "till") == passed

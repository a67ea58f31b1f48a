"""The fate of each object of a backup, by Velero's rules: one row a rule."""

from typing import Any

import pytest

from operation_engine.domain.plans import Fate, PlannedObject
from operation_engine.domain.resources.operation_parameters import LabelSelector
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.restore_outlook import doubts, outlook
from operation_engine.domain.restore_plan import (
    WITHOUT_DATA,
    Account,
    Held,
    Live,
    Selection,
    foretold,
    is_object,
    listed,
    matches,
    outline,
)
from operation_engine.domain.volumes import VolumeResult

HOME = Selection(source="shop", destination="shop")
FRONT = LabelSelector.model_validate({"matchLabels": {"tier": "front"}})
CLAIM = "v1/PersistentVolumeClaim"


def held(kind: str, name: str, resource: str, namespace: str = "shop", **parts: Any) -> Held:
    return Held(kind=kind, name=name, resource=resource, namespace=namespace, **{"labels": {}, **parts})


def config_map(name: str = "a", **parts: Any) -> Held:
    return held("v1/ConfigMap", name, "configmaps", **parts)


def claim(name: str = "data", **parts: Any) -> Held:
    return held(CLAIM, name, "persistentvolumeclaims", **parts)


def pod(name: str = "web-1", **parts: Any) -> Held:
    return held("v1/Pod", name, "pods", **parts)


def volume(name: str = "pv-1", **parts: Any) -> Held:
    return held("v1/PersistentVolume", name, "persistentvolumes", "", **parts)


def live(**names: str) -> Live:
    """What there is, by Kind: everything else is listed and empty."""
    kinds = ("v1/ConfigMap", CLAIM, "v1/Pod", "v1/Secret", "v1/ServiceAccount", "batch/v1/Job", "v1/Event")
    short = {kind.rpartition("/")[2]: kind for kind in kinds}
    return Live(
        names={kind: frozenset() for kind in kinds} | {short[k]: frozenset(v.split()) for k, v in names.items()}
    )


EMPTY = live()


def fate(item: Held, there: Live = EMPTY, selection: Selection = HOME, *others: Held, **parts: Any) -> Fate:
    found = foretold([item, *others], there, selection, parts.get("volumes", ()))
    return found[0].fate


def test_what_is_missing_is_created_and_what_exists_is_left() -> None:
    assert fate(config_map()) == Fate.CREATE
    assert fate(config_map(), live(ConfigMap="a b")) == Fate.KEEP
    assert fate(config_map(), live(ConfigMap="b")) == Fate.CREATE


def test_what_exists_is_updated_where_that_is_asked_for() -> None:
    updating = HOME.model_copy(update={"updates": True})
    assert fate(config_map(), live(ConfigMap="a"), updating) == Fate.UPDATE
    assert fate(config_map(), EMPTY, updating) == Fate.CREATE
    assert fate(claim(), live(PersistentVolumeClaim="data"), updating) == Fate.KEEP, "its data stays"


def test_what_is_deleted_first_is_created_anew() -> None:
    going = HOME.model_copy(update={"going": frozenset({("PersistentVolumeClaim", "data"), ("Pod", "web-1")})})
    assert fate(claim(), live(PersistentVolumeClaim="data"), going) == Fate.REPLACE
    assert fate(pod(), live(Pod="web-1"), going) == Fate.REPLACE
    assert fate(pod("web-2"), live(Pod="web-2"), going) == Fate.KEEP


def test_what_may_not_be_listed_and_what_is_not_served_is_unknown() -> None:
    custom = held("example.com/v1/Thing", "t", "things.example.com")
    assert fate(custom) == Fate.UNKNOWN
    (planned,) = foretold([custom], Live(not_served=frozenset({custom.kind})), HOME, ())
    assert planned.why == "the cluster does not serve this kind"
    assert fate(held("example.com/v1/Thing", "t", "")) == Fate.UNKNOWN


LEFT_OUT: dict[str, Held] = {
    "another namespace's": config_map(namespace="other"),
    "cluster-wide": held(
        "rbac.authorization.k8s.io/v1/ClusterRole", "all", "clusterroles.rbac.authorization.k8s.io", ""
    ),
    "an event": held("v1/Event", "e", "events"),
    "an ended pod": pod(has_ended=True),
    "an ended job": held("batch/v1/Job", "j", "jobs.batch", has_ended=True),
    "a mirror pod": pod(is_mirror=True),
    "a volume without its claim": volume(),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_velero_never_brings_is_left_out_and_says_why(case: str) -> None:
    (planned,) = foretold([LEFT_OUT[case]], EMPTY, HOME, ())
    assert planned.fate == Fate.LEAVE_OUT
    assert planned.why


@pytest.mark.parametrize(
    ("selected", "taken"),
    [
        ({}, True),
        ({"included": {"configmaps"}}, True),
        ({"included": {"*"}}, True),
        ({"included": {"secrets"}}, False),
        ({"excluded": {"configmaps"}}, False),
        ({"excluded": {"*"}}, False),
        ({"included": {"configmaps"}, "excluded": {"configmaps"}}, False),
        ({"labels": FRONT}, False),
    ],
)
def test_what_is_not_selected_is_left_out(selected: dict[str, Any], taken: bool) -> None:
    selection = HOME.model_copy(update={k: frozenset(v) if isinstance(v, set) else v for k, v in selected.items()})
    assert (fate(config_map(), EMPTY, selection) == Fate.CREATE) == taken
    assert fate(config_map(labels={"tier": "front"}), EMPTY, HOME.model_copy(update={"labels": FRONT})) == Fate.CREATE


def test_labels_that_could_not_be_read_leave_it_unknown() -> None:
    assert fate(config_map(labels=None), EMPTY, HOME.model_copy(update={"labels": FRONT})) == Fate.UNKNOWN
    assert fate(config_map(labels=None)) == Fate.CREATE


def test_a_claim_comes_with_the_pod_that_mounts_it_whatever_its_labels() -> None:
    selection = HOME.model_copy(update={"labels": FRONT})
    mounting = pod(labels={"tier": "front"}, claims=("data",))
    assert fate(claim(), EMPTY, selection) == Fate.LEAVE_OUT
    assert fate(claim(), EMPTY, selection, mounting) == Fate.CREATE
    assert fate(claim(), EMPTY, selection, mounting.model_copy(update={"labels": {}})) == Fate.LEAVE_OUT
    without_claims = selection.model_copy(update={"excluded": frozenset({"persistentvolumeclaims"})})
    assert fate(claim(), EMPTY, without_claims, mounting) == Fate.LEAVE_OUT


def result(method: str, **parts: Any) -> VolumeResult:
    return VolumeResult(claim="data", namespace="shop", method=method, **{"succeeded": True, **parts})


DATA: list[tuple[tuple[VolumeResult, ...], tuple[Held, ...], str]] = [
    ((), (), "EMPTY: the backup holds no data of it"),
    ((result("PodVolumeBackup", succeeded=False),), (), "EMPTY: the backup holds no data of it"),
    ((result("PodVolumeBackup", skipped=True),), (), "EMPTY: the backup holds no data of it"),
    ((result("CSISnapshot"),), (), "with its data"),
    ((result("PodVolumeBackup"),), (pod(claims=("data",)),), "with its data"),
    ((result("PodVolumeBackup"),), (), WITHOUT_DATA),
    ((result("PodVolumeBackup"),), (pod("other", claims=("data",)),), WITHOUT_DATA),
]


@pytest.mark.parametrize(("volumes", "pods", "why"), DATA)
def test_a_claim_that_is_made_says_whether_its_data_comes(
    volumes: tuple[VolumeResult, ...], pods: tuple[Held, ...], why: str
) -> None:
    planned, *_ = foretold([claim(), *pods], live(Pod="other"), HOME, volumes)
    assert (planned.fate, planned.why) == (Fate.CREATE, why)


def test_restore_pvs_false_leaves_the_snapshots_alone_and_not_what_pods_saved() -> None:
    without = HOME.model_copy(update={"from_snapshots": False})
    (planned,) = foretold([claim()], EMPTY, without, (result("CSISnapshot"),))
    assert planned.why == "restorePVs is false: without what its snapshot holds"
    planned, _ = foretold([claim(), pod(claims=("data",))], EMPTY, without, (result("PodVolumeBackup"),))
    assert planned.why == "with its data"


VOLUMES: list[tuple[Held, tuple[VolumeResult, ...], Fate]] = [
    (volume(), (result("NativeSnapshot"),), Fate.CREATE),
    (volume(), (result("PodVolumeBackup"),), Fate.LEAVE_OUT),
    (volume(goes_with_claim=True), (), Fate.LEAVE_OUT),
    (volume(), (), Fate.CREATE),
    (volume("pv-there"), (), Fate.KEEP),
    (volume(labels=None), (), Fate.UNKNOWN),
]


@pytest.mark.parametrize(("item", "volumes", "expected"), VOLUMES)
def test_a_volume_comes_as_its_data_does(item: Held, volumes: tuple[VolumeResult, ...], expected: Fate) -> None:
    there = EMPTY.model_copy(update={"volumes": frozenset({"pv-there"})})
    assert fate(item, there, HOME, claim(volume=item.name), volumes=volumes) == expected


def test_a_service_account_that_exists_gets_what_it_lacks() -> None:
    account = held("v1/ServiceAccount", "web", "serviceaccounts", account=Account(pull_secrets=frozenset({"registry"})))
    there = live(ServiceAccount="web")
    for has, expected in ((Account(), Fate.UPDATE), (account.account, Fate.KEEP), (None, Fate.UNKNOWN)):
        known = {} if has is None else {"web": has}
        assert fate(account, there.model_copy(update={"accounts": known})) == expected
    assert fate(account) == Fate.CREATE


def test_a_new_namespace_holds_what_kubernetes_puts_there_and_nothing_else() -> None:
    new, moved = Live(is_new=True), Selection(source="shop", destination="copy")
    assert fate(config_map(), new, moved) == Fate.CREATE
    assert fate(config_map("kube-root-ca.crt"), new, moved) == Fate.KEEP
    assert fate(held("v1/ServiceAccount", "default", "serviceaccounts"), new, moved) == Fate.KEEP
    made, thing = foretold([held("v1/Namespace", "shop", "namespaces", ""), config_map()], new, moved, ())
    assert (made.name, made.fate) == ("copy", Fate.CREATE)
    assert thing.namespace == "copy"
    assert fate(held("v1/Namespace", "shop", "namespaces", "")) == Fate.KEEP


def test_tokens_that_kubernetes_makes_are_left_out() -> None:
    token = held("v1/Secret", "web-token-x", "secrets", is_token=True)
    assert fate(token, live(ServiceAccount="web")) == Fate.LEAVE_OUT
    assert fate(token, live(ServiceAccount="other")) == Fate.CREATE
    assert fate(token.model_copy(update={"is_token": False}), live(ServiceAccount="web")) == Fate.CREATE


EXPRESSIONS = [
    ({"key": "a", "operator": "In", "values": ["1", "2"]}, {"a": "1"}, True),
    ({"key": "a", "operator": "In", "values": ["1"]}, {}, False),
    ({"key": "a", "operator": "NotIn", "values": ["1"]}, {"a": "1"}, False),
    ({"key": "a", "operator": "NotIn", "values": ["1"]}, {}, True),
    ({"key": "a", "operator": "Exists"}, {"a": ""}, True),
    ({"key": "a", "operator": "Exists"}, {}, False),
    ({"key": "a", "operator": "DoesNotExist"}, {}, True),
    ({"key": "a", "operator": "DoesNotExist"}, {"a": ""}, False),
]


@pytest.mark.parametrize(("term", "labels", "expected"), EXPRESSIONS)
def test_selectors_match_as_kubernetes_has_it(term: dict[str, Any], labels: dict[str, str], expected: bool) -> None:
    assert matches(LabelSelector.model_validate({"matchExpressions": [term]}), labels) == expected
    both = LabelSelector.model_validate({"matchExpressions": [term], "matchLabels": {"x": "y"}})
    assert not matches(both, labels)
    assert matches(None, labels)


def test_of_an_archived_object_only_what_the_rules_read_is_kept() -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "keys", "namespace": "shop", "labels": {"a": "b"}},
        "data": {"password": "c2VjcmV0"},
    }
    found = outline("resources/secrets/namespaces/shop/keys.json", manifest)
    assert (found.resource, found.kind, found.name, found.labels) == ("secrets", "v1/Secret", "keys", {"a": "b"})
    assert found.is_token
    assert "c2VjcmV0" not in found.model_dump_json()


def test_pods_claims_volumes_and_accounts_are_outlined() -> None:
    spec = {"volumes": [{"name": "a", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "b", "emptyDir": {}}]}
    base = {"apiVersion": "v1", "metadata": {"name": "x", "namespace": "shop"}}
    found = outline("resources/pods/namespaces/shop/x.json", {**base, "spec": spec, "status": {"phase": "Succeeded"}})
    assert (found.claims, found.has_ended) == (("data",), True)
    bound = {**base, "spec": {"volumeName": "pv-1"}, "status": {"phase": "Bound"}}
    assert outline("resources/persistentvolumeclaims/namespaces/shop/x.json", bound).volume == "pv-1"
    unbound = {**bound, "status": {"phase": "Pending"}}
    assert outline("resources/persistentvolumeclaims/namespaces/shop/x.json", unbound).volume == ""
    gone = {**base, "spec": {"persistentVolumeReclaimPolicy": "Delete"}}
    assert outline("resources/persistentvolumes/cluster/x.json", gone).goes_with_claim
    job = {**base, "status": {"completionTime": "2026-01-01T00:00:00Z"}}
    assert outline("resources/jobs.batch/namespaces/shop/x.json", job).has_ended
    mirror = {**base, "metadata": {**base["metadata"], "annotations": {"kubernetes.io/config.mirror": "1"}}}  # type: ignore[dict-item]
    assert outline("resources/pods/namespaces/shop/x.json", mirror).is_mirror
    secrets = [{"name": "x-token-1"}, {"name": "mine"}]
    account = outline("resources/serviceaccounts/namespaces/shop/x.json", {**base, "secrets": secrets}).account
    assert account == Account(secrets=frozenset({"mine"}))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("resources/pods/namespaces/shop/x.json", True),
        ("resources/persistentvolumes/cluster/x.json", True),
        ("resources/pods/v1-preferredversion/namespaces/shop/x.json", False),
        ("metadata/version", False),
        ("resources/pods", False),
    ],
)
def test_an_object_is_read_once_whatever_versions_the_archive_holds(path: str, expected: bool) -> None:
    assert is_object(path) == expected


def test_where_the_archive_cannot_be_read_its_list_stands_in() -> None:
    contents = {"v1/ConfigMap": ("shop/a",), "example.com/v1/Thing": ("shop/t",), "v1/PersistentVolume": ("pv-1",)}
    found = listed(contents, {"v1/ConfigMap": "configmaps", "v1/PersistentVolume": "persistentvolumes"})
    assert [(item.resource, item.namespace, item.name) for item in found] == [
        ("configmaps", "shop", "a"),
        ("", "shop", "t"),
        ("persistentvolumes", "", "pv-1"),
    ]
    assert all(item.labels is None for item in found)


def planned(name: str, how: Fate, kind: str = "v1/ConfigMap", why: str = "") -> PlannedObject:
    return PlannedObject(kind=kind, name=name, fate=how, why=why)


def test_a_plan_that_brings_nothing_or_too_little_would_fail() -> None:
    kept = [planned("a", Fate.KEEP), planned("b", Fate.LEAVE_OUT)]
    assert outlook(kept, None).reason == Reason.NOTHING_RESTORED
    assert outlook([], None).reason == Reason.NOTHING_RESTORED
    for how in (Fate.CREATE, Fate.UPDATE, Fate.REPLACE, Fate.UNKNOWN):
        assert outlook([*kept, planned("c", how)], 1).reason is None
    assert outlook([*kept, planned("c", Fate.CREATE)], 2).reason == Reason.VERIFICATION_FAILED


def test_a_claim_that_would_come_without_its_data_fails_it() -> None:
    lost = planned("data", Fate.CREATE, CLAIM, WITHOUT_DATA)
    gate = outlook([planned("a", Fate.CREATE), lost], None)
    assert gate.reason == Reason.VERIFICATION_FAILED
    assert "PersistentVolumeClaim data" in gate.message


def test_doubts_are_told_and_only_those_that_there_are() -> None:
    plain = doubts([planned("a", Fate.CREATE)], archive_read=True)
    assert len(plain) == 1, "webhooks and quotas always"
    many = [planned("a", Fate.UPDATE), planned("t", Fate.UNKNOWN, "x/v1/Thing"), planned("p", Fate.CREATE, "v1/Pod")]
    found = " ".join(doubts(many, archive_read=False))
    for part in ("Thing", "immutable fields", "what controllers do", "archive"):
        assert part in found

"""Whose data may go where: the rules as a table, each refusal with the command that would change it."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import NOW, UID, operation

from operation_engine.domain import consent
from operation_engine.domain.admission import Answer, Gate
from operation_engine.domain.consent import BackupOrigin, Facts, NamespaceFacts, Route
from operation_engine.domain.resources.operation import Operation
from operation_engine.domain.resources.reasons import Reason

CLUSTER = "cluster-1"
MANAGED = {"app.vworkspace.io/managed-by": "vworkspace"}
HOME = Route(own="shop", source="shop", destination="shop")
IN = Route(own="shop", source="till", destination="shop")
OUT = Route(own="shop", source="shop", destination="copy")


def restore(**parameters: Any) -> Operation:
    return operation(type="Restore", parameters={"backupName": "b", **parameters})


def namespace(name: str, **parts: Any) -> NamespaceFacts:
    return NamespaceFacts(**{"name": name, "uid": f"uid-{name}", "labels": MANAGED, "created_at": NOW, **parts})


def backup_of(name: str, **parts: Any) -> BackupOrigin:
    plain = {
        "name": "b",
        "velero_namespace": "velero",
        "cluster_id": CLUSTER,
        "included_namespaces": (name,),
        "source_uid": f"uid-{name}",
        "started_at": NOW + timedelta(hours=1),
    }
    return BackupOrigin(**{**plain, **parts})


def facts(way: Route, **parts: Any) -> Facts:
    """Both namespaces there, both agreeing, and a backup of the source."""
    source = namespace(way.source, restore_to=(way.destination,))
    plain = {
        "backup": backup_of(way.source),
        "source": source,
        "destination": source if way.source == way.destination else namespace(way.destination, restore_from=("shop",)),
        "operation_uid": UID,
        "cluster_id": CLUSTER,
    }
    return Facts(**{**plain, **parts})


ROUTES: list[tuple[dict[str, Any], tuple[str, str]]] = [
    ({}, ("shop", "shop")),
    ({"namespaceMapping": {}}, ("shop", "shop")),
    ({"namespaceMapping": {"shop": "shop"}}, ("shop", "shop")),
    ({"namespaceMapping": {"till": "shop"}}, ("till", "shop")),
    ({"namespaceMapping": {"shop": "copy"}}, ("shop", "copy")),
]


@pytest.mark.parametrize(("parameters", "ends"), ROUTES)
def test_a_restore_goes_from_one_namespace_to_one_namespace(parameters: dict[str, Any], ends: tuple[str, str]) -> None:
    way = consent.route(restore(**parameters))
    assert isinstance(way, Route)
    assert (way.source, way.destination, way.own) == (*ends, "shop")


WRONG_MAPPINGS: list[tuple[dict[str, str], str]] = [
    ({"a": "shop", "shop": "b"}, "has 2 entries"),
    ({"a": "b"}, "one of the two must be the Operation's own, shop"),
    ({"shop": "../../kube-system"}, "can be no namespace"),
    ({"*": "shop"}, "can be no namespace"),
    ({"shop": "Shop"}, "can be no namespace"),
    ({"": "shop"}, "can be no namespace"),
]


@pytest.mark.parametrize(("mapping", "says"), WRONG_MAPPINGS)
def test_a_mapping_that_is_none_is_refused(mapping: dict[str, str], says: str) -> None:
    gate = consent.route(restore(namespaceMapping=mapping))
    assert isinstance(gate, Gate)
    assert gate.reason == Reason.VALIDATION_FAILED
    assert says in gate.message


PASSES: dict[str, tuple[Route, dict[str, Any]]] = {
    "back into its own": (HOME, {"source": namespace("shop")}),
    "from a neighbour that agrees": (IN, {}),
    "into a neighbour that agrees": (OUT, {}),
    "from one that agrees to several": (IN, {"source": namespace("till", restore_to=("x", "shop"))}),
    "from one that is gone and had agreed": (
        IN,
        {"source": None, "backup": backup_of("till", restore_to=("shop",))},
    ),
    "an administrator's own backup": (
        HOME,
        {"backup": backup_of("shop", cluster_id=None, source_uid=None), "source": namespace("shop")},
    ),
    "into one that does not exist and may be made": (
        OUT,
        {"destination": None, "new_namespace_prefixes": ("x-", "cop")},
    ),
    "again into the one it made": (
        OUT,
        {"destination": namespace("copy", labels=MANAGED | {"ops.vworkspace.io/operation": UID})},
    ),
    "into one that is not served where that does not matter": (
        OUT,
        {"destination": namespace("copy", labels={}, restore_from=("shop",)), "require_managed_namespace": False},
    ),
}


@pytest.mark.parametrize("case", PASSES)
def test_data_goes_where_both_sides_agree(case: str) -> None:
    way, parts = PASSES[case]
    found = consent.check(way, facts(way, **parts))
    assert found.gate.answer == Answer.PASS, found.gate.message
    assert found.creates_destination == (facts(way, **parts).destination is None)
    assert found.approval_because is None


REFUSALS: dict[str, tuple[Route, dict[str, Any], Reason, str]] = {
    "the source has not agreed": (
        IN,
        {"source": namespace("till")},
        Reason.CONSENT_MISSING,
        "kubectl annotate namespace till ops.vworkspace.io/restore-to=shop",
    ),
    "the source agrees to others only": (
        IN,
        {"source": namespace("till", restore_to=("shop-2", "x"))},
        Reason.CONSENT_MISSING,
        "kubectl annotate namespace till ops.vworkspace.io/restore-to=shop-2,x,shop --overwrite",
    ),
    "the source has taken its consent back": (
        IN,
        {"source": namespace("till"), "backup": backup_of("till", restore_to=("shop",))},
        Reason.CONSENT_MISSING,
        "kubectl annotate namespace till ops.vworkspace.io/restore-to=shop",
    ),
    "the source is gone and had not agreed": (
        IN,
        {"source": None},
        Reason.CONSENT_MISSING,
        "kubectl annotate backups.velero.io b -n velero ops.vworkspace.io/restore-to=shop",
    ),
    "the destination has not agreed": (
        OUT,
        {"destination": namespace("copy")},
        Reason.CONSENT_MISSING,
        "kubectl annotate namespace copy ops.vworkspace.io/restore-from=shop",
    ),
    "the destination agrees to others only": (
        OUT,
        {"destination": namespace("copy", restore_from=("till",))},
        Reason.CONSENT_MISSING,
        "kubectl annotate namespace copy ops.vworkspace.io/restore-from=till,shop --overwrite",
    ),
    "the destination was made by another Operation": (
        OUT,
        {"destination": namespace("copy", labels=MANAGED | {"ops.vworkspace.io/operation": "another"})},
        Reason.CONSENT_MISSING,
        "kubectl annotate namespace copy ops.vworkspace.io/restore-from=shop",
    ),
    "the destination is being deleted": (
        OUT,
        {"destination": namespace("copy", restore_from=("shop",), terminating=True)},
        Reason.CONSENT_MISSING,
        "kubectl create namespace copy && kubectl label namespace copy app.vworkspace.io/managed-by=vworkspace && "
        "kubectl annotate namespace copy ops.vworkspace.io/restore-from=shop",
    ),
    "the destination is not served": (
        OUT,
        {"destination": namespace("copy", labels={}, restore_from=("shop",))},
        Reason.NAMESPACE_NOT_MANAGED,
        "kubectl label namespace copy app.vworkspace.io/managed-by=vworkspace",
    ),
    "the destination does not exist": (
        OUT,
        {"destination": None, "new_namespace_prefixes": ("shop-",)},
        Reason.CONSENT_MISSING,
        "(names may begin with: shop-). An administrator can make it and consent: kubectl create namespace copy && ",
    ),
    "a backup of another cluster": (
        HOME,
        {"backup": backup_of("shop", cluster_id="cluster-2")},
        Reason.BACKUP_NOT_USABLE,
        "kubectl label backups.velero.io b -n velero app.vworkspace.io/cluster-id-",
    ),
    "a neighbour's backup by its name": (
        HOME,
        {"backup": backup_of("till")},
        Reason.BACKUP_NOT_USABLE,
        "Velero Backup b is of till; a Restore takes a backup of namespace shop alone",
    ),
    "a backup of several": (
        HOME,
        {"backup": backup_of("shop", included_namespaces=("shop", "till"))},
        Reason.BACKUP_NOT_USABLE,
        "is of shop, till",
    ),
    "a backup of everything": (
        HOME,
        {"backup": backup_of("shop", included_namespaces=())},
        Reason.BACKUP_NOT_USABLE,
        "is of every namespace",
    ),
    "a backup by a pattern": (
        HOME,
        {"backup": backup_of("shop", included_namespaces=("*",))},
        Reason.BACKUP_NOT_USABLE,
        "is of *",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_names_the_command_that_would_change_it(case: str) -> None:
    way, parts, reason, says = REFUSALS[case]
    gate = consent.check(way, facts(way, **parts)).gate
    assert (gate.answer, gate.reason) == (Answer.REFUSE, reason)
    assert says in gate.message


REUSED: dict[str, tuple[Route, dict[str, Any], str]] = {
    "the name was used again": (
        HOME,
        {"backup": backup_of("shop", source_uid="uid-of-old")},
        "Namespace shop was deleted and made anew since Velero Backup b",
    ),
    "the neighbour's name was used again": (
        IN,
        {"backup": backup_of("till", source_uid="uid-of-old")},
        "Namespace till was deleted and made anew",
    ),
    "no uid, and the backup is older than the namespace": (
        HOME,
        {"backup": backup_of("shop", source_uid=None, started_at=NOW - timedelta(seconds=1))},
        "cannot show that it is of today's namespace shop",
    ),
    "no uid and no time": (
        HOME,
        {"backup": backup_of("shop", source_uid=None, started_at=None)},
        "cannot show that it is of today's namespace shop",
    ),
}


@pytest.mark.parametrize("case", REUSED)
def test_a_name_that_was_used_again_asks_for_approval(case: str) -> None:
    way, parts, says = REUSED[case]
    found = consent.check(way, facts(way, **parts))
    assert found.gate.answer == Answer.PASS
    assert says in (found.approval_because or "")


def test_a_source_that_is_gone_is_nobody_s_namesake() -> None:
    gone = facts(IN, source=None, backup=backup_of("till", source_uid="uid-of-old", restore_to=("shop",)))
    assert consent.check(IN, gone).approval_because is None


@given(st.text(max_size=200))
def test_what_stands_in_an_annotation_never_reaches_a_command_but_as_names(text: str) -> None:
    for name in consent.names(text):
        assert name in text
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_consents_are_read_with_and_without_blanks() -> None:
    assert consent.names(" a, b ,,c;rm,*,D,") == ("a", "b")
    assert consent.names(None) == ()


def test_facts_are_read_from_the_objects_themselves() -> None:
    meta = {
        "name": "till",
        "uid": "u",
        "creationTimestamp": "2026-03-01T12:00:00Z",
        "deletionTimestamp": "2026-03-02T12:00:00Z",
        "annotations": {"ops.vworkspace.io/restore-to": "shop,x", "ops.vworkspace.io/restore-from": "y"},
    }
    found = consent.observe_namespace({"metadata": meta})
    assert (found.restore_to, found.restore_from, found.terminating) == (("shop", "x"), ("y",), True)
    assert found.created_at == NOW

    annotations = {"ops.vworkspace.io/restore-to": "shop", "ops.vworkspace.io/source-namespace-uid": "u"}
    labels = {"app.vworkspace.io/cluster-id": CLUSTER}
    origin = consent.observe_origin(
        {
            "metadata": {"name": "b", "namespace": "velero", "labels": labels, "annotations": annotations},
            "spec": {"includedNamespaces": ["till"]},
            "status": {"startTimestamp": "2026-03-01T12:00:00Z"},
        }
    )
    assert origin == BackupOrigin(
        name="b",
        velero_namespace="velero",
        cluster_id=CLUSTER,
        included_namespaces=("till",),
        source_uid="u",
        restore_to=("shop",),
        started_at=NOW,
    )
    bare = consent.observe_origin({"metadata": {"name": "b", "namespace": "velero"}})
    assert (bare.cluster_id, bare.included_namespaces, bare.source_uid, bare.started_at) == (None, (), None, None)


@pytest.mark.parametrize(
    ("listed", "allowed"),
    [
        ({}, ()),
        ({"*": ["{namespace}-"]}, ("shop-",)),
        ({"*": ["x-"], "shop": ["copy-", ""]}, ("copy-",)),
        ({"till": ["x-"]}, ()),
    ],
)
def test_an_empty_prefix_opens_nothing(listed: dict[str, list[str]], allowed: tuple[str, ...]) -> None:
    assert consent.prefixes(listed, "shop") == allowed


def test_a_destination_that_is_made_carries_the_engine_s_labels_and_nothing_else() -> None:
    manifest = consent.destination_manifest(OUT, UID)
    assert manifest["metadata"]["labels"] == MANAGED | {
        "ops.vworkspace.io/operation": UID,
        "ops.vworkspace.io/operation-namespace": "shop",
    }
    assert "annotations" not in manifest["metadata"]
    assert consent.observe_namespace(manifest | {"metadata": manifest["metadata"] | {"uid": "u"}}).restore_to == ()

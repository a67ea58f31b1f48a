"""Velero's objects as this engine reads and writes them, and what their words are worth."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import UID, operation

from operation_engine.domain.identity import Role
from operation_engine.domain.locations import allowed_locations, choose_location
from operation_engine.domain.resources.common import parse_duration
from operation_engine.domain.velero import (
    BackupPhase,
    Marks,
    StorageLocation,
    backup_manifest,
    backup_spec,
    is_ours,
    item_operation_timeout,
    labels,
    observe_backup,
    observe_storage_location,
)

MARKS = Marks(cluster_id="c1", source_namespace_uid="u1")
SHAPES: list[dict[str, Any]] = [
    {},
    {"includedResources": ["*"], "excludedResources": ["secrets"]},
    {"includedNamespaces": ["*"], "includeClusterResources": True},
    {"excludedResources": []},
    {"labelSelector": {"matchLabels": {"app": "web"}}},
]


@pytest.mark.parametrize("parameters", SHAPES)
def test_a_backup_reaches_its_own_namespace_and_takes_no_operation_along(parameters: dict[str, Any]) -> None:
    spec = backup_spec(operation(parameters=parameters))
    assert spec["includedNamespaces"] == ["shop"]
    assert {"operations.ops.vworkspace.io", "leases.coordination.k8s.io"} <= set(spec["excludedResources"])
    assert "includeClusterResources" not in spec


def test_what_the_operation_leaves_open_is_left_to_velero() -> None:
    assert set(backup_spec(operation())) == {"includedNamespaces", "excludedResources", "itemOperationTimeout"}


def test_an_alias_is_written_under_velero_s_name_and_days_as_hours() -> None:
    spec = backup_spec(operation(parameters={"retention": "30d"}))
    assert spec["ttl"] == "720h0m0s"
    assert "retention" not in spec


def test_false_is_an_answer_and_is_passed_on() -> None:
    assert backup_spec(operation(parameters={"snapshotVolumes": False}))["snapshotVolumes"] is False


def test_a_snapshot_class_is_written_for_its_driver() -> None:
    asked = operation(parameters={"snapshotClassName": "fast"})
    made = backup_manifest(asked, "b", 1, "velero", MARKS, csi_driver="csi.example.com")
    assert made["metadata"]["annotations"]["velero.io/csi-volumesnapshot-class_csi.example.com"] == "fast"


def test_the_consent_of_the_namespace_travels_with_the_backup() -> None:
    marks = MARKS.model_copy(update={"restore_to": "till"})
    annotations = backup_manifest(operation(), "b", 1, "velero", marks)["metadata"]["annotations"]
    assert annotations["ops.vworkspace.io/restore-to"] == "till"
    assert annotations["ops.vworkspace.io/source-namespace-uid"] == "u1"


def test_a_backup_is_sent_without_a_status() -> None:
    assert "status" not in backup_manifest(operation(), "b", 1, "velero", MARKS)


@pytest.mark.parametrize("key", ["operation", "role", "attempt"])
def test_an_object_of_our_name_is_ours_only_with_all_our_marks(key: str) -> None:
    wanted = labels(operation(), Role.MAIN, 1, "c1")
    assert is_ours({**wanted, "other": "x"}, wanted)
    assert not is_ours({**wanted, f"ops.vworkspace.io/{key}": "another"}, wanted)
    assert not is_ours({**wanted, "app.vworkspace.io/cluster-id": "c2"}, wanted)
    assert not is_ours({}, wanted)


def test_every_label_fits_whatever_the_names_are() -> None:
    target = {"apiVersion": "v1", "kind": "ApplicationInstance", "name": "n" * 253}
    made = labels(operation(targetRef=target), Role.PRE_UPGRADE, 10_000, "c" * 300)
    assert all(len(value) <= 63 for value in made.values())
    assert made["ops.vworkspace.io/operation"] == UID


@given(st.integers(1, 10_000), st.none() | st.integers(1, 1000))
def test_velero_gives_up_on_data_movers_before_the_attempt_s_time_is_up(minutes: int, asked: int | None) -> None:
    parameters = {"itemOperationTimeout": f"{asked}h"} if asked else {}
    found = item_operation_timeout(operation(policy={"timeout": f"{minutes}m"}, parameters=parameters))
    assert timedelta(0) < found < timedelta(minutes=minutes)
    assert asked is None or found <= timedelta(hours=asked)
    assert parse_duration(backup_spec(operation(policy={"timeout": f"{minutes}m"}))["itemOperationTimeout"])


def test_a_backup_that_says_nothing_of_itself_is_read_as_new() -> None:
    seen = observe_backup({"metadata": {"name": "b", "uid": "u"}})
    assert (seen.phase, seen.errors, seen.items_done) == ("", 0, None)
    assert seen.queued
    assert not seen.terminal


QUEUED = {"", "New", "Queued", "ReadyToStart"}
TERMINAL = {"FailedValidation", "Completed", "PartiallyFailed", "Failed"}


@pytest.mark.parametrize("phase", [*BackupPhase, "Meditating"])
def test_which_phases_are_the_queue_s_and_which_are_the_end(phase: str) -> None:
    seen = observe_backup({"metadata": {"name": "b", "uid": "u"}, "status": {"phase": str(phase)}})
    assert (seen.queued, seen.terminal) == (phase in QUEUED, phase in TERMINAL)
    assert seen.known_phase == (phase != "Meditating")


def test_everything_a_backup_says_is_read() -> None:
    status = {
        "phase": "PartiallyFailed",
        "errors": 2,
        "warnings": 1,
        "failureReason": "why",
        "validationErrors": ["e"],
        "progress": {"itemsBackedUp": 3, "totalItems": 4},
        "hookStatus": {"hooksFailed": 1},
        "expiration": "2026-04-01T00:00:00Z",
    }
    seen = observe_backup({"metadata": {"name": "b", "uid": "u"}, "spec": {"storageLocation": "eu"}, "status": status})
    assert (seen.errors, seen.warnings, seen.failure_reason, seen.validation_errors) == (2, 1, "why", ("e",))
    assert (seen.items_done, seen.items_total, seen.hooks_failed, seen.storage_location) == (3, 4, 1, "eu")
    assert seen.expiration is not None


def location(name: str = "default", **parts: Any) -> StorageLocation:
    return StorageLocation.model_validate({"name": name, "phase": "Available", "default": name == "default", **parts})


EU = location("eu")
CHOICES: list[tuple[str | None, list[StorageLocation], list[str], str, str | None, str]] = [
    (None, [location()], [], "pass", "default", "is Available"),
    (None, [EU], ["eu"], "wait", None, "default"),
    (None, [], [], "wait", None, "default"),
    ("default", [location()], [], "pass", "default", "is Available"),
    ("eu", [location(), EU], ["eu"], "pass", "eu", "is Available"),
    ("eu", [location(), EU], [], "refuse", None, "open to it: default"),
    ("eu", [location()], ["eu"], "wait", None, "There is no BackupStorageLocation eu"),
    (None, [location(phase="Unavailable", message="no route")], [], "wait", "default", "no route"),
    (None, [location(phase="")], [], "wait", "default", "has not validated it yet"),
    (None, [location(access_mode="ReadOnly")], [], "wait", "default", "ReadOnly"),
]


@pytest.mark.parametrize(("asked", "there", "allowed", "answer", "chosen", "says"), CHOICES)
def test_the_location_that_takes_a_backup(
    asked: str | None, there: list[StorageLocation], allowed: list[str], answer: str, chosen: str | None, says: str
) -> None:
    found, gate = choose_location(asked, there, allowed)
    assert (str(gate.answer), found.name if found else None) == (answer, chosen)
    assert says in gate.message


def test_a_namespace_s_own_list_of_locations_replaces_everybody_s() -> None:
    lists = {"shop": ["eu"], "*": ["us"]}
    assert allowed_locations(lists, "shop") == ("eu",)
    assert allowed_locations(lists, "till") == ("us",)
    assert allowed_locations({}, "till") == ()


def test_a_location_s_public_address_is_the_one_that_downloads_come_from() -> None:
    config = {"s3Url": "http://inside", "publicUrl": "https://outside"}
    seen = observe_storage_location({"metadata": {"name": "l"}, "spec": {"config": config, "default": True}})
    assert (seen.s3_url, seen.default, seen.access_mode, seen.phase) == ("https://outside", True, "ReadWrite", "")

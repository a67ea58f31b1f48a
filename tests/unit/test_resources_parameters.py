"""Which parameters belong to which type, and what is said about the others."""

from typing import Any

import pytest

from operation_engine.domain.parameters import (
    alias_conflicts,
    parameter_keys,
    resolve_aliases,
    unknown_parameters,
)
from operation_engine.domain.resources.common import api_name
from operation_engine.domain.resources.operation_parameters import Parameters
from operation_engine.domain.resources.operation_spec import OperationSpec, OperationType


def spec(operation_type: str, **parameters: Any) -> OperationSpec:
    target = {"apiVersion": "v1", "kind": "Namespace", "name": "shop"}
    return OperationSpec.from_api({"targetRef": target, "type": operation_type, "parameters": parameters})


def test_every_parameter_of_the_schema_belongs_to_a_type_and_the_other_way_round() -> None:
    in_schema = {api_name(name) for name in Parameters.model_fields}
    by_type = frozenset().union(*(parameter_keys(operation_type) for operation_type in OperationType))
    assert in_schema == by_type


@pytest.mark.parametrize(
    ("operation_type", "parameters", "expected"),
    [
        ("Backup", {"ttl": "30d", "storageLocation": "default"}, []),
        ("Backup", {"retention": "30d", "snapshotClassName": "csi"}, []),
        ("Backup", {"storageLocaton": "default"}, [("storageLocaton", "storageLocation")]),
        ("Backup", {"storagelocation": "default"}, [("storagelocation", "storageLocation")]),
        ("Backup", {"storage_location": "default"}, [("storage_location", "storageLocation")]),
        ("Backup", {"colour": "blue"}, [("colour", None)]),
        ("Backup", {"colour": None}, [("colour", None)]),
        ("Backup", {"backupName": "old"}, [("backupName", None)]),
        ("Restore", {"backupName": "old", "ttl": "1h"}, [("ttl", None)]),
        ("Restore", {"backupName": "old", "restorePvs": True}, [("restorePvs", "restorePVs")]),
        ("Upgrade", {"targetVersion": "1.0.0", "valuePatch": {}}, [("valuePatch", "valuesPatch")]),
        ("Runbook", {"ttl": "1h"}, [("ttl", None)]),
    ],
)
def test_a_parameter_that_the_type_does_not_know_is_named_with_the_nearest_it_knows(
    operation_type: str, parameters: dict[str, Any], expected: list[tuple[str, str | None]]
) -> None:
    assert unknown_parameters(spec(operation_type, **parameters)) == expected


def test_unknown_parameters_are_found_again_after_a_trip_through_json() -> None:
    given = spec("Backup", ttl="30d", storageLocaton="default")
    assert unknown_parameters(OperationSpec.model_validate_json(given.model_dump_json())) == [
        ("storageLocaton", "storageLocation")
    ]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"ttl": "30d"}, []),
        ({"retention": "30d"}, []),
        ({"ttl": "30d", "retention": "30d"}, [("retention", "ttl")]),
        (
            {"csiSnapshotClassName": "a", "snapshotClassName": "b"},
            [("snapshotClassName", "csiSnapshotClassName")],
        ),
    ],
)
def test_an_alias_beside_its_key_is_a_conflict(parameters: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert alias_conflicts(spec("Backup", **parameters)) == expected


def test_aliases_are_read_as_the_keys_they_stand_for() -> None:
    resolved = resolve_aliases(spec("Backup", retention="30d", snapshotClassName="csi").parameters)
    assert resolved == Parameters(ttl="30d", csi_snapshot_class_name="csi")

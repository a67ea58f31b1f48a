"""The generated schemas are structural, bounded and described."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import pytest
from pydantic import Field

from operation_engine.crds.definitions import definitions
from operation_engine.crds.schema import model_schema
from operation_engine.domain.resources.common import ApiModel, DurationText
from operation_engine.domain.resources.operation_status import Phase
from operation_engine.domain.resources.schema import Keywords, Rule

Schema = dict[str, Any]

REFUSED = {"$ref", "$defs", "anyOf", "allOf", "oneOf", "not", "title", "const", "uniqueItems"}


def nodes(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Every schema inside a schema, with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


ROOTS = {
    definition["spec"]["names"]["kind"]: definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for definition in definitions()
}
NODES = [(path, node) for kind, root in ROOTS.items() for path, node in nodes(root, kind)]
# What Kubernetes itself fills in and bounds.
META = {f"{kind}.{key}" for kind in ROOTS for key in ("apiVersion", "kind", "metadata")}


def test_every_field_has_a_description_that_is_a_sentence() -> None:
    fields = [(f"{path}.{name}", child) for path, node in NODES for name, child in node.get("properties", {}).items()]
    assert len(fields) > 150
    for path, child in fields:
        if not path.endswith(".metadata"):
            assert child.get("description", "").endswith("."), path


def test_every_string_list_and_map_is_bounded() -> None:
    for path, node in NODES:
        if path in META:
            continue
        if node.get("type") == "string":
            assert {"maxLength", "enum", "format"} & node.keys(), path
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if "additionalProperties" in node:
            assert "maxProperties" in node, path


def test_nothing_is_written_that_a_structural_schema_forbids() -> None:
    for path, node in NODES:
        assert not REFUSED & node.keys(), path
        assert isinstance(node.get("additionalProperties", {}), dict), path
        assert not ("properties" in node and "additionalProperties" in node), path
        assert "type" in node or node.get("x-kubernetes-preserve-unknown-fields"), path
        assert not isinstance(node.get("exclusiveMinimum"), (int, float)) or "minimum" in node, path


def test_null_is_a_value_only_where_the_chart_values_may_hold_it() -> None:
    nullable = {path for path, node in NODES if node.get("nullable")}
    assert nullable == {"Operation.spec.parameters.valuesPatch[]", "ApplicationInstance.spec.values.inline[]"}


def test_lists_of_named_things_are_maps_by_a_required_key() -> None:
    lists = {path: node for path, node in NODES if node.get("x-kubernetes-list-type") == "map"}
    keys = {path: node["x-kubernetes-list-map-keys"] for path, node in lists.items()}
    assert keys == {
        "Operation.status.conditions": ["type"],
        "Operation.status.steps": ["name"],
        "Operation.status.attempts": ["number"],
        "Cluster.status.conditions": ["type"],
        "ApplicationInstance.status.conditions": ["type"],
    }
    for path, node in lists.items():
        assert set(keys[path]) <= set(node["items"]["required"]), path


def test_only_parameters_and_values_keep_keys_that_nobody_knows() -> None:
    kept = {path for path, node in NODES if node.get("x-kubernetes-preserve-unknown-fields")}
    assert kept == {
        "Operation.spec.parameters",
        "Operation.spec.parameters.valuesPatch[]",
        "ApplicationInstance.spec.values.inline[]",
    }


def test_defaults_are_the_ones_a_reader_sees_before_the_engine_has_written() -> None:
    defaults = {path: node["default"] for path, node in NODES if "default" in node}
    assert defaults == {
        "Operation.status": {"observedGeneration": -1, "phase": "Pending"},
        "ApplicationInstance.spec.mode": "managed",
    }


def test_every_rule_says_what_to_do() -> None:
    rules = [(path, rule) for path, node in NODES for rule in node.get("x-kubernetes-validations", [])]
    assert len(rules) > 10
    for path, rule in rules:
        assert "\n" not in rule["message"], path
        assert any(word in rule["message"] for word in ("spec", "metadata.name")), rule


class Inner(ApiModel):
    """What the inner thing is.

    This part is for programmers.
    """

    size: int = Field(description="How big.")


class Outer(ApiModel):
    """What the outer thing is."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(rule="self.a == oldSelf.a", message="a cannot change", field_path=".a", reason="FieldValueForbidden"),
        Rule(rule="has(self.a)", message="a is needed", on_create_only=True),
    )

    a: Annotated[str | None, Keywords(max_length=5)] = Field(default=None, description="A.")
    took_long: DurationText | None = Field(default=None, description="Took.")
    phase: Phase | None = Field(default=None, description="Phase.")
    inner: Inner | None = Field(default=None, description="The inner one here.")
    many: Annotated[tuple[Inner, ...], Keywords(max_items=3, list_keys=("size",))] = Field(default=(), description="M.")
    free: Annotated[dict[str, Any], Keywords(max_properties=2)] = Field(default_factory=dict, description="Free.")
    needed: bool = Field(description="Needed.")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", {"type": "string", "description": "A.", "maxLength": 5}),
        ("phase", {"type": "string", "description": "Phase.", "enum": [str(phase) for phase in Phase]}),
        (
            "inner",
            {
                "type": "object",
                "description": "The inner one here.",
                "required": ["size"],
                "properties": {"size": {"type": "integer", "description": "How big."}},
            },
        ),
        (
            "free",
            {
                "type": "object",
                "description": "Free.",
                "maxProperties": 2,
                "additionalProperties": {"x-kubernetes-preserve-unknown-fields": True, "nullable": True},
            },
        ),
        ("needed", {"type": "boolean", "description": "Needed."}),
    ],
)
def test_a_field_becomes_a_schema_without_null(name: str, expected: Schema) -> None:
    assert model_schema(Outer)["properties"][name] == expected


def test_a_bound_that_belongs_to_the_type_is_found_inside_a_union() -> None:
    took_long = model_schema(Outer)["properties"]["tookLong"]
    assert (took_long["maxLength"], took_long["pattern"][:2]) == (32, "^(")


def test_a_list_by_key_describes_its_items_by_their_first_paragraph() -> None:
    many = model_schema(Outer)["properties"]["many"]
    assert many["items"]["description"] == "What the inner thing is."
    assert (many["x-kubernetes-list-type"], many["x-kubernetes-list-map-keys"]) == ("map", ["size"])


def test_a_field_without_a_default_is_required() -> None:
    assert model_schema(Outer)["required"] == ["needed"]


def test_a_rule_for_new_objects_passes_every_older_one() -> None:
    on_change, on_create = model_schema(Outer)["x-kubernetes-validations"]
    assert on_change == {
        "rule": "self.a == oldSelf.a",
        "message": "a cannot change",
        "reason": "FieldValueForbidden",
        "fieldPath": ".a",
    }
    assert on_create["rule"] == "oldSelf.hasValue() || (has(self.a))"
    assert on_create["optionalOldSelf"] is True

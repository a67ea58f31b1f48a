"""From a model to a structural OpenAPI v3 schema, as the API server wants it.

Walks the models themselves: what pydantic would say ($ref, anyOf with null, title, const) is refused there.
"""

import inspect
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AwareDatetime
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from operation_engine.domain.resources.common import ApiModel, ObjectMeta, api_name
from operation_engine.domain.resources.schema import Keywords, Rule

Schema = dict[str, Any]

_SCALARS: Mapping[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    datetime: {"type": "string", "format": "date-time"},
    AwareDatetime: {"type": "string", "format": "date-time"},
    # Nullable, since null in a values patch removes a value; the API server would drop it.
    Any: {"x-kubernetes-preserve-unknown-fields": True, "nullable": True},
}

_TYPE_META: Mapping[str, Schema] = {
    "apiVersion": {"type": "string", "description": "Group and version of the resource."},
    "kind": {"type": "string", "description": "Kind of the resource."},
    # The API server refuses everything else here, a description too; it has a schema of its own for metadata.
    "metadata": {"type": "object"},
}


def root_schema(model: type[ApiModel]) -> Schema:
    """The openAPIV3Schema of a resource."""
    schema = model_schema(model)
    schema["properties"] = {**schema["properties"], **_TYPE_META}
    return schema


def model_schema(model: type[ApiModel], description: str | None = None) -> Schema:
    """An object with the model's fields; `description` is that of the field that holds it."""
    fields = model.model_fields
    schema: Schema = {"type": "object", "description": description or _first_paragraph(model)}
    required = [api_name(name) for name, field in fields.items() if field.is_required()]
    if required:
        schema["required"] = required
    schema["properties"] = {api_name(name): _field_schema(field) for name, field in fields.items()}
    if model.model_config.get("extra") == "allow":
        schema["x-kubernetes-preserve-unknown-fields"] = True
    if model.rules:
        schema["x-kubernetes-validations"] = [_rule(rule) for rule in model.rules]
    return schema


def _first_paragraph(model: type[ApiModel]) -> str:
    return " ".join((inspect.getdoc(model) or "").split("\n\n", maxsplit=1)[0].split())


def _field_schema(field: FieldInfo) -> Schema:
    return _type_schema(field.annotation, field.metadata, field.description)


def _type_schema(annotation: Any, metadata: Iterable[Any] = (), description: str | None = None) -> Schema:
    """The schema of a type; `metadata` is what stood around it and wins over what stands inside it."""
    if get_origin(annotation) is Annotated:
        inner, *own = get_args(annotation)
        return _type_schema(inner, [*own, *metadata], description)
    if get_origin(annotation) in {Union, UnionType}:
        return _type_schema(_without_none(annotation), metadata, description)
    schema = _bare_schema(annotation, description)
    for keywords in metadata:
        if isinstance(keywords, Keywords):
            schema |= _keywords(keywords)
    return schema


def _without_none(union: Any) -> Any:
    (only,) = (member for member in get_args(union) if member is not NoneType)
    return only


def _bare_schema(annotation: Any, description: str | None) -> Schema:
    if inspect.isclass(annotation) and issubclass(annotation, ObjectMeta):
        return {"type": "object"}
    if inspect.isclass(annotation) and issubclass(annotation, ApiModel):
        return model_schema(annotation, description)
    described: Schema = {"description": description} if description else {}
    return _plain_schema(annotation) | described


def _plain_schema(annotation: Any) -> Schema:
    if get_origin(annotation) is tuple:
        return {"type": "array", "items": _type_schema(get_args(annotation)[0])}
    if get_origin(annotation) is dict:
        return {"type": "object", "additionalProperties": _type_schema(get_args(annotation)[1])}
    if inspect.isclass(annotation) and issubclass(annotation, StrEnum):
        return {"type": "string", "enum": [str(member) for member in annotation]}
    return dict(_SCALARS[annotation])


def _keywords(keywords: Keywords) -> Schema:
    given = {to_camel(name): value for name, value in vars(keywords).items() if value is not None}
    keys = given.pop("listKeys", None)
    if keys:
        given |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
    return given


def _rule(rule: Rule) -> Schema:
    """A rule for new objects alone is written as one that any older object passes."""
    written: Schema = {"rule": rule.rule, "message": rule.message, "reason": rule.reason}
    if rule.on_create_only:
        written |= {"rule": f"oldSelf.hasValue() || ({rule.rule})", "optionalOldSelf": True}
    if rule.field_path:
        written["fieldPath"] = rule.field_path
    return written

"""What a model says about its own OpenAPI schema; the CRD generator reads it, parsing does not.

Bounds stand here and not in pydantic's constraints on purpose: the API server enforces them on the way in, and an
object that it once accepted must still parse after a bound was tightened.
"""

from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue


@dataclass(frozen=True)
class Keywords:
    """OpenAPI keywords for the type or the field that carries this in its Annotated metadata."""

    max_length: int | None = None
    min_length: int | None = None
    max_items: int | None = None
    max_properties: int | None = None
    minimum: int | None = None
    maximum: int | None = None
    pattern: str | None = None
    format: str | None = None
    default: JsonValue = None
    list_keys: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Rule:
    """One CEL rule (x-kubernetes-validations) of the model that lists it in `rules`.

    The message names the field and says what to do: kubectl prints it as it is. A rule that speaks of `oldSelf` holds
    for updates. One with `on_create_only` holds for new objects alone, so that an older object can still be written,
    cancelled and deleted.
    """

    rule: str
    message: str
    field_path: str | None = None
    reason: Literal["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired"] = "FieldValueInvalid"
    on_create_only: bool = False

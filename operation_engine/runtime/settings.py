"""The engine's settings, read once from the environment by the composition roots."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

DEFAULT_TASK_QUEUE = "vworkspace-operations"


class SettingsError(Exception):
    """A setting is wrong; the text names the variable."""


class Settings(BaseModel):
    """Everything an installation decides. Each field is the variable `VOP_<FIELD>`, but Temporal's own three."""

    model_config = ConfigDict(frozen=True)

    temporal_address: str = "127.0.0.1:7233"
    temporal_namespace: str = "vworkspace"
    temporal_ui_url: str = "http://127.0.0.1:8233"
    task_queue: str = DEFAULT_TASK_QUEUE
    """Short calls; long waits go to the queue of this name with `-waits` behind it, so that they starve nobody."""
    cluster_id: str | None = None
    """Marks this cluster's objects in a shared bucket; the uid of namespace kube-system where it is not set."""
    velero_namespace: str = "velero"
    require_managed_namespace: bool = True
    storage_locations: Mapping[str, Sequence[str]] = {}
    """Which locations a namespace may name, as JSON: {"shop": ["eu"], "*": ["default"]}; else the default one."""
    http_address: str = "127.0.0.1"
    http_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port of /healthz /livez /readyz /metrics; 0 takes a free one and logs it."""
    log_format: Literal["json", "text", "auto"] = "auto"
    """json, text, or auto: text on a terminal."""
    log_level: Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(str.lower)] = "info"
    retention_days: Annotated[int, Field(ge=1)] = 30
    """How long Temporal keeps closed workflows; `vop setup` sets it."""

    @property
    def waits_queue(self) -> str:
        return f"{self.task_queue}-waits"


_TEMPORAL_VARIABLES = {
    "temporal_address": "TEMPORAL_ADDRESS",
    "temporal_namespace": "TEMPORAL_NAMESPACE",
    "temporal_ui_url": "TEMPORAL_UI_URL",
}


def variable(field: str) -> str:
    """The environment variable of a setting."""
    return _TEMPORAL_VARIABLES.get(field, f"VOP_{field.upper()}")


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of this process. Raises SettingsError, which names the variable and what it takes."""
    environ = os.environ if environ is None else environ
    given = {f: environ[variable(f)] for f in Settings.model_fields if environ.get(variable(f))}
    values: dict[str, object] = dict(given)
    if "storage_locations" in given:
        values["storage_locations"] = _json(variable("storage_locations"), given["storage_locations"])
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(f"{variable(str(first['loc'][0]))}: {first['msg']}") from error


def _json(name: str, text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{name} is not JSON: {error}") from error

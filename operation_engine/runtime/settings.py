"""The engine's settings, read once from the environment by the composition roots."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from operation_engine.domain.approvals import ApprovalMode

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
    engine_namespace: str = "vworkspace-system"
    """The engine's own namespace: where it keeps which approvals were spent."""
    approvals_mode: ApprovalMode = ApprovalMode.REQUIRED
    """Required: every Restore waits for an approval. Optional: only where its spec.approvals.required is true."""
    approval_secret_file: str | None = None
    """A file with the secret that approval claims are signed with; read for each claim, so it may be renewed."""
    approved_by_guarded: bool = False
    """Whether an admission policy lets only approvers write spec.approvals; then approvedBy counts without a claim."""
    new_namespace_prefixes: Mapping[str, Sequence[str]] = {}
    """What namespaces that a Restore makes may begin with, as JSON: {"shop": ["copy-"], "*": ["{namespace}-"]}."""
    reconcile_seconds: Annotated[float, Field(gt=0)] = 30.0
    """How often the controller looks for Operations whose workflow ended without a word."""
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


_JSON_FIELDS = {"storage_locations", "new_namespace_prefixes"}
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
    for field in _JSON_FIELDS & given.keys():
        values[field] = _json(variable(field), given[field])
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

"""Names that starter and reader must compute alike: workflow ids, Velero object names, labels, digests.

Called by the controller (to start), by workflows and activities (to check that they are who they say).
"""

import hashlib
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from operation_engine.domain.resources.common import ApiModel

MAX_NAME = 63

MANAGED_BY_LABEL = "app.vworkspace.io/managed-by"
MANAGED_BY = "vworkspace"
CLUSTER_ID_LABEL = "app.vworkspace.io/cluster-id"
OPERATION_LABEL = "ops.vworkspace.io/operation"
OPERATION_NAME_LABEL = "ops.vworkspace.io/operation-name"
OPERATION_NAMESPACE_LABEL = "ops.vworkspace.io/operation-namespace"
ATTEMPT_LABEL = "ops.vworkspace.io/attempt"
TARGET_LABEL = "ops.vworkspace.io/target"
ROLE_LABEL = "ops.vworkspace.io/role"
SOURCE_NAMESPACE_UID_ANNOTATION = "ops.vworkspace.io/source-namespace-uid"
RESTORE_TO_ANNOTATION = "ops.vworkspace.io/restore-to"
RETRY_ANNOTATION = "ops.vworkspace.io/retry"
ABORT_ANNOTATION = "ops.vworkspace.io/abort"
VELERO_RESTORE_LABEL = "velero.io/restore-name"
SPEC_CHANGED_SIGNAL = "spec_changed"
"""Sent by the controller to a running workflow when somebody changed what may change of the spec."""


class Role(StrEnum):
    """What a Velero object is for within its Operation."""

    MAIN = "main"
    SAFETY = "safety"
    PRE_UPGRADE = "pre-upgrade"


class OperationRef(ApiModel):
    """The whole input of every workflow: which Operation, and which one of that name."""

    namespace: str
    name: str
    uid: str


def workflow_id(ref: OperationRef) -> str:
    """The one id under which this Operation's workflow runs; a namesake made anew has another."""
    return f"operation/{ref.namespace}/{ref.name}/{ref.uid}"


def operation_of(id_: str) -> OperationRef | None:
    """Whose workflow has this id; None where it is none of ours."""
    kind, *parts = id_.split("/")
    if kind != "operation" or len(parts) != 3:
        return None
    return OperationRef(namespace=parts[0], name=parts[1], uid=parts[2])


def workflow_url(ui_url: str, temporal_namespace: str, id_: str, run_id: str) -> str:
    """The page of one run in the Temporal UI, on the timeline, where step summaries stand on the bars."""
    root = ui_url.rstrip("/")
    return f"{root}/namespaces/{quote(temporal_namespace, safe='')}/workflows/{quote(id_, safe='')}/{run_id}/timeline"


def velero_name(ref: OperationRef, role: Role, attempt: int) -> str:
    """The name of an attempt's Velero object, at most 63 characters, unique across clusters by the uid in it."""
    suffix = f"-{ref.uid.replace('-', '')[:8]}-{role}-{attempt}"
    return ref.name[: MAX_NAME - len(suffix)].rstrip("-.") + suffix


def label_value(text: str) -> str:
    """`text` as a label value; longer than 63 it is cut as Velero cuts: 57 characters and 6 of its sha256."""
    if len(text) <= MAX_NAME:
        return text
    return text[:57] + hashlib.sha256(text.encode()).hexdigest()[:6]


def spec_digest(spec: Mapping[str, Any]) -> str:
    """sha256 over what decides the work, of the spec as the API server holds it.

    The raw object and not the parsed one, so that an engine that knows more fields computes the same.
    It is the second line of defence behind the schema's immutability rules.
    """
    decisive = {key: spec.get(key) for key in ("targetRef", "type", "engine", "parameters")}
    text = json.dumps(decisive, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

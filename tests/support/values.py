"""Values that unit tests start from."""

from datetime import UTC, datetime, timedelta
from typing import Any

from operation_engine.domain.identity import OperationRef
from operation_engine.domain.resources.operation import Operation
from operation_engine.domain.resources.operation_status import OperationStatus

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
UID = "0f8fad5b-d9cb-469f-a165-70867728950e"
REF = OperationRef(namespace="shop", name="nightly", uid=UID)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def operation(*, labels: dict[str, str] | None = None, **spec: Any) -> Operation:
    """A Backup Operation in namespace shop; `spec` overrides its parts by their names in the manifest."""
    meta = {"name": REF.name, "namespace": REF.namespace, "uid": REF.uid, "generation": 1, "labels": labels or {}}
    target = {"apiVersion": "v1", "kind": "Namespace", "name": REF.namespace}
    return Operation.from_api({"metadata": meta, "spec": {"type": "Backup", "targetRef": target, **spec}})


def conditions_of(status: OperationStatus) -> dict[str, str]:
    return {c.type: str(c.status) for c in status.conditions}

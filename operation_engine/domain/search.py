"""Search attributes of every workflow: what the list in the Temporal UI can be filtered by. All are keywords."""

from operation_engine.domain.identity import OperationRef
from operation_engine.domain.lifecycle import bounded
from operation_engine.domain.resources.operation_spec import OperationType

TYPE = "OpsType"
NAMESPACE = "OpsNamespace"
TARGET = "OpsTarget"
PHASE = "OpsPhase"
SEARCH_ATTRIBUTES = (TYPE, NAMESPACE, TARGET, PHASE)

MAX_SUMMARY = 200


def summary(type_: OperationType | str, ref: OperationRef, target: str) -> str:
    """One line for the list: what is done to what. At most 200 bytes, Temporal's bound."""
    return bounded(f"{type_} {ref.namespace}/{target}", MAX_SUMMARY)

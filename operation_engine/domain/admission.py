"""Whether an Operation may run at all: a pure decision over what was read from the API server.

The activity `admit` gathers the facts; the workflow writes down the answer.
"""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum

from operation_engine.domain import identity
from operation_engine.domain.lifecycle import bounded
from operation_engine.domain.parameters import alias_conflicts, unknown_parameters
from operation_engine.domain.policy import clocks_of
from operation_engine.domain.probes import NoSuchPlace, place_of
from operation_engine.domain.resources.common import OBJECT_NAME_PATTERN, ApiModel, parse_duration
from operation_engine.domain.resources.operation import Operation
from operation_engine.domain.resources.operation_spec import Engine, OperationType
from operation_engine.domain.resources.reasons import Reason

# What is built; every other type and engine is accepted by the schema and refused here, by name.
BUILT = {OperationType.BACKUP: Engine.VELERO, OperationType.RESTORE: Engine.VELERO}
TARGET_KINDS = {"ApplicationInstance": "apps.vworkspace.io", "Namespace": ""}
"""What an Operation works on, and the API group of each."""
_OBJECT_NAME = re.compile(OBJECT_NAME_PATTERN)
MANAGED_LABELS = (identity.MANAGED_BY_LABEL, "managed-by")


class Answer(StrEnum):
    PASS = "pass"  # noqa: S105 - no password
    WAIT = "wait"
    REFUSE = "refuse"


class Gate(ApiModel):
    """The answer of a gate, with the reason and the sentence that tells a person what to do."""

    answer: Answer
    reason: Reason | None = None
    message: str = ""


class Facts(ApiModel):
    """What was found around an Operation."""

    namespace_labels: Mapping[str, str] = {}
    target_found: bool = True
    target_release_namespace: str | None = None
    require_managed_namespace: bool = True


PASS = Gate(answer=Answer.PASS)


def refuse(reason: Reason, message: str) -> Gate:
    return Gate(answer=Answer.REFUSE, reason=reason, message=bounded(message))


def wait(reason: Reason, message: str) -> Gate:
    return Gate(answer=Answer.WAIT, reason=reason, message=bounded(message))


def admit(operation: Operation, facts: Facts) -> Gate:
    """The first objection, most fundamental first, or a pass."""
    for check in _CHECKS:
        gate = check(operation, facts)
        if gate is not None:
            return gate
    return PASS


def _restored_copy(operation: Operation, facts: Facts) -> Gate | None:
    restore = operation.metadata.labels.get(identity.VELERO_RESTORE_LABEL)
    if restore is None:
        return None
    return refuse(
        Reason.RESTORED_COPY,
        f"Velero brought this Operation back with restore {restore}: a copy is never run. "
        "Create a new Operation if the work is wanted.",
    )


def _supported(operation: Operation, facts: Facts) -> Gate | None:
    spec = operation.spec
    if spec.type not in BUILT:
        built = ", ".join(BUILT)
        return refuse(
            Reason.UNSUPPORTED_OPERATION, f"spec.type {spec.type} is not built yet; this engine runs: {built}."
        )
    if spec.engine is not None and spec.engine != BUILT[spec.type]:
        return refuse(
            Reason.UNSUPPORTED_OPERATION,
            f"spec.engine {spec.engine} cannot run a {spec.type}; leave it out or set it to {BUILT[spec.type]}.",
        )
    return _supported_options(operation)


def _supported_options(operation: Operation) -> Gate | None:
    """What the schema knows and this engine cannot honour yet is refused: ignoring it would be a lie."""
    spec = operation.spec
    asked = {
        "policy.requireReady": bool(spec.policy.require_ready),
        "policy.ttlAfterFinished": spec.policy.ttl_after_finished is not None,
    }
    named = [f"spec.{field}" for field, is_asked in asked.items() if is_asked]
    if not named:
        return None
    return refuse(
        Reason.UNSUPPORTED_OPERATION,
        f"{named[0]} is not built yet, and running without it is not what was asked for: remove it.",
    )


def _durations(operation: Operation, facts: Facts) -> Gate | None:
    p, policy = operation.spec.parameters, operation.spec.policy
    fields = {
        "policy.timeout": policy.timeout,
        "policy.waitTimeout": policy.wait_timeout,
        "policy.decisionTimeout": policy.decision_timeout,
        "parameters.ttl": p.ttl,
        "parameters.retention": p.retention,
        "parameters.itemOperationTimeout": p.item_operation_timeout,
        "parameters.verify.timeout": p.verify.timeout if p.verify else None,
        "parameters.verify.http.timeout": p.verify.http.timeout if p.verify and p.verify.http else None,
    }
    for field, text in fields.items():
        try:
            positive = text is None or parse_duration(text).total_seconds() > 0
        except ValueError as error:
            return refuse(Reason.VALIDATION_FAILED, f"spec.{field}: {error}.")
        if not positive and field != "policy.decisionTimeout":
            return refuse(
                Reason.VALIDATION_FAILED, f"spec.{field} is {text}: write a time above zero, such as 1h30m or 30d."
            )
    clocks_of(operation.spec)
    return None


def _parameters(operation: Operation, facts: Facts) -> Gate | None:
    for key, nearest in unknown_parameters(operation.spec):
        hint = f"; did you mean {nearest}?" if nearest else "."
        return refuse(
            Reason.VALIDATION_FAILED,
            f"spec.parameters.{key} is not a parameter of a {operation.spec.type}{hint}",
        )
    for alias, key in alias_conflicts(operation.spec):
        return refuse(
            Reason.VALIDATION_FAILED,
            f"spec.parameters has both {key} and its alias {alias}: keep {key} and remove {alias}.",
        )
    return None


def _storage_classes(operation: Operation, facts: Facts) -> Gate | None:
    """Names only: Velero puts them into a JSON patch as they are."""
    for pair in (operation.spec.parameters.storage_class_mapping or {}).items():
        for name in pair:
            if _OBJECT_NAME.fullmatch(name) is None:
                return refuse(
                    Reason.VALIDATION_FAILED,
                    f"spec.parameters.storageClassMapping: {name[:100]!r} can be no name of a StorageClass.",
                )
    return None


def _http_check(operation: Operation, facts: Facts) -> Gate | None:
    verify = operation.spec.parameters.verify
    if verify is None or verify.http is None:
        return None
    try:
        place_of(verify.http.url, operation.metadata.namespace or "")
    except NoSuchPlace as error:
        return refuse(Reason.VALIDATION_FAILED, f"spec.parameters.verify.http.url: {error}.")
    return None


def _managed(operation: Operation, facts: Facts) -> Gate | None:
    managed = any(facts.namespace_labels.get(label) == identity.MANAGED_BY for label in MANAGED_LABELS)
    if managed or not facts.require_managed_namespace:
        return None
    namespace = operation.metadata.namespace
    return refuse(
        Reason.NAMESPACE_NOT_MANAGED,
        f"Namespace {namespace} is not served by this engine; an administrator can change that with: "
        f"kubectl label namespace {namespace} {identity.MANAGED_BY_LABEL}={identity.MANAGED_BY}",
    )


def _target(operation: Operation, facts: Facts) -> Gate | None:
    target, namespace = operation.spec.target_ref, operation.metadata.namespace
    if target.kind not in TARGET_KINDS:
        return refuse(
            Reason.VALIDATION_FAILED,
            f"spec.targetRef.kind is {target.kind}: an Operation works on one of {', '.join(TARGET_KINDS)}.",
        )
    group = target.api_version.rpartition("/")[0]
    if group != TARGET_KINDS[target.kind]:
        return refuse(
            Reason.VALIDATION_FAILED,
            f"spec.targetRef.apiVersion is {target.api_version}: a {target.kind} is of API group "
            f"{TARGET_KINDS[target.kind] or 'core (v1)'}.",
        )
    if target.kind == "Namespace" and target.name != namespace:
        return refuse(
            Reason.VALIDATION_FAILED,
            f"spec.targetRef.name is {target.name}: an Operation reaches only its own namespace, so write {namespace}.",
        )
    if not facts.target_found:
        return wait(
            Reason.TARGET_NOT_FOUND,
            f"spec.targetRef: there is no {target.kind} {target.name} in namespace {namespace}. "
            "Create it, or name another.",
        )
    release_namespace = facts.target_release_namespace
    if release_namespace not in (None, "", namespace):
        return refuse(
            Reason.VALIDATION_FAILED,
            f"spec.targetRef: {target.kind} {target.name} releases into namespace {release_namespace}; "
            f"an Operation in {namespace} reaches only its own.",
        )
    return None


_CHECKS: tuple[Callable[[Operation, Facts], Gate | None], ...] = (
    _restored_copy,
    _managed,
    _supported,
    _durations,
    _parameters,
    _storage_classes,
    _http_check,
    _target,
)

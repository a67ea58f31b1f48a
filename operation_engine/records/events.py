"""Kubernetes Events of an Operation's transitions: one for each, named by its number, so that repeats change nothing.

Raw JSON through `events.k8s.io/v1`: the typed client drops zero microseconds, which that API refuses.
"""

import asyncio
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from operation_engine.domain.lifecycle import bounded
from operation_engine.domain.report import Transition, TransitionKind
from operation_engine.domain.resources.conditions import ConditionStatus, ConditionType
from operation_engine.domain.resources.operation import API_VERSION, Operation
from operation_engine.domain.resources.operation_status import EngineRef, StepState
from operation_engine.runtime.kubernetes import EVENTS, Conflict, KubernetesApi, NotFound, Refused, Unavailable
from operation_engine.runtime.telemetry import get_logger

CONTROLLER = "vworkspace-operation-engine"
MAX_NOTE = 1024
_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
_C = ConditionType
_NAMED = {
    _C.ACCEPTED: "OperationAccepted",
    _C.BLOCKED: "OperationBlocked",
    _C.RUNNING: "OperationRunning",
    _C.SUCCEEDED: "OperationSucceeded",
    _C.FAILED: "OperationFailed",
    _C.CANCELLED: "OperationCancelled",
}
_BAD = {_C.BLOCKED, _C.FAILED, _C.CANCELLED, _C.DEGRADED}
_log = get_logger(__name__)


class EventWriter:
    """Posts Events for transitions."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api
        self._instance = socket.gethostname()[:128]

    async def tell(self, operation: Operation, transitions: Sequence[Transition], related: EngineRef | None) -> None:
        """Post what readers are told of; those told before are left as they are. Raises Unavailable."""
        bodies = [event(operation, t, related, self._instance) for t in transitions if reason_of(t) is not None]
        await asyncio.gather(*(self._post(operation, body) for body in bodies))

    async def _create(self, body: dict[str, Any], namespace: str | None) -> None:
        """Patiently: an activity that follows for hours tells its caller only at its end what could not be posted."""
        for pause in _PAUSES_S:
            try:
                await self._api.create(EVENTS, body, namespace)
                return
            except Unavailable:
                await asyncio.sleep(pause)
        await self._api.create(EVENTS, body, namespace)

    async def _post(self, operation: Operation, body: dict[str, Any]) -> None:
        try:
            await self._create(body, operation.metadata.namespace)
        except Conflict:
            return  # told before a crash
        except (NotFound, Refused) as error:
            # A terminating namespace takes no Events; the Operation's end does not hang on them.
            _log.warning("Event not written", name=body["metadata"]["name"], error=str(error))


def reason_of(transition: Transition) -> str | None:
    """The Event's reason, or None where a transition is no Event: a condition that went back to rest."""
    if transition.kind == TransitionKind.STEP:
        return f"Step{transition.state}"
    if transition.state != ConditionStatus.TRUE:
        return None
    type_ = ConditionType(transition.subject)
    return _NAMED.get(type_, str(type_))


def event(operation: Operation, transition: Transition, related: EngineRef | None, instance: str) -> dict[str, Any]:
    """The Event of one transition. Notes are bounded at 1,024 bytes, as the API server has it."""
    meta = operation.metadata
    body: dict[str, Any] = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{meta.name}.{meta.uid.replace('-', '')[:8]}.{transition.number}",
            "namespace": meta.namespace,
        },
        "eventTime": _micros(transition.at or datetime.now(UTC)),
        "reportingController": CONTROLLER,
        "reportingInstance": instance,
        "action": _action(transition),
        "reason": reason_of(transition),
        "type": "Warning" if _is_bad(transition) else "Normal",
        "note": bounded(_note(transition), MAX_NOTE),
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": "Operation",
            "namespace": meta.namespace,
            "name": meta.name,
            "uid": meta.uid,
        },
    }
    if related is not None:
        body["related"] = related.to_api()
    return body


def _note(transition: Transition) -> str:
    if transition.kind == TransitionKind.STEP:
        return f"{transition.subject}: {transition.message or transition.state}"
    return transition.message or f"{transition.subject} is {transition.state}"


def _action(transition: Transition) -> str:
    return transition.subject if transition.kind == TransitionKind.STEP else f"Report{transition.subject}"


def _is_bad(transition: Transition) -> bool:
    if transition.kind == TransitionKind.STEP:
        return transition.state == StepState.FAILED
    return transition.subject in _BAD


def _micros(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

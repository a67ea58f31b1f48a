"""How an Operation's status moves: pure functions from one status to the next.

Workflows call these to say what happened; `domain.report` turns the difference into numbered transitions.
The table of conditions is the API's promise to `kubectl wait`, Flux, Helm and Argo CD (kstatus rules).
"""

from datetime import datetime
from enum import Enum
from typing import Any

from operation_engine.domain.resources.conditions import Condition, ConditionStatus, ConditionType
from operation_engine.domain.resources.operation_status import OperationStatus, Phase
from operation_engine.domain.resources.reasons import Reason

MAX_MESSAGE = 1024
_CONTROL = {code: " " for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) != "\n"}

_T, _F, _U = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
_C = ConditionType


class Life(Enum):
    """The states that a reader tells apart; each is a row of the condition table."""

    CLAIMED = "claimed"
    WAITING = "waiting"
    RUNNING = "running"
    DECIDING = "deciding"
    """Work failed and a person is to say how it goes on."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


_ROWS: dict[Life, dict[ConditionType, ConditionStatus | None]] = {
    Life.CLAIMED: {
        _C.ACCEPTED: _U, _C.BLOCKED: _F, _C.RUNNING: _F, _C.SUCCEEDED: _U, _C.FAILED: _F,
        _C.CANCELLED: _F, _C.READY: _U, _C.RECONCILING: _T, _C.STALLED: None, _C.DEGRADED: None, _C.VERIFIED: None,
    },
    Life.WAITING: {
        _C.BLOCKED: _T, _C.RUNNING: _F, _C.SUCCEEDED: _U, _C.FAILED: _F,
        _C.CANCELLED: _F, _C.READY: _F, _C.RECONCILING: _T, _C.STALLED: None,
    },
    Life.RUNNING: {
        _C.BLOCKED: _F, _C.RUNNING: _T, _C.SUCCEEDED: _U, _C.FAILED: _F,
        _C.CANCELLED: _F, _C.READY: _U, _C.RECONCILING: _T, _C.STALLED: None,
    },
    Life.DECIDING: {
        _C.BLOCKED: _T, _C.RUNNING: _T, _C.SUCCEEDED: _U, _C.FAILED: _F,
        _C.CANCELLED: _F, _C.READY: _F, _C.RECONCILING: _T, _C.STALLED: None,
    },
    Life.SUCCEEDED: {
        _C.BLOCKED: _F, _C.RUNNING: _F, _C.SUCCEEDED: _T, _C.FAILED: _F,
        _C.CANCELLED: _F, _C.READY: _T, _C.RECONCILING: None, _C.STALLED: None,
    },
    Life.FAILED: {
        _C.BLOCKED: _F, _C.RUNNING: _F, _C.SUCCEEDED: _F, _C.FAILED: _T,
        _C.CANCELLED: _F, _C.READY: _F, _C.RECONCILING: None, _C.STALLED: _T,
    },
    Life.CANCELLED: {
        _C.BLOCKED: _F, _C.RUNNING: _F, _C.SUCCEEDED: _F, _C.FAILED: _F,
        _C.CANCELLED: _T, _C.READY: _F, _C.RECONCILING: None, _C.STALLED: _T,
    },
}  # fmt: skip

_PHASES = {
    Life.CLAIMED: Phase.PENDING,
    Life.WAITING: Phase.PENDING,
    Life.RUNNING: Phase.RUNNING,
    Life.DECIDING: Phase.RUNNING,
    Life.SUCCEEDED: Phase.SUCCEEDED,
    Life.FAILED: Phase.FAILED,
    Life.CANCELLED: Phase.CANCELLED,
}

# What a condition says of itself where it is not the one that carries the news.
_AT_REST = {
    _C.ACCEPTED: {_U: "NotYetDecided"},
    _C.BLOCKED: {_F: "NotBlocked"},
    _C.RUNNING: {_T: "Running", _F: "NotRunning"},
    _C.SUCCEEDED: {_U: "NotFinished", _F: "NotSucceeded"},
    _C.FAILED: {_F: "NotFailed"},
    _C.CANCELLED: {_F: "NotCancelled"},
    _C.READY: {_U: "NotFinished"},
    _C.RECONCILING: {_T: "InProgress"},
}
_NEWS = {(_C.BLOCKED, _T), (_C.FAILED, _T), (_C.CANCELLED, _T), (_C.SUCCEEDED, _T), (_C.SUCCEEDED, _F),
         (_C.READY, _T), (_C.READY, _F), (_C.STALLED, _T)}  # fmt: skip


def bounded(text: str, limit: int = MAX_MESSAGE) -> str:
    """`text` in at most `limit` bytes of UTF-8: etcd, Events and Temporal all count bytes.

    Control characters, of which JSON makes six bytes each, become spaces.
    """
    text = text.translate(_CONTROL)
    raw = text.encode()
    if len(raw) <= limit:
        return text
    return raw[: limit - 3].decode(errors="ignore") + "…"


def both_ends(text: str, limit: int) -> str:
    """The same, but what is left out is the middle: in a chain of errors the cause stands last."""
    text = text.translate(_CONTROL)
    raw = text.encode()
    if len(raw) <= limit:
        return text
    head = limit // 3
    tail = limit - head - len(" … ".encode())
    return f"{raw[:head].decode(errors='ignore')} … {raw[-tail:].decode(errors='ignore')}"


def find_condition(status: OperationStatus, type_: ConditionType) -> Condition | None:
    return next((c for c in status.conditions if c.type == type_), None)


def set_condition(status: OperationStatus, condition: Condition) -> OperationStatus:
    """The status with this condition; lastTransitionTime moves only when its status does (Kubernetes convention)."""
    old = find_condition(status, ConditionType(condition.type))
    if old is not None and old.status == condition.status:
        condition = condition.model_copy(update={"last_transition_time": old.last_transition_time})
    others = [c for c in status.conditions if c.type != condition.type]
    return _copy(status, conditions=tuple(sorted([*others, condition], key=lambda c: c.type)))


def enter(status: OperationStatus, life: Life, reason: Reason | str, message: str, now: datetime) -> OperationStatus:
    """The status in another state of its life: phase, reason, message and the whole row of conditions."""
    message = bounded(message)
    for type_, value in _ROWS[life].items():
        if value is None:
            remaining = tuple(c for c in status.conditions if c.type != type_)
            status = _copy(status, conditions=remaining)
        else:
            status = set_condition(status, _condition(type_, value, str(reason), message, status, now))
    ended = life in (Life.SUCCEEDED, Life.FAILED, Life.CANCELLED)
    return _copy(
        status,
        phase=_PHASES[life],
        reason=str(reason),
        message=message,
        started_at=status.started_at or now,
        finished_at=now if ended else None,
    )


def refuse(status: OperationStatus, reason: Reason, message: str, now: datetime) -> OperationStatus:
    """Failed before anything was done: it was never accepted."""
    accepted = _condition(_C.ACCEPTED, _F, str(reason), bounded(message), status, now, news=True)
    return enter(set_condition(status, accepted), Life.FAILED, reason, message, now)


def accept(status: OperationStatus, message: str, now: datetime) -> OperationStatus:
    """It may run; whether it does now is for the gates to say."""
    accepted = _condition(_C.ACCEPTED, _T, "Accepted", message, status, now, news=True)
    return set_condition(status, accepted)


def is_running(status: OperationStatus) -> bool:
    """Past all gates, not ended, and not waiting for a person."""
    blocked = find_condition(status, _C.BLOCKED)
    return status.phase == Phase.RUNNING and (blocked is None or blocked.status == _F)


def say(status: OperationStatus, reason: Reason | str, message: str) -> OperationStatus:
    """The same state with another reason and message on top."""
    return _copy(status, reason=str(reason), message=bounded(message))


def degraded(status: OperationStatus, reason: Reason, message: str, now: datetime) -> OperationStatus:
    """Part of what was asked for is missing, and the policy accepts that."""
    return set_condition(status, _condition(_C.DEGRADED, _T, str(reason), bounded(message), status, now, news=True))


def verified(status: OperationStatus, holds: bool, reason: Reason, message: str, now: datetime) -> OperationStatus:
    """What was checked, and whether it held."""
    value = _T if holds else _F
    name = "Verified" if holds else str(reason)
    return set_condition(status, _condition(_C.VERIFIED, value, name, bounded(message), status, now, news=True))


def observe_generation(status: OperationStatus, generation: int) -> OperationStatus:
    """The status as one that has seen this generation, conditions included (`kubectl wait` reads those)."""
    conditions = tuple(c.model_copy(update={"observed_generation": generation}) for c in status.conditions)
    return _copy(status, observed_generation=generation, conditions=conditions)


def _condition(
    type_: ConditionType,
    value: ConditionStatus,
    reason: str,
    message: str,
    status: OperationStatus,
    now: datetime,
    news: bool = False,
) -> Condition:
    carries = news or (type_, value) in _NEWS
    begins = (type_, value) == (_C.RUNNING, _T)
    return Condition(
        type=type_,
        status=value,
        observed_generation=status.observed_generation,
        last_transition_time=now,
        reason=reason if carries else _AT_REST[type_][value],
        message=message if carries or begins else "",
    )


def _copy(status: OperationStatus, **changes: Any) -> OperationStatus:
    return status.model_copy(update=changes)

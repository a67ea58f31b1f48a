"""What a person may decide about work that failed, and what an answer must say: pure.

Workflows ask here about every Update and Signal; whatever is typed, the answer is a decision or one clear sentence.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from operation_engine.domain.identity import OperationRef
from operation_engine.domain.lifecycle import bounded
from operation_engine.domain.resources.common import ApiModel
from operation_engine.domain.resources.operation_status import Decision
from operation_engine.domain.resources.reasons import Reason

MAX_ATTEMPTS = 50
"""How many attempts an Operation may have before a failure is its end."""
UNVERIFIED = "unverified:"
SAFETY_BACKUP = "SafetyBackup"
_MAX_BY = 200
_MAX_WHY = 560
_KEYS = ("attempt", "by", "skip")

_FAILED_WORK = frozenset(
    {
        Reason.VELERO_BACKUP_FAILED,
        Reason.VELERO_BACKUP_PARTIALLY_FAILED,
        Reason.VELERO_RESTORE_FAILED,
        Reason.VELERO_RESTORE_PARTIALLY_FAILED,
        Reason.NOTHING_RESTORED,
        Reason.VERIFICATION_FAILED,
        Reason.VOLUME_NOT_BACKED_UP,
        Reason.HOOK_FAILED,
        Reason.SAFETY_BACKUP_FAILED,
        Reason.CLEANUP_FAILED,
        Reason.EXTERNAL_DELETION,
        Reason.STORAGE_LOCATION_UNAVAILABLE,
        Reason.BACKUP_NOT_FOUND,
        Reason.BACKUP_NOT_USABLE,
        Reason.CONSENT_MISSING,
        Reason.TIMEOUT,
        Reason.ENGINE_UNAVAILABLE,
    }
)


class Verb(StrEnum):
    """What can be decided; also the names of the Updates, the Signals and the annotations."""

    RETRY = "retry"
    ABORT = "abort"


class Awaited(ApiModel):
    """The decision that an Operation waits for."""

    attempt: int
    may_skip: tuple[str, ...] = ()


class Answer(ApiModel):
    """A decision that counts."""

    verb: Verb
    attempt: int
    by: str
    skip: str | None = None


class Refused(ValueError):
    """An answer that does not count; the text says why, and what to send."""


def asks_a_person(reason: Reason, attempt: int) -> bool:
    """Whether this failure of an attempt is worth a person's decision: a verdict on the manifest is not."""
    return reason in _FAILED_WORK and 0 < attempt < MAX_ATTEMPTS


def awaited(reason: Reason, attempt: int) -> Awaited:
    """What is asked after an attempt that failed for this reason."""
    return Awaited(attempt=attempt, may_skip=(SAFETY_BACKUP,) if reason == Reason.SAFETY_BACKUP_FAILED else ())


def read(verb: Verb, payload: Any, wanted: Awaited | None, last: Answer | None) -> Answer:
    """The decision in an Update's or a Signal's payload. Raises Refused."""
    if wanted is None:
        raise Refused(_nothing_awaited(last))
    attempt = _attempt(payload, wanted)
    if attempt != wanted.attempt:
        raise Refused(f"Attempt {attempt} does not wait for a decision: attempt {wanted.attempt} does. {_send(wanted)}")
    unknown = sorted(set(payload) - set(_KEYS))
    if unknown:
        raise Refused(f"{bounded(str(unknown[0]), 100)!r} means nothing here. {_send(wanted)}")
    by = payload.get("by")
    if by is not None and not isinstance(by, str):
        raise Refused(f'"by" must be a name. {_send(wanted)}')
    return Answer(verb=verb, attempt=attempt, by=_who(by), skip=_skipped(verb, payload.get("skip"), wanted))


def _attempt(payload: Any, wanted: Awaited) -> int:
    if not isinstance(payload, Mapping):
        said = "Nothing was sent" if payload is None else f"{bounded(json.dumps(payload, default=str), 100)} was sent"
        raise Refused(f"{said}: a decision must name the attempt that it is about. {_send(wanted)}")
    number = payload.get("attempt")
    if isinstance(number, str) and number.isascii() and number.isdigit() and len(number) < 6:
        number = int(number)
    if not isinstance(number, int) or isinstance(number, bool):
        raise Refused(f'"attempt" must be a number: a decision names the attempt that it is about. {_send(wanted)}')
    return number


def _skipped(verb: Verb, skip: Any, wanted: Awaited) -> str | None:
    if skip is None:
        return None
    if verb != Verb.RETRY or skip not in wanted.may_skip:
        can = f"only {', '.join(wanted.may_skip)} can be" if wanted.may_skip else "nothing can be"
        raise Refused(f'"skip": {can} skipped now. {_send(wanted)}')
    return str(skip)


def _nothing_awaited(last: Answer | None) -> str:
    before = f" The last one was {last.verb} of attempt {last.attempt}, by {last.by}." if last else ""
    return f"This Operation does not wait for a decision now.{before}"


def counted_already(verb: Verb, payload: Any, last: Answer | None) -> bool:
    """Whether this is the last decision once more: a Signal and an annotation that say the same count once."""
    if last is None or not isinstance(payload, Mapping):
        return False
    return last.verb == verb and str(payload.get("attempt")) == str(last.attempt)


def _who(by: str | None) -> str:
    """Temporal does not record who sends; a name in the payload is only a claim."""
    return UNVERIFIED + bounded(by or "somebody", _MAX_BY)


def to_send(wanted: Awaited) -> str:
    """The JSON that decides, as the Temporal UI formats it."""
    return json.dumps({"attempt": wanted.attempt}, indent=2)


def _send(wanted: Awaited) -> str:
    return f"Send: {to_send(wanted)}"


def question(ref: OperationRef, reason: Reason, why: str, attempt: int) -> str:
    """What a person reads on the Operation: what failed, why, and how to go on."""
    retry = f"kubectl annotate operation {ref.name} -n {ref.namespace} ops.vworkspace.io/retry={attempt}"
    return (
        f"Attempt {attempt} failed ({reason}): {bounded(why, _MAX_WHY)} "
        f"Repair the cause, then: {retry} --overwrite (or ops.vworkspace.io/abort={attempt})"
    )


def recorded(answer: Answer, now: datetime) -> Decision:
    """The decision as the status keeps it."""
    return Decision(attempt=answer.attempt, by=answer.by, at=now, verb=str(answer.verb))

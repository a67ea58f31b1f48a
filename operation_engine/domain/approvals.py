"""Whether an Operation needs a person's approval, and whether it has one: pure.

The claim's wire format is the one that vWorkspace Server issues. Called by the activity `check_approval`.
"""

import base64
import binascii
import hashlib
import hmac
import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from operation_engine.domain.admission import Gate, refuse, wait
from operation_engine.domain.identity import OperationRef
from operation_engine.domain.lifecycle import bounded
from operation_engine.domain.resources.common import ApiModel
from operation_engine.domain.resources.operation import Operation
from operation_engine.domain.resources.operation_spec import OperationType
from operation_engine.domain.resources.operation_status import Approval
from operation_engine.domain.resources.reasons import Reason

CLAIM_VERSION = "vws1"
MAX_BY = 256
_MOMENT: TypeAdapter[datetime] = TypeAdapter(AwareDatetime)


class ApprovalMode(StrEnum):
    """What the installation asks of a Restore."""

    REQUIRED = "Required"
    OPTIONAL = "Optional"
    """An approval only where the requester asked for one."""


class Claim(ApiModel):
    """What a verified claim says: who approved which Operation, until when it may be spent."""

    by: str
    at: datetime | None = None
    operation: str
    expires_at: datetime
    digest: str
    """Of the signed body: the same for every way in which the claim can be written."""


class BadClaim(Exception):
    """The claim approves nothing; the text says why, as a sentence."""


def why_needed(operation: Operation, mode: ApprovalMode, because: str | None = None) -> str | None:
    """Why somebody has to approve, or None. `because`: a reason that no mode and no requester can waive."""
    asked = operation.spec.approvals is not None and bool(operation.spec.approvals.required)
    if because is not None:
        return because
    if asked:
        return "spec.approvals.required is true"
    if operation.spec.type == OperationType.RESTORE and mode == ApprovalMode.REQUIRED:
        return "Every Restore needs an approval in this installation"
    return None


def verify_claim(text: str, secret: bytes, ref: OperationRef) -> Claim:
    """The claim, signed with our secret and made for this Operation; its expiry is for the caller. Raises BadClaim.

    `vws1.<body>.<digest>`: the body is base64url of JSON with at, by, exp, op, rid, v; the digest is the HMAC-SHA256
    of the body's text in hex. `ns` and `uid` may stand in the body too, and then bind the claim to one Operation.
    """
    version, _, rest = text.strip().partition(".")
    body, _, digest = rest.partition(".")
    if version != CLAIM_VERSION or not body or not digest:
        raise BadClaim("it is not of the form vws1.<body>.<digest>")
    expected = hmac.new(secret, body.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), digest.encode()):
        raise BadClaim("its signature does not match: it was changed, or signed with another secret")
    return _read(_decoded(body), body, ref)


def _decoded(body: str) -> dict[str, Any]:
    try:
        content = json.loads(base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise BadClaim("its body cannot be read") from error
    if not isinstance(content, dict):
        raise BadClaim("its body cannot be read")
    return content


def _read(content: dict[str, Any], body: str, ref: OperationRef) -> Claim:
    if content.get("v") != 1 or isinstance(content["v"], bool):
        raise BadClaim("its version is not 1")
    for key, own in (("op", ref.name), ("ns", ref.namespace), ("uid", ref.uid)):
        if content.get(key, own if key != "op" else None) != own:
            raise BadClaim("it was made for another Operation")
    by = content.get("by")
    if not isinstance(by, str) or not by.strip():
        raise BadClaim("it does not say who approved")
    return Claim(
        by=bounded(by, MAX_BY),
        at=moment(content.get("at")),
        operation=ref.name,
        expires_at=_expiry(content.get("exp")),
        digest="sha256:" + hashlib.sha256(body.encode()).hexdigest(),
    )


def _expiry(seconds: Any) -> datetime:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise BadClaim("it does not say when it expires")
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError) as error:
        raise BadClaim("it does not say when it expires") from error


def moment(found: Any) -> datetime | None:
    """A point in time as people and programs write it (RFC 3339, unix seconds); None where it is none."""
    try:
        return None if isinstance(found, bool) or found is None else _MOMENT.validate_python(found)
    except (ValidationError, OverflowError):
        return None


def approval_of(claim: Claim, spec_digest: str | None) -> Approval:
    """What the status keeps of a claim that was spent."""
    return Approval(by=claim.by, at=claim.at, claim_digest=claim.digest, spec_digest=spec_digest)


def named_approval(operation: Operation, spec_digest: str | None) -> Approval | None:
    """The approval by name alone, where there is one; whether it counts is for the installation to say."""
    given = operation.spec.approvals
    if given is None or not (given.approved_by or "").strip():
        return None
    return Approval(by=bounded(given.approved_by or "", MAX_BY), at=moment(given.approved_at), spec_digest=spec_digest)


def holds(approval: Approval | None, spec_digest: str | None) -> bool:
    """Whether an approval that was accepted before is one of this very spec: then it holds for retries and Resets."""
    return approval is not None and approval.spec_digest == spec_digest


def await_approval(why: str, ref: OperationRef, *, named_counts: bool, named: Approval | None) -> Gate:
    """Nobody has approved yet: why it is needed, and what gives it."""
    field = "approvedBy" if named_counts else "claim"
    hint = "" if named is None or named_counts else " approvedBy alone does not count here."
    patch = f'{{"spec":{{"approvals":{{"{field}":"…"}}}}}}'
    return wait(
        Reason.AWAITING_APPROVAL,
        f"{why}.{hint} To approve: kubectl patch operation {ref.name} -n {ref.namespace} --type=merge -p '{patch}'",
    )


def cannot_check(setting: str, fault: str) -> Gate:
    """A claim is there and the installation cannot verify any: its fault, not the claim's."""
    return wait(
        Reason.AWAITING_APPROVAL,
        f"spec.approvals.claim is there, but this installation cannot verify claims: {setting} {fault}.",
    )


def invalid(why: str) -> Gate:
    """The claim approves nothing."""
    return refuse(Reason.APPROVAL_INVALID, f"spec.approvals.claim: {why}. Ask for a new approval, for a new Operation.")

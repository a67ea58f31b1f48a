"""Who has to approve, and what an approval is worth."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.claims import CLAIM, SECRET, body_of, claim, signed
from support.values import NOW, REF, UID, operation

from operation_engine.domain import approvals
from operation_engine.domain.admission import Answer
from operation_engine.domain.approvals import ApprovalMode, BadClaim
from operation_engine.domain.resources.operation_status import Approval
from operation_engine.domain.resources.reasons import Reason

REQUIRED, OPTIONAL = ApprovalMode.REQUIRED, ApprovalMode.OPTIONAL
NEEDED: list[tuple[str, Any, ApprovalMode, str | None, bool]] = [
    ("Restore", None, REQUIRED, None, True),
    ("Restore", False, REQUIRED, None, True),
    ("Restore", True, REQUIRED, None, True),
    ("Restore", None, OPTIONAL, None, False),
    ("Restore", False, OPTIONAL, None, False),
    ("Restore", True, OPTIONAL, None, True),
    ("Restore", False, OPTIONAL, "the name was used again", True),
    ("Backup", None, REQUIRED, None, False),
    ("Backup", True, OPTIONAL, None, True),
    ("Upgrade", None, REQUIRED, None, False),
    ("Upgrade", True, REQUIRED, None, True),
]


@pytest.mark.parametrize(("type_", "required", "mode", "because", "needed"), NEEDED)
def test_who_needs_an_approval(
    type_: str, required: bool | None, mode: ApprovalMode, because: str | None, needed: bool
) -> None:
    asked = operation(type=type_, approvals={"required": required} if required is not None else None)
    assert (approvals.why_needed(asked, mode, because) is not None) == needed


def test_a_claim_says_who_approved_and_until_when_it_may_be_spent() -> None:
    found = approvals.verify_claim(claim(REF.name), SECRET, REF)
    assert (found.by, found.operation, found.at) == ("ann@example.com", REF.name, NOW)
    assert found.expires_at == datetime.fromtimestamp(CLAIM["exp"], UTC)
    assert found.digest.startswith("sha256:")


def test_a_claim_may_be_bound_to_one_operation() -> None:
    assert approvals.verify_claim(claim(REF.name, ns="shop", uid=UID), SECRET, REF).by


def test_blanks_around_a_claim_do_not_make_it_another_one() -> None:
    text = claim(REF.name)
    plain, padded = (approvals.verify_claim(t, SECRET, REF) for t in (text, f"\n{text} "))
    assert plain.digest == padded.digest


GOOD = {**CLAIM, "op": REF.name}
BAD: dict[str, tuple[str, str]] = {
    "nothing": ("", "not of the form"),
    "another version": (claim(REF.name).replace("vws1", "vws2"), "not of the form"),
    "no digest": (claim(REF.name).rpartition(".")[0], "not of the form"),
    "another secret": (claim(REF.name, secret=b"theirs"), "signature does not match"),
    "a changed body": (f"vws1.{body_of({**GOOD, 'by': 'eve'})}.{claim(REF.name).rpartition('.')[2]}", "signature"),
    "a digest in capitals": (
        "vws1." + body_of(GOOD) + "." + claim(REF.name).rpartition(".")[2].upper(),
        "signature does not match",
    ),
    "letters that are no digest": (f"vws1.{body_of(GOOD)}.ä", "signature does not match"),
    "another Operation": (claim("another"), "another Operation"),
    "no Operation": (signed({k: v for k, v in GOOD.items() if k != "op"}), "another Operation"),
    "a namesake elsewhere": (claim(REF.name, ns="till"), "another Operation"),
    "a namesake made anew": (claim(REF.name, uid="another"), "another Operation"),
    "version 2": (claim(REF.name, v=2), "version is not 1"),
    "version true": (claim(REF.name, v=True), "version is not 1"),
    "no expiry": (claim(REF.name, exp=None), "when it expires"),
    "expiry in words": (claim(REF.name, exp="soon"), "when it expires"),
    "expiry beyond time": (claim(REF.name, exp=1e300), "when it expires"),
    "nobody": (claim(REF.name, by=" "), "who approved"),
    "a number for a name": (claim(REF.name, by=7), "who approved"),
    "no JSON": (signed(b"by ann"), "cannot be read"),
    "no object": (signed(json.dumps([1]).encode()), "cannot be read"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_claim_that_approves_nothing_says_why(case: str) -> None:
    text, says = BAD[case]
    with pytest.raises(BadClaim, match=says):
        approvals.verify_claim(text, SECRET, REF)


@given(st.text(max_size=300))
def test_whatever_is_written_into_the_field_is_a_bad_claim_and_no_crash(text: str) -> None:
    with pytest.raises(BadClaim):
        approvals.verify_claim(text, SECRET, REF)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda c: st.dictionaries(st.text(), c)))
def test_whatever_is_signed_is_read_or_refused(content: Any) -> None:
    text = signed(json.dumps({**GOOD, "at": content, "exp": content}).encode())
    with suppress(BadClaim):
        assert approvals.verify_claim(text, SECRET, REF).by == GOOD["by"]


def test_an_approval_holds_for_the_spec_that_was_approved() -> None:
    approval = Approval(by="ann", spec_digest="sha256:1")
    assert approvals.holds(approval, "sha256:1")
    assert not approvals.holds(approval, "sha256:2")
    assert not approvals.holds(None, None)


def test_an_approval_by_name_keeps_what_was_written() -> None:
    given = operation(approvals={"approvedBy": "ann", "approvedAt": "2026-03-01T12:00:00Z"})
    assert approvals.named_approval(given, "d") == Approval(by="ann", at=NOW, spec_digest="d")
    assert approvals.named_approval(operation(approvals={"approvedBy": " "}), "d") is None
    assert approvals.named_approval(operation(), "d") is None
    late = operation(approvals={"approvedBy": "ann", "approvedAt": "yesterday"})
    assert approvals.named_approval(late, "d") == Approval(by="ann", spec_digest="d")


def test_who_waits_is_told_how_to_approve() -> None:
    named = Approval(by="ann")
    by_claim = approvals.await_approval("Why", REF, named_counts=False, named=named)
    assert (by_claim.answer, by_claim.reason) == (Answer.WAIT, Reason.AWAITING_APPROVAL)
    assert "kubectl patch operation nightly -n shop" in by_claim.message
    assert '"claim"' in by_claim.message
    assert "approvedBy alone does not count here" in by_claim.message
    by_name = approvals.await_approval("Why", REF, named_counts=True, named=None)
    assert '"approvedBy"' in by_name.message
    assert "does not count" not in by_name.message


def test_a_bad_claim_is_refused_and_an_installation_s_fault_is_waited_for() -> None:
    assert approvals.invalid("it is spent").reason == Reason.APPROVAL_INVALID
    assert approvals.invalid("it is spent").answer == Answer.REFUSE
    assert approvals.cannot_check("VOP_X", "is not set").answer == Answer.WAIT

"""The activity that asks whether an Operation is approved. The rules are pure, in `domain.approvals`.

Called by the approval gate of every workflow, again whenever the spec changed while it waits.
"""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from temporalio import activity

from activities.operations import own_run
from activities.safeguard_requests import ApprovalAnswer, ApprovalRequest
from operation_engine.domain import approvals
from operation_engine.domain.admission import Answer, Gate
from operation_engine.domain.approvals import ApprovalMode, BadClaim, Claim
from operation_engine.domain.identity import OperationRef
from operation_engine.domain.resources.operation import Operation
from operation_engine.domain.resources.operation_status import Approval, OperationStatus
from operation_engine.records.operations import OperationStore
from operation_engine.records.spent_claims import SpentClaims

SECRET_VARIABLE = "VOP_APPROVAL_SECRET_FILE"  # noqa: S105 - the name of a setting


class NoSecret(Exception):
    """This installation cannot verify claims; the text says what is wrong with the setting."""


class ApprovalActivities:
    """Verbs on approvals."""

    def __init__(
        self, store: OperationStore, spent: SpentClaims, mode: ApprovalMode, secret_file: str | None, *, guarded: bool
    ) -> None:
        self._store, self._spent, self._mode = store, spent, mode
        self._secret_file, self._guarded = secret_file, guarded

    @activity.defn
    async def check_approval(self, request: ApprovalRequest) -> ApprovalAnswer:
        """Whether the Operation may go on. A claim that approves it is spent with that, for this uid and no other."""
        # Read before the write so that it observes the newest generation, and after it so that no later approval is
        # missed: the controller tells of every generation above the one in the status.
        await self._store.read(request.ref)
        status = await self._store.write(request.ref, own_run(), request.report)
        operation = (await self._store.read(request.ref)).operation
        digest = status.workflow.spec_digest if status.workflow else None
        why = approvals.why_needed(operation, self._mode, request.because)
        if why is None:
            message = "No approval is needed here."
            return ApprovalAnswer(status=status, gate=Gate(answer=Answer.PASS, message=message))
        if approvals.holds(operation.status.approval, digest):
            return _approved(status, operation.status.approval)
        return await self._judge(request.ref, operation, status, why, digest)

    async def _judge(
        self, ref: OperationRef, operation: Operation, status: OperationStatus, why: str, digest: str | None
    ) -> ApprovalAnswer:
        named = approvals.named_approval(operation, digest)
        text = (operation.spec.approvals.claim if operation.spec.approvals else None) or ""
        try:
            if text.strip():
                return _approved(status, approvals.approval_of(await self._spend(text, ref), digest))
        except BadClaim as bad:
            return ApprovalAnswer(status=status, gate=approvals.invalid(str(bad)))
        except NoSecret as fault:
            gate = approvals.cannot_check(SECRET_VARIABLE, str(fault))
            return ApprovalAnswer(status=status, gate=gate, look_again=True)
        if named is not None and self._guarded:
            return _approved(status, named)
        gate = approvals.await_approval(why, ref, named_counts=self._guarded, named=named)
        return ApprovalAnswer(status=status, gate=gate)

    async def _spend(self, text: str, ref: OperationRef) -> Claim:
        """The claim, spent on this Operation. Raises BadClaim, NoSecret."""
        claim = approvals.verify_claim(text, await asyncio.to_thread(self._secret), ref)
        spender = await self._spent.spender(claim)
        if spender is None:
            if claim.expires_at <= datetime.now(UTC):
                raise BadClaim(f"it expired at {claim.expires_at:%Y-%m-%dT%H:%M:%SZ}")
            spender = await self._spent.spend(claim, ref)
        if spender.uid != ref.uid:
            raise BadClaim("it was spent on another Operation before")
        return claim

    def _secret(self) -> bytes:
        if self._secret_file is None:
            raise NoSecret("is not set")
        try:
            secret = Path(self._secret_file).read_bytes().strip()
        except OSError as error:
            raise NoSecret(f"names a file that cannot be read ({error.strerror})") from error
        if not secret:
            raise NoSecret("names a file that is empty")
        return secret


def _approved(status: OperationStatus, approval: Approval | None) -> ApprovalAnswer:
    message = f"Approved by {approval.by}." if approval else ""
    return ApprovalAnswer(status=status, gate=Gate(answer=Answer.PASS, message=message), approval=approval)

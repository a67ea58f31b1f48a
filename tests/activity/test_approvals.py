"""An approval counts once, for one Operation, on a real API server: claims are spent by a compare-and-swap."""

import asyncio
import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support import reports
from support.acting import Acting, FaultyApi, ref_of, run_of
from support.claims import SECRET, claim
from support.kube import Kubectl, Operations, restore
from support.world import fresh_namespace

from activities.approvals import ApprovalActivities
from activities.safeguard_requests import ApprovalAnswer, ApprovalRequest
from operation_engine.domain.admission import Answer
from operation_engine.domain.approvals import ApprovalMode, verify_claim
from operation_engine.domain.identity import OperationRef
from operation_engine.domain.report import StatusReport
from operation_engine.records.operations import OperationStore
from operation_engine.records.spent_claims import SpentClaims

ENGINE = "vworkspace-system"
CLEAN_UP = Path(__file__).parents[2] / "docs/decisions/009-approvals-are-spent.md"
Verbs = Callable[..., ApprovalActivities]


@pytest.fixture
def operation(kubectl: Kubectl, operations: Operations, namespace: str) -> dict[str, Any]:
    """A Restore that nobody has approved; its name is the test's own, for claims are spent by name."""
    kubectl.apply(restore(namespace, "b", f"restore-{namespace}"))
    return operations.get(namespace, f"restore-{namespace}")


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_bytes(SECRET + b"\n")
    return path


@pytest.fixture
def approvals(api: FaultyApi, store: OperationStore, secret_file: Path) -> Verbs:
    def build(
        mode: ApprovalMode = ApprovalMode.REQUIRED, secret: str | None = str(secret_file), guarded: bool = False
    ) -> ApprovalActivities:
        return ApprovalActivities(store, SpentClaims(api, ENGINE), mode, secret, guarded=guarded)

    return build


@pytest_asyncio.fixture
async def report(store: OperationStore, ref: OperationRef) -> StatusReport:
    return reports.admitted(await store.claim(ref, run_of(ref), reports.first))


@pytest.fixture
def ask(ref: OperationRef, report: StatusReport) -> Callable[..., Any]:
    said = report

    async def asked(verbs: ApprovalActivities, because: str | None = None) -> ApprovalAnswer:
        nonlocal said
        request = ApprovalRequest(ref=ref, report=said, because=because)
        answer: ApprovalAnswer = await Acting(run_of(ref))(verbs.check_approval, request)
        said = reports.next_report(answer.status, answer.status)
        return answer

    return asked


def approve(kubectl: Kubectl, ref: OperationRef, **approvals: Any) -> None:
    body = json.dumps({"spec": {"approvals": approvals}})
    kubectl("patch", "operation", ref.name, "-n", ref.namespace, "--type=merge", "-p", body)


async def test_without_an_approval_a_restore_waits_and_says_how_to_give_one(
    approvals: Verbs, ask: Callable[..., Any], ref: OperationRef
) -> None:
    answer = await ask(approvals())
    assert (answer.gate.answer, answer.gate.reason) == (Answer.WAIT, "AwaitingApproval")
    assert f"kubectl patch operation {ref.name} -n {ref.namespace}" in answer.gate.message
    assert answer.approval is None
    assert not answer.look_again


async def test_a_claim_that_comes_later_is_seen_and_the_newest_generation_observed(
    approvals: Verbs, ask: Callable[..., Any], ref: OperationRef, kubectl: Kubectl, operations: Operations
) -> None:
    assert (await ask(approvals())).gate.answer == Answer.WAIT
    approve(kubectl, ref, claim=claim(ref.name))
    answer = await ask(approvals())
    assert answer.gate.answer == Answer.PASS
    assert answer.gate.message == "Approved by ann@example.com."
    digest = answer.status.workflow.spec_digest
    assert (answer.approval.by, answer.approval.spec_digest) == ("ann@example.com", digest)
    live = operations.get(ref.namespace, ref.name)
    assert live["status"]["observedGeneration"] == live["metadata"]["generation"] == 2


async def test_a_claim_counts_once_however_often_the_same_operation_asks(
    approvals: Verbs, ask: Callable[..., Any], ref: OperationRef, kubectl: Kubectl
) -> None:
    approve(kubectl, ref, claim=claim(ref.name))
    first, second = await ask(approvals()), await ask(approvals())
    assert first.approval == second.approval
    spent = kubectl.json("get", "configmaps", "-n", ENGINE, "-l", f"ops.vworkspace.io/operation={ref.uid}")["items"]
    assert len(spent) == 1
    assert spent[0]["immutable"] is True
    assert spent[0]["data"]["operation"] == f"{ref.namespace}/{ref.name}"
    assert spent[0]["data"]["claimDigest"] == first.approval.claim_digest


async def test_a_claim_that_was_spent_holds_for_its_operation_beyond_its_expiry(
    approvals: Verbs, ask: Callable[..., Any], ref: OperationRef, kubectl: Kubectl, api: FaultyApi
) -> None:
    text = claim(ref.name, exp=1)
    approve(kubectl, ref, claim=text)
    await SpentClaims(api, ENGINE).spend(verify_claim(text, SECRET, ref), ref)
    assert (await ask(approvals())).gate.answer == Answer.PASS


async def test_of_two_operations_with_one_claim_one_wins(
    approvals: Verbs, store: OperationStore, kubectl: Kubectl, operations: Operations
) -> None:
    name = "namesake"
    with fresh_namespace(kubectl) as one, fresh_namespace(kubectl) as other:
        text = claim(name, rid=one)
        requests = []
        for where in (one, other):
            kubectl.apply(restore(where, "b", name, approvals={"claim": text}))
            ref = ref_of(operations.get(where, name))
            report = reports.admitted(await store.claim(ref, run_of(ref), reports.first))
            requests.append(ApprovalRequest(ref=ref, report=report))
        verb = approvals().check_approval
        answers = await asyncio.gather(*(Acting(run_of(r.ref))(verb, r) for r in requests))
    assert sorted(answer.gate.answer for answer in answers) == [Answer.PASS, Answer.REFUSE]
    lost = next(answer for answer in answers if answer.gate.answer == Answer.REFUSE)
    assert lost.gate.reason == "ApprovalInvalid"
    assert "it was spent on another Operation before" in lost.gate.message


REFUSED = {
    "expired": ({"exp": 1_000_000}, "it expired at 1970-01-12T13:46:40Z"),
    "for another name": ({"op": "another"}, "it was made for another Operation"),
    "for a namesake elsewhere": ({"ns": "elsewhere"}, "it was made for another Operation"),
    "signed by a stranger": ({"secret": b"theirs"}, "its signature does not match"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_a_claim_that_is_wrong_ends_the_operation_with_what_is_wrong(
    approvals: Verbs, ask: Callable[..., Any], ref: OperationRef, kubectl: Kubectl, case: str
) -> None:
    parts, says = REFUSED[case]
    text = claim(str(parts.pop("op", ref.name)), **dict(parts))  # type: ignore[arg-type]
    approve(kubectl, ref, claim=text)
    answer = await ask(approvals())
    assert (answer.gate.answer, answer.gate.reason) == (Answer.REFUSE, "ApprovalInvalid")
    assert says in answer.gate.message
    assert "ops.vworkspace.io" not in answer.gate.message
    assert text not in answer.gate.message


async def test_a_secret_is_renewed_without_a_restart(
    approvals: Verbs, ask: Callable[..., Any], ref: OperationRef, kubectl: Kubectl, secret_file: Path
) -> None:
    verbs = approvals()
    approve(kubectl, ref, claim=claim(ref.name, secret=b"new"))
    await asyncio.to_thread(secret_file.write_bytes, b"new")
    assert (await ask(verbs)).gate.answer == Answer.PASS


@pytest.mark.parametrize(("secret", "says"), [(None, "is not set"), ("/nowhere", "cannot be read"), ("", "is empty")])
async def test_an_installation_that_cannot_verify_claims_is_waited_for(
    approvals: Verbs,
    ask: Callable[..., Any],
    ref: OperationRef,
    kubectl: Kubectl,
    tmp_path: Path,
    secret: str | None,
    says: str,
) -> None:
    if secret == "":
        secret = str(tmp_path / "empty")
        await asyncio.to_thread(Path(secret).write_bytes, b" \n")
    approve(kubectl, ref, claim=claim(ref.name))
    answer = await ask(approvals(secret=secret))
    assert (answer.gate.answer, answer.gate.reason) == (Answer.WAIT, "AwaitingApproval")
    assert f"VOP_APPROVAL_SECRET_FILE {'names a file that ' if secret else ''}{says}" in answer.gate.message
    assert answer.look_again


@pytest.mark.parametrize(("guarded", "answer"), [(True, Answer.PASS), (False, Answer.WAIT)])
async def test_a_name_counts_only_where_a_policy_guards_the_field(
    approvals: Verbs, ask: Callable[..., Any], ref: OperationRef, kubectl: Kubectl, guarded: bool, answer: Answer
) -> None:
    approve(kubectl, ref, approvedBy="ann", approvedAt="2026-03-01T12:00:00Z")
    found = await ask(approvals(guarded=guarded))
    assert found.gate.answer == answer
    assert (found.approval is not None) == guarded
    assert ("does not count here" in found.gate.message) == (not guarded)


async def test_where_approvals_are_optional_only_a_reason_that_nobody_can_waive_asks_for_one(
    approvals: Verbs, ask: Callable[..., Any]
) -> None:
    optional = approvals(mode=ApprovalMode.OPTIONAL)
    assert (await ask(optional)).gate.answer == Answer.PASS
    answer = await ask(optional, because="Namespace shop was made anew")
    assert answer.gate.answer == Answer.WAIT
    assert answer.gate.message.startswith("Namespace shop was made anew. To approve:")


async def test_the_documented_command_deletes_the_records_of_claims_that_have_expired_and_no_others(
    api: FaultyApi, ref: OperationRef, kubectl: Kubectl
) -> None:
    spent = SpentClaims(api, ENGINE)
    valid = verify_claim(claim(ref.name), SECRET, ref)
    expired = verify_claim(claim(ref.name, rid="expired"), SECRET, ref).model_copy(
        update={"expires_at": datetime.now(UTC) - timedelta(minutes=1)}
    )
    for one in (valid, expired):
        await spent.spend(one, ref)
    command = (await asyncio.to_thread(CLEAN_UP.read_text)).partition("```sh\n")[2].partition("```")[0]
    await asyncio.to_thread(subprocess.run, ["sh", "-ec", command], env=kubectl.env, check=True, timeout=60)
    assert await spent.spender(expired) is None
    assert await spent.spender(valid) == ref

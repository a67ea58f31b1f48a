"""Whose an Operation is: a claim is one compare-and-swap, and nobody but its holder or a Reset ever writes."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from support import reports
from support.acting import Acting, FaultyApi, ScriptedRuns, run_of
from support.kube import Kubectl, Operations, backup
from support.reports import first

from activities.operations import OperationActivities
from activities.requests import ClaimRequest
from operation_engine.domain.claim import RunIdentity
from operation_engine.domain.identity import OperationRef
from operation_engine.domain.resources.operation_status import OperationStatus, Phase
from operation_engine.records.operations import Fenced, OperationGone, OperationStore

NewStore = Callable[[], OperationStore]


def version(operations: Operations, ref: OperationRef) -> str:
    return str(operations.get(ref.namespace, ref.name)["metadata"]["resourceVersion"])


def annotate(kubectl: Kubectl, ref: OperationRef) -> Callable[[], Any]:
    """Somebody else's write, between our read and our write."""

    async def edit() -> None:
        kubectl("annotate", "operation", ref.name, "-n", ref.namespace, "somebody=else", "--overwrite")

    return edit


def write_status(kubectl: Kubectl, ref: OperationRef, **status: Any) -> None:
    body = json.dumps({"status": status})
    kubectl("patch", "operation", ref.name, "-n", ref.namespace, "--subresource=status", "--type=merge", "-p", body)


async def test_a_claim_names_the_run_and_shows_the_whole_plan(
    verbs: OperationActivities, ref: OperationRef, operations: Operations
) -> None:
    plan = ("Admit", "CreateBackup")
    claimed = await Acting(run_of(ref))(verbs.claim_operation, ClaimRequest(ref=ref, steps=plan))
    status = operations.get(ref.namespace)["status"]
    assert [step["name"] for step in status["steps"]] == list(plan)
    assert status["workflow"]["runId"] == status["workflow"]["firstRunId"] == "run-1"
    assert status["workflow"]["specDigest"].startswith("sha256:")
    assert (claimed.type, claimed.target) == ("Backup", ref.namespace)
    assert claimed.status == OperationStatus.from_api(status)


async def test_a_claim_repeated_by_its_holder_changes_nothing(
    store: OperationStore, new_store: NewStore, ref: OperationRef, operations: Operations
) -> None:
    once = await store.claim(ref, run_of(ref), first)
    before = version(operations, ref)
    assert await store.claim(ref, run_of(ref), first) == once
    assert await new_store().claim(ref, run_of(ref), first) == once
    assert version(operations, ref) == before


async def test_a_claim_that_loses_to_another_writer_is_made_on_what_stands_then(
    store: OperationStore, api: FaultyApi, ref: OperationRef, kubectl: Kubectl, operations: Operations
) -> None:
    api.before_status = [annotate(kubectl, ref)]
    await store.claim(ref, run_of(ref), first)
    live = operations.get(ref.namespace)
    assert live["metadata"]["annotations"]["somebody"] == "else"
    assert live["status"]["workflow"]["runId"] == "run-1"
    assert api.status_writes == 2


async def test_a_workflow_under_another_id_is_fenced(
    store: OperationStore, ref: OperationRef, operations: Operations
) -> None:
    before = version(operations, ref)
    stranger = RunIdentity(workflow_id=run_of(ref).workflow_id + "-again", run_id="run-1")
    with pytest.raises(Fenced):
        await store.claim(ref, stranger, first)
    assert version(operations, ref) == before


async def test_another_run_is_fenced_while_the_holder_is_open(
    store: OperationStore, ref: OperationRef, operations: Operations
) -> None:
    await store.claim(ref, run_of(ref), first)
    before = version(operations, ref)
    with pytest.raises(Fenced):
        await store.claim(ref, run_of(ref, "run-2"), first)
    assert version(operations, ref) == before


async def test_of_two_runs_that_claim_at_once_one_is_fenced(
    store: OperationStore, new_store: NewStore, api: FaultyApi, ref: OperationRef, operations: Operations
) -> None:
    async def other_run_comes_first() -> None:
        await new_store().claim(ref, run_of(ref, "run-2"), first)

    api.before_status = [other_run_comes_first]
    with pytest.raises(Fenced):
        await store.claim(ref, run_of(ref), first)
    assert operations.get(ref.namespace)["status"]["workflow"]["runId"] == "run-2"


@pytest.mark.parametrize("phase", ["Succeeded", "Failed", "Cancelled"])
async def test_an_operation_that_ended_without_a_claim_is_never_taken_up(
    store: OperationStore, ref: OperationRef, kubectl: Kubectl, phase: str
) -> None:
    write_status(kubectl, ref, phase=phase)
    with pytest.raises(Fenced):
        await store.claim(ref, run_of(ref), first)


async def test_a_reset_opens_a_failed_operation_again(
    store: OperationStore, new_store: NewStore, runs: ScriptedRuns, ref: OperationRef, operations: Operations
) -> None:
    status = await store.claim(ref, run_of(ref), first)
    await store.write(ref, run_of(ref), reports.failed(status))
    failed = operations.get(ref.namespace)["status"]
    runs.reset("run-1", "run-2")
    await new_store().claim(ref, run_of(ref, "run-2"), first)
    opened = operations.get(ref.namespace)["status"]
    assert (opened["phase"], opened["workflow"]["runId"], opened["workflow"]["firstRunId"]) == (
        "Pending",
        "run-2",
        "run-1",
    )
    conditions = {c["type"]: c["status"] for c in opened["conditions"]}
    assert conditions.items() >= {"Failed": "False", "Succeeded": "Unknown", "Reconciling": "True"}.items()
    assert "Stalled" not in conditions
    assert "finishedAt" not in opened
    assert opened["seq"] > failed["seq"]
    with pytest.raises(Fenced):
        await store.write(ref, run_of(ref), reports.located(status))


async def test_a_reset_never_opens_a_success(
    store: OperationStore, runs: ScriptedRuns, ref: OperationRef, operations: Operations
) -> None:
    status = await store.claim(ref, run_of(ref), first)
    await store.write(ref, run_of(ref), reports.succeeded(status))
    before = version(operations, ref)
    runs.reset("run-1", "run-2")
    with pytest.raises(Fenced):
        await store.claim(ref, run_of(ref, "run-2"), first)
    assert version(operations, ref) == before


async def test_only_the_latest_of_several_resets_takes_over(
    store: OperationStore, runs: ScriptedRuns, ref: OperationRef
) -> None:
    await store.claim(ref, run_of(ref), first)
    runs.reset("run-1", "run-3")
    with pytest.raises(Fenced):
        await store.claim(ref, run_of(ref, "run-2"), first)
    claimed = await store.claim(ref, run_of(ref, "run-3"), first)
    assert claimed.workflow is not None
    assert claimed.workflow.run_id == "run-3"


async def test_a_workflow_started_anew_under_the_same_id_is_fenced(
    store: OperationStore, runs: ScriptedRuns, ref: OperationRef
) -> None:
    await store.claim(ref, run_of(ref), first)
    runs.started_anew("run-1", "run-2")
    with pytest.raises(Fenced):
        await store.claim(ref, run_of(ref, "run-2"), first)


async def test_a_holder_that_temporal_lost_is_succeeded_unless_the_operation_ended(
    store: OperationStore, runs: ScriptedRuns, ref: OperationRef
) -> None:
    await store.claim(ref, run_of(ref), first)
    runs.forget("run-1")
    status = await store.claim(ref, run_of(ref, "run-2"), first)
    ended = await store.write(ref, run_of(ref, "run-2"), reports.failed(status))
    assert ended.phase == Phase.FAILED
    runs.forget("run-2")
    with pytest.raises(Fenced):
        await store.claim(ref, run_of(ref, "run-3"), first)


async def test_work_on_another_spec_than_the_claimed_one_is_fenced(
    store: OperationStore, new_store: NewStore, runs: ScriptedRuns, ref: OperationRef, kubectl: Kubectl
) -> None:
    await store.claim(ref, run_of(ref), first)
    write_status(kubectl, ref, workflow={"specDigest": "sha256:another"})
    runs.reset("run-1", "run-2")
    with pytest.raises(Fenced, match="spec"):
        await new_store().claim(ref, run_of(ref, "run-2"), first)


async def test_a_deleted_operation_is_gone_and_so_is_its_namesake(
    store: OperationStore, ref: OperationRef, kubectl: Kubectl, operations: Operations
) -> None:
    status = await store.claim(ref, run_of(ref), first)
    kubectl("delete", "operation", ref.name, "-n", ref.namespace)
    with pytest.raises(OperationGone):
        await store.write(ref, run_of(ref), reports.admitted(status))
    kubectl.apply(backup(ref.namespace))
    with pytest.raises(OperationGone):
        await store.write(ref, run_of(ref), reports.admitted(status))
    with pytest.raises(OperationGone):
        await store.claim(ref, run_of(ref), first)
    assert operations.get(ref.namespace)["status"] == {"observedGeneration": -1, "phase": "Pending"}

"""What a run may still write after one of its own activities failed halfway, and what comes too late."""

from datetime import datetime
from typing import Any

import pytest
from support.memory import MemoryApi
from support.values import NOW, REF, later, operation

from operation_engine.domain import lifecycle, progress, steps
from operation_engine.domain.claim import Holder, HolderState, RunIdentity
from operation_engine.domain.identity import workflow_id
from operation_engine.domain.lifecycle import Life
from operation_engine.domain.report import StatusReport, report
from operation_engine.domain.resources.operation_status import (
    AttemptCause,
    OperationStatus,
    Progress,
    StepState,
    WorkflowClaim,
)
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.steps import BackupStep
from operation_engine.records.announcer import Announcer
from operation_engine.records.events import EventWriter
from operation_engine.records.operations import Fenced, OperationStore
from operation_engine.runtime.kubernetes import OPERATIONS

OWN = RunIdentity(workflow_id=workflow_id(REF), run_id="r1")
CLAIM = WorkflowClaim(id=OWN.workflow_id, run_id=OWN.run_id, first_run_id="r1")


class Kept:
    """An Operation that run r1 holds, and a store for each worker that writes for it."""

    def __init__(self) -> None:
        planned = steps.plan(OperationStatus(workflow=CLAIM, observed_generation=1), list(BackupStep))
        self.first = lifecycle.enter(planned, Life.CLAIMED, Reason.PENDING, "taken up", NOW)
        self.api = MemoryApi()
        self.api.put(OPERATIONS, operation().model_copy(update={"status": self.first}).to_api())

    def store(self) -> OperationStore:
        api: Any = self.api
        runs: Any = None  # a run that holds the claim never asks Temporal
        return OperationStore(api, runs, Announcer(EventWriter(api)), "default", "http://ui")

    @property
    def numbers(self) -> list[int]:
        return [int(e["metadata"]["name"].rpartition(".")[2]) for e in self.api.events(REF.uid)]


def entered(before: OperationStatus, now: datetime = NOW) -> OperationStatus:
    """What an activity writes as it enters: a step ended, the work runs."""
    ended = steps.end(before, BackupStep.ADMIT, StepState.SUCCEEDED, now, "in order")
    running = lifecycle.enter(lifecycle.accept(ended, "in order", now), Life.RUNNING, Reason.PENDING, "at work", now)
    return steps.begin(running, BackupStep.CREATE, now)


def failed(before: OperationStatus) -> OperationStatus:
    now = later(9)
    gone = steps.skip_rest(steps.fail_current(before, now, "forbidden"))
    return lifecycle.enter(gone, Life.FAILED, Reason.ENGINE_UNAVAILABLE, "forbidden", now)


async def test_the_end_is_written_on_top_of_a_step_whose_answer_never_came() -> None:
    """Every transition is told once, under a number of its own."""
    kept = Kept()
    await kept.store().write(REF, OWN, report(kept.first, entered(kept.first), 1))
    end = await kept.store().write(REF, OWN, report(kept.first, failed(entered(kept.first)), 2))
    assert (end.phase, end.reason) == ("Failed", "EngineUnavailable")
    assert kept.numbers == sorted(set(kept.numbers))
    reasons = [event["reason"] for event in kept.api.events(REF.uid)]
    assert reasons == ["StepSucceeded", "OperationAccepted", "OperationRunning", "StepFailed", "OperationFailed"]
    assert end.seq >= kept.numbers[-1]


async def test_the_end_keeps_and_concludes_an_attempt_that_its_run_never_heard_of() -> None:
    kept = Kept()
    begun = report(kept.first, entered(kept.first), 1)
    await kept.store().begin_attempt(REF, OWN, begun, 0, AttemptCause.INITIAL)
    end = await kept.store().write(REF, OWN, report(kept.first, failed(entered(kept.first)), 2))
    assert [(a.number, a.outcome, a.reason) for a in end.attempts] == [(1, "Failed", "EngineUnavailable")]
    assert end.attempt == 1


async def test_a_write_that_is_repeated_by_another_worker_changes_nothing() -> None:
    kept = Kept()
    made = report(kept.first, entered(kept.first), 1)
    once = await kept.store().write(REF, OWN, made)
    assert await kept.store().write(REF, OWN, made) == once
    assert len(kept.api.statuses[REF.uid]) == 1


async def test_an_activity_that_comes_back_after_the_end_is_fenced() -> None:
    kept = Kept()
    late = kept.store()
    first = await late.write(REF, OWN, report(kept.first, entered(kept.first), 1))
    end = await kept.store().write(REF, OWN, report(first, failed(first), 2))
    with pytest.raises(Fenced):
        await late.write(REF, OWN, report(kept.first, entered(kept.first), 1))
    with pytest.raises(Fenced):
        await late.write_numbers(REF, OWN, StatusReport(status=first, serial=1))
    assert kept.api.statuses[REF.uid][-1] == end


async def test_progress_that_was_written_meanwhile_is_not_turned_back() -> None:
    kept = Kept()
    further = kept.first.model_copy(update={"progress": Progress(percent=60, items_done=6, items_total=10)})
    await kept.store().write_numbers(REF, OWN, StatusReport(status=further, serial=1))
    written = await kept.store().write(REF, OWN, report(kept.first, entered(kept.first), 2))
    assert written.progress == further.progress
    assert progress.latest(written.progress, None) == further.progress


async def test_a_worker_that_remembers_its_claim_asks_again_before_it_acts_on_a_repeated_step() -> None:
    """Meanwhile a Reset's run may have taken the Operation over."""
    kept = Kept()
    made = report(kept.first, entered(kept.first), 1)
    slow = kept.store()
    await slow.write(REF, OWN, made)
    live = kept.api.peek(OPERATIONS, REF.name, REF.namespace)
    live["status"] |= {"phase": "Succeeded", "workflow": {"id": OWN.workflow_id, "runId": "r2", "firstRunId": "r1"}}
    kept.api.put(OPERATIONS, live)
    with pytest.raises(Fenced):
        await slow.write(REF, OWN, made)


async def test_a_take_over_whose_step_then_fails_can_still_write_the_end() -> None:
    """The run that came by a Reset never heard under which numbers its first write went down."""
    kept = Kept()
    live = kept.api.peek(OPERATIONS, REF.name, REF.namespace)
    ended = failed(entered(kept.first)).model_copy(update={"seq": 7})
    live["status"] = ended.model_copy(update={"workflow": CLAIM.model_copy(update={"run_id": "r0"})}).to_api()
    kept.api.put(OPERATIONS, live)
    store = OperationStore(kept.api, Reset(), Announcer(EventWriter(kept.api)), "default", "http://ui")

    await store.write(REF, OWN, report(kept.first, entered(kept.first), 3))
    end = await store.write(REF, OWN, report(kept.first, failed(entered(kept.first)), 4))

    assert (end.phase, end.workflow.run_id, end.workflow.report) == ("Failed", "r1", 4)
    assert end.seq > 7
    assert kept.numbers == sorted(set(kept.numbers))


async def test_a_take_over_that_crashed_after_its_write_stands_when_it_is_repeated() -> None:
    kept = Kept()
    live = kept.api.peek(OPERATIONS, REF.name, REF.namespace)
    live["status"] = (
        failed(kept.first).model_copy(update={"workflow": CLAIM.model_copy(update={"run_id": "r0"})}).to_api()
    )
    kept.api.put(OPERATIONS, live)
    made = report(kept.first, entered(kept.first), 3)

    def store() -> OperationStore:
        return OperationStore(kept.api, Reset(), Announcer(EventWriter(kept.api)), "default", "http://ui")

    once = await store().write(REF, OWN, made)

    assert await store().write(REF, OWN, made) == once


class Reset:
    """Temporal as it answers the run that a Reset made: its predecessor is closed, and it is the latest."""

    async def first_run_id(self, workflow_id: str, run_id: str) -> str:
        return "r1"

    async def holder(self, claim: WorkflowClaim) -> Holder:
        return Holder(state=HolderState.CLOSED, first_run_id="r1", latest_run_id=OWN.run_id)


async def test_a_run_whose_spec_was_changed_writes_nothing_more() -> None:
    """The schema forbids it; where an older schema did not, the digest in the claim does."""
    kept = Kept()
    live = kept.api.peek(OPERATIONS, REF.name, REF.namespace)
    live["status"]["workflow"]["specDigest"] = "sha256:of-another-spec"
    kept.api.put(OPERATIONS, live)

    with pytest.raises(Fenced, match="spec"):
        await kept.store().write(REF, OWN, report(kept.first, entered(kept.first), 1))

    assert REF.uid not in kept.api.statuses or not kept.api.statuses[REF.uid]

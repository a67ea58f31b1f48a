"""What the controller does about an Operation, and in what order it looks at them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import NOW, REF, later, operation

from controller import work_queue
from controller.decide import Cancel, Nothing, Seen, Signal, Start, decide, latest_backups, see, signals
from controller.work_queue import WorkQueue
from operation_engine.domain.resources.operation_spec import OperationType
from operation_engine.domain.resources.operation_status import OperationStatus, Phase, WorkflowClaim
from operation_engine.domain.search import MAX_SUMMARY, summary


def seen(type_: OperationType = OperationType.BACKUP, phase: Phase = Phase.PENDING, claimed: bool = False) -> Seen:
    return Seen(ref=REF, type=type_, target="shop", phase=phase, claimed=claimed)


@given(st.sampled_from(OperationType), st.sampled_from(Phase), st.booleans())
def test_only_what_is_new_is_started(type_: OperationType, phase: Phase, claimed: bool) -> None:
    decision = decide(seen(type_, phase, claimed))
    assert isinstance(decision, Start) == (not phase.terminal and not claimed)


def test_it_says_why_it_does_nothing() -> None:
    assert decide(seen(phase=Phase.FAILED)) == Nothing.ENDED
    assert decide(seen(claimed=True)) == Nothing.CLAIMED


@pytest.mark.parametrize("type_", OperationType)
def test_every_type_has_a_workflow_if_only_to_be_refused(type_: OperationType) -> None:
    decision = decide(seen(type_))
    assert isinstance(decision, Start)
    built = {OperationType.BACKUP: "BackupWorkflow", OperationType.RESTORE: "RestoreWorkflow"}
    assert decision.workflow_type == built.get(type_, "UnsupportedWorkflow")


def test_an_operation_is_seen_with_what_a_start_needs() -> None:
    found = see(operation())
    assert found == replace(seen(), generation=1, observed_generation=-1)
    claim = WorkflowClaim(id="w", run_id="r")
    assert see(operation().model_copy(update={"status": OperationStatus(workflow=claim)})).claimed


def test_a_dry_run_is_no_backup_to_count_on() -> None:
    done = replace(seen(phase=Phase.SUCCEEDED, claimed=True), finished_at=NOW)
    dry = see(operation(policy={"dryRun": True}))
    assert dry.dry_run
    assert latest_backups([done, replace(done, finished_at=later(60), dry_run=True)]) == {("shop", "shop"): NOW}
    assert latest_backups([replace(done, dry_run=True)]) == {}


@given(st.sampled_from(Phase), st.booleans(), st.integers(0, 5), st.integers(-1, 5))
def test_a_running_workflow_is_told_of_a_spec_that_its_status_does_not_know(
    phase: Phase, claimed: bool, generation: int, observed: int
) -> None:
    found = signals(replace(seen(phase=phase, claimed=claimed), generation=generation, observed_generation=observed))
    wanted = claimed and not phase.terminal and generation > observed
    assert found == ((Signal(REF, "spec_changed", token=str(generation)),) if wanted else ())


@given(st.sampled_from(Phase), st.sampled_from(["", "r1", "r2"]), st.booleans())
def test_a_cancel_is_passed_on_once_for_each_run_until_there_is_an_end(phase: Phase, run_id: str, cancel: bool) -> None:
    found = signals(replace(seen(phase=phase, claimed=bool(run_id)), cancel=cancel, run_id=run_id))
    assert found == ((Cancel(REF, token=run_id),) if cancel and not phase.terminal else ())


ANNOTATED = {"ops.vworkspace.io/retry": "2"}


def awaiting(attempt: int, annotations: dict[str, str], **status: object) -> Seen:
    found = operation()
    claim = WorkflowClaim(id="w", run_id="r")
    asked = OperationStatus(workflow=claim, phase=Phase.RUNNING, reason="AwaitingDecision", attempt=attempt)
    meta = found.metadata.model_copy(update={"annotations": annotations})
    told = asked.model_copy(update={"observed_generation": 1, **status})
    return see(found.model_copy(update={"metadata": meta, "status": told}))


def test_an_annotation_decides_about_the_attempt_that_it_names_while_that_is_asked() -> None:
    (signal,) = signals(awaiting(2, ANNOTATED))
    assert signal == Signal(REF, "retry", token="2", payload={"attempt": 2, "by": "kubectl annotate"})
    (signal,) = signals(awaiting(1, {"ops.vworkspace.io/abort": "1"}))
    assert isinstance(signal, Signal)
    assert (signal.name, signal.token) == ("abort", "1")


@pytest.mark.parametrize(
    "found",
    [
        awaiting(3, ANNOTATED),
        awaiting(2, {"ops.vworkspace.io/retry": "two"}),
        awaiting(2, {"somebody.else/retry": "2"}),
        awaiting(2, ANNOTATED, reason="VeleroRestoreInProgress"),
        awaiting(2, ANNOTATED, workflow=None),
        awaiting(2, ANNOTATED, phase=Phase.FAILED),
    ],
)
def test_an_annotation_that_nothing_asks_for_decides_nothing(found: Seen) -> None:
    assert signals(found) == ()


@given(st.text(max_size=300))
def test_a_summary_has_at_most_the_bytes_that_temporal_takes(target: str) -> None:
    assert len(summary(OperationType.BACKUP, REF, target).encode()) <= MAX_SUMMARY


class Handled:
    """A handler that takes each key when it is let go, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.keys: list[str] = []
        self.under_way: list[str] = []
        self.failures = failures
        self.began, self.ended, self.let_go = asyncio.Semaphore(0), asyncio.Semaphore(0), asyncio.Event()

    async def __call__(self, key: str) -> bool:
        assert key not in self.under_way
        self.keys.append(key)
        self.under_way.append(key)
        self.began.release()
        await self.let_go.wait()
        self.under_way.remove(key)
        self.ended.release()
        self.failures -= 1
        return self.failures < 0


@asynccontextmanager
async def at_work(queue: WorkQueue[str]) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run())
    async with asyncio.timeout(5):
        yield
    task.cancel()


async def times(count: int, event: asyncio.Semaphore) -> None:
    for _ in range(count):
        await event.acquire()


async def test_a_key_that_waits_already_is_looked_at_once() -> None:
    handled = Handled()
    handled.let_go.set()
    queue = WorkQueue[str](handled, 2)
    for key in ("a", "a", "b", "a"):
        queue.add(key)
    async with at_work(queue):
        await times(2, handled.ended)
    assert handled.keys == ["a", "b"]


async def test_a_key_that_changes_while_it_is_looked_at_is_looked_at_again_but_never_twice_at_a_time() -> None:
    handled = Handled()
    queue = WorkQueue[str](handled, 3)
    queue.add("a")
    async with at_work(queue):
        await times(1, handled.began)
        queue.add("a")
        queue.add("b")
        await times(1, handled.began)
        assert handled.keys == ["a", "b"]
        handled.let_go.set()
        await times(3, handled.ended)
    assert handled.keys == ["a", "b", "a"]


async def test_a_key_that_failed_is_looked_at_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_queue, "FIRST_PAUSE_S", 0.001)
    handled = Handled(failures=3)
    handled.let_go.set()
    queue = WorkQueue[str](handled, 1)
    queue.add("a")
    async with at_work(queue):
        await times(4, handled.ended)
    assert handled.keys == ["a"] * 4

"""A status is written whole, on the very one it follows; Event, status and number of a transition stay together."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from support import reports
from support.acting import FaultyApi, ScriptedRuns, run_of
from support.kube import Kubectl, Operations

from operation_engine.domain.identity import OperationRef
from operation_engine.domain.report import StatusReport
from operation_engine.domain.resources.operation_status import AttemptCause, OperationStatus
from operation_engine.records.operations import Fenced, OperationStore
from operation_engine.runtime.kubernetes import Unavailable

NewStore = Callable[[], OperationStore]


async def out_of_order() -> None:
    raise Unavailable("no answer")


async def nothing() -> None:
    return None


def version(operations: Operations, ref: OperationRef) -> str:
    return str(operations.get(ref.namespace, ref.name)["metadata"]["resourceVersion"])


def told(operations: Operations, ref: OperationRef) -> Counter[str]:
    """Events by reason and step."""
    found = operations.events(ref.namespace, ref.uid)
    return Counter(f"{event['reason']} {event['action']}" for event in found)


ADMITTED = Counter({"StepSucceeded Admit": 1, "OperationAccepted ReportAccepted": 1})


@pytest.fixture
async def claimed(store: OperationStore, ref: OperationRef) -> OperationStatus:
    """The status with which run-1 began."""
    return await store.claim(ref, run_of(ref), reports.first)


async def test_a_report_is_written_whole_with_its_events(
    store: OperationStore, ref: OperationRef, claimed: OperationStatus, operations: Operations
) -> None:
    written = await store.write(ref, run_of(ref), reports.admitted(claimed))
    assert written == OperationStatus.from_api(operations.get(ref.namespace)["status"])
    assert told(operations, ref) == ADMITTED


async def test_a_report_repeated_after_a_crash_changes_nothing(
    store: OperationStore,
    new_store: NewStore,
    ref: OperationRef,
    claimed: OperationStatus,
    operations: Operations,
) -> None:
    report = reports.admitted(claimed)
    written = await store.write(ref, run_of(ref), report)
    before = version(operations, ref)
    assert await store.write(ref, run_of(ref), report) == written
    assert await new_store().write(ref, run_of(ref), report) == written
    assert version(operations, ref) == before
    assert told(operations, ref) == ADMITTED


async def test_an_unchanged_status_is_not_written(
    store: OperationStore, api: FaultyApi, ref: OperationRef, claimed: OperationStatus
) -> None:
    writes = api.status_writes
    assert await store.write(ref, run_of(ref), reports.next_report(claimed, claimed)) == claimed
    assert api.status_writes == writes


async def test_a_report_that_loses_to_another_writer_is_written_on_what_stands_then(
    store: OperationStore,
    api: FaultyApi,
    ref: OperationRef,
    claimed: OperationStatus,
    kubectl: Kubectl,
    operations: Operations,
) -> None:
    async def annotate() -> None:
        kubectl("annotate", "operation", ref.name, "-n", ref.namespace, "somebody=else")

    api.before_status = [annotate]
    await store.write(ref, run_of(ref), reports.admitted(claimed))
    live = operations.get(ref.namespace)
    assert live["metadata"]["annotations"]["somebody"] == "else"
    assert live["status"]["steps"][0]["state"] == "Succeeded"
    assert told(operations, ref) == ADMITTED


async def test_a_report_on_a_status_that_is_no_longer_there_is_fenced(
    store: OperationStore,
    new_store: NewStore,
    ref: OperationRef,
    claimed: OperationStatus,
    operations: Operations,
) -> None:
    late = reports.running(claimed)
    status = await store.write(ref, run_of(ref), reports.admitted(claimed))
    await store.write(ref, run_of(ref), reports.located(status))
    before = version(operations, ref)
    for one in (store, new_store()):
        with pytest.raises(Fenced):
            await one.write(ref, run_of(ref), late)
    assert version(operations, ref) == before


async def test_two_workers_may_take_turns_though_each_remembers_an_older_status(
    store: OperationStore, new_store: NewStore, ref: OperationRef, claimed: OperationStatus, operations: Operations
) -> None:
    other = new_store()
    status = await other.claim(ref, run_of(ref), reports.first)
    status = await store.write(ref, run_of(ref), reports.admitted(status))
    status = await other.write(ref, run_of(ref), reports.located(status))
    status = await store.write(ref, run_of(ref), reports.running(status))
    status = await other.write(ref, run_of(ref), reports.created(status))
    assert status == OperationStatus.from_api(operations.get(ref.namespace)["status"])


@pytest.mark.parametrize("posted_before", [0, 1])
async def test_events_that_a_crash_kept_back_are_told_by_the_retry_and_none_twice(
    store: OperationStore,
    new_store: NewStore,
    api: FaultyApi,
    ref: OperationRef,
    claimed: OperationStatus,
    operations: Operations,
    posted_before: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("operation_engine.records.events._PAUSES_S", ())  # a crash leaves no time for another try
    report = reports.admitted(claimed)
    api.before_event = [*[nothing] * posted_before, *[out_of_order] * (2 - posted_before)]
    with pytest.raises(Unavailable):
        await store.write(ref, run_of(ref), report)
    before = version(operations, ref)
    await new_store().write(ref, run_of(ref), report)
    assert version(operations, ref) == before
    assert told(operations, ref) == ADMITTED


async def test_an_event_that_cannot_be_posted_for_a_moment_is_posted_then(
    store: OperationStore,
    api: FaultyApi,
    ref: OperationRef,
    claimed: OperationStatus,
    operations: Operations,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("operation_engine.records.events._PAUSES_S", (0.01, 0.01))
    api.before_event = [out_of_order, out_of_order]
    await store.write(ref, run_of(ref), reports.admitted(claimed))
    assert told(operations, ref) == ADMITTED


async def test_a_write_whose_answer_was_lost_is_not_made_twice(
    store: OperationStore, api: FaultyApi, ref: OperationRef, claimed: OperationStatus, operations: Operations
) -> None:
    report, writes = reports.admitted(claimed), api.status_writes
    api.after_status = [out_of_order]
    with pytest.raises(Unavailable):
        await store.write(ref, run_of(ref), report)
    written = await store.write(ref, run_of(ref), report)
    assert api.status_writes == writes + 1
    assert written == OperationStatus.from_api(operations.get(ref.namespace)["status"])
    assert told(operations, ref) == ADMITTED


@pytest.fixture
async def middle(
    store: OperationStore, runs: ScriptedRuns, ref: OperationRef, claimed: OperationStatus
) -> OperationStatus:
    """A status in the middle of a run that failed later, and was reset to this moment."""
    status = await store.write(ref, run_of(ref), reports.admitted(claimed))
    middle = await store.write(ref, run_of(ref), reports.located(status))
    status = await store.begin_attempt(ref, run_of(ref), reports.running(middle), 0, AttemptCause.INITIAL)
    status = await store.write(ref, run_of(ref), reports.created(status))
    await store.write(ref, run_of(ref), reports.failed(status))
    runs.reset("run-1", "run-2")
    return middle


async def test_a_reset_to_the_middle_takes_over_with_the_first_report_that_it_makes(
    new_store: NewStore, ref: OperationRef, middle: OperationStatus, operations: Operations
) -> None:
    before = operations.get(ref.namespace)["status"]
    written = await new_store().write(ref, run_of(ref, "run-2"), reports.running(middle))
    live = operations.get(ref.namespace)["status"]
    assert written == OperationStatus.from_api(live)
    assert (live["phase"], live["workflow"]["runId"]) == ("Running", "run-2")
    assert live["seq"] > before["seq"]
    assert [attempt["runId"] for attempt in live["attempts"]] == ["run-1"], "attempts only grow"


@pytest.mark.parametrize("fresh", [True, False], ids=["another worker", "the same worker"])
async def test_a_takeover_repeated_after_a_crash_stands(
    new_store: NewStore, ref: OperationRef, middle: OperationStatus, operations: Operations, fresh: bool
) -> None:
    store, report = new_store(), reports.running(middle)
    written = await store.write(ref, run_of(ref, "run-2"), report)
    before = version(operations, ref)
    again = await (new_store() if fresh else store).write(ref, run_of(ref, "run-2"), report)
    assert again == written
    assert version(operations, ref) == before
    numbers = [int(e["metadata"]["name"].rpartition(".")[2]) for e in operations.events(ref.namespace, ref.uid)]
    assert len(numbers) == len(set(numbers))


async def test_after_a_takeover_the_run_before_writes_nothing_more(
    store: OperationStore, new_store: NewStore, ref: OperationRef, middle: OperationStatus, operations: Operations
) -> None:
    await new_store().write(ref, run_of(ref, "run-2"), reports.running(middle))
    before = version(operations, ref)
    with pytest.raises(Fenced):
        await store.write(ref, run_of(ref), reports.running(middle))
    assert version(operations, ref) == before


async def begin(
    store: OperationStore, ref: OperationRef, run_id: str, report: StatusReport, after: int
) -> dict[str, Any]:
    """The attempt that is current after this."""
    status = await store.begin_attempt(ref, run_of(ref, run_id), report, after, AttemptCause.INITIAL)
    assert status.attempts[-1].number == status.attempt
    return status.attempts[-1].to_api()


async def test_an_attempt_is_allocated_once_by_a_run_however_often_it_asks(
    store: OperationStore, new_store: NewStore, ref: OperationRef, claimed: OperationStatus, operations: Operations
) -> None:
    report = reports.running(claimed)
    attempt = await begin(store, ref, "run-1", report, after=0)
    assert (attempt["number"], attempt["cause"]) == (1, "Initial")
    assert attempt["veleroName"].endswith(f"-{ref.uid[:8]}-main-1")
    assert await begin(store, ref, "run-1", report, after=0) == attempt
    assert await begin(new_store(), ref, "run-1", report, after=0) == attempt
    assert len(operations.get(ref.namespace)["status"]["attempts"]) == 1


@pytest.mark.parametrize("fresh", [True, False], ids=["another worker", "the same worker"])
async def test_a_reset_allocates_an_attempt_of_its_own_once(
    new_store: NewStore, ref: OperationRef, middle: OperationStatus, operations: Operations, fresh: bool
) -> None:
    store, report = new_store(), reports.running(middle)
    attempt = await begin(store, ref, "run-2", report, after=0)
    assert (attempt["number"], attempt["cause"], attempt["runId"]) == (2, "Reset", "run-2")
    assert await begin(new_store() if fresh else store, ref, "run-2", report, after=0) == attempt
    found = operations.get(ref.namespace)["status"]["attempts"]
    assert [(a["number"], a["runId"]) for a in found] == [(1, "run-1"), (2, "run-2")]

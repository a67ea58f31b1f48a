"""Attempts: numbered once and for ever, whatever crashes and is reset in between."""

from hypothesis import given
from hypothesis import strategies as st
from support.values import NOW, REF, later

from operation_engine.domain.attempts import allocate, conclude, find, is_unsettled, merge, rejoined
from operation_engine.domain.resources.operation_status import AttemptCause, OperationStatus, Phase, Progress

C = AttemptCause


def allocated(status: OperationStatus, after: int, run: str = "r1", cause: AttemptCause = C.INITIAL) -> OperationStatus:
    return allocate(status, REF, run, after, cause, NOW)


@given(st.lists(st.tuples(st.sampled_from(["r1", "r2", "r3"]), st.integers(0, 40)), max_size=60))
def test_numbers_only_grow_and_are_never_given_twice(asked: list[tuple[str, int]]) -> None:
    status, names, highest = OperationStatus(), {}, 0
    for run, after in asked:
        status = allocated(status, after, run)
        numbers = [a.number for a in status.attempts]
        assert numbers == sorted(set(numbers))
        assert len(numbers) <= 20
        assert numbers[-1] >= highest
        highest = numbers[-1]
        for attempt in status.attempts:
            assert names.setdefault(attempt.number, attempt.velero_name) == attempt.velero_name


@given(st.integers(0, 30), st.sampled_from(["r1", "r2"]))
def test_an_allocation_that_is_asked_for_again_is_the_same_one(after: int, run: str) -> None:
    once = allocated(OperationStatus(), after, run)
    assert allocate(once, REF, run, after, C.INITIAL, later(60)) == once


def test_a_reset_never_takes_the_number_of_the_run_before_it() -> None:
    first = allocated(OperationStatus(), 0, "r1")
    second = allocated(first, 0, "r2")
    assert [(a.number, a.cause) for a in second.attempts] == [(1, C.INITIAL), (2, C.RESET)]
    assert second.attempt == 2


def test_the_cause_of_an_attempt_in_the_same_run_is_the_one_it_was_asked_for() -> None:
    second = allocated(allocated(OperationStatus(), 0), 1, cause=C.AUTOMATIC)
    assert [a.cause for a in second.attempts] == [C.INITIAL, C.AUTOMATIC]


def test_another_attempt_has_no_progress_yet() -> None:
    status = OperationStatus(progress=Progress(percent=80))
    assert allocated(status, 0).progress is None


def test_the_first_attempt_and_the_latest_ones_are_kept() -> None:
    status = OperationStatus()
    for number in range(100):
        status = allocated(status, number)
    assert [a.number for a in status.attempts] == [1, *range(82, 101)]


def test_an_outcome_is_never_rewritten() -> None:
    failed = conclude(allocated(OperationStatus(), 0), "Failed", "Timeout", NOW)
    again = conclude(failed, "Succeeded", "VeleroBackupSucceeded", later(9))
    assert again == failed
    reported = (failed.attempts[0].model_copy(update={"outcome": "Succeeded"}),)
    assert merge(failed.attempts, reported) == failed.attempts


def test_a_report_that_knows_an_attempt_s_end_tells_it() -> None:
    live = allocated(OperationStatus(), 0)
    ended = conclude(live, "Failed", "Timeout", NOW)
    assert merge(live.attempts, ended.attempts) == ended.attempts


@given(st.sets(st.integers(1, 60)), st.sets(st.integers(1, 60)))
def test_nothing_that_stands_is_lost_by_a_report_that_does_not_know_it(live: set[int], known: set[int]) -> None:
    def some(numbers: set[int]) -> OperationStatus:
        status = OperationStatus()
        for number in sorted(numbers):
            status = allocated(status, number - 1, f"run-{number}")
        return status

    one, other = some(live).attempts, some(known).attempts
    numbers = sorted({a.number for a in one} | {a.number for a in other})
    kept = numbers if len(numbers) <= 20 else numbers[:1] + numbers[-19:]
    assert [a.number for a in merge(one, other)] == kept


def test_an_end_concludes_the_attempt_whose_beginning_was_never_heard_of() -> None:
    live = allocated(OperationStatus(), 0)
    wanted = OperationStatus(phase=Phase.FAILED, reason="EngineUnavailable", finished_at=later(5))
    joined = rejoined(live, wanted)
    found = find(joined, 1)
    assert found is not None
    assert (joined.attempt, found.outcome, found.reason) == (1, "Failed", "EngineUnavailable")
    assert find(rejoined(live, OperationStatus()), 1) == live.attempts[0]


def test_an_attempt_that_a_reset_left_behind_is_told_as_given_up_and_counts_as_unsettled() -> None:
    left = allocated(allocated(OperationStatus(), 0, "r1"), 0, "r2")
    assert [(a.outcome, a.reason) for a in left.attempts] == [("Cancelled", "Reset"), (None, None)]
    assert [is_unsettled(a) for a in left.attempts] == [True, True]


def test_an_attempt_that_ended_keeps_its_outcome_and_is_settled() -> None:
    ended = conclude(allocated(OperationStatus(), 0, "r1"), "Failed", "Timeout", NOW)
    again = allocated(ended, 0, "r2")
    assert (again.attempts[0].outcome, again.attempts[0].reason) == ("Failed", "Timeout")
    assert not is_unsettled(again.attempts[0])

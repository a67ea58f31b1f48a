"""Progress: what Velero counts, made fit to be believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operation_engine.domain.progress import advance, complete, latest
from operation_engine.domain.resources.operation_status import Progress
from operation_engine.domain.velero import BackupObservation

counts = st.none() | st.integers(min_value=0, max_value=10_000)
observations = st.builds(BackupObservation, name=st.just("b"), uid=st.just("u"), items_done=counts, items_total=counts)
progresses = st.none() | st.builds(Progress, percent=st.integers(0, 99), items_done=st.integers(0, 500))


@given(st.lists(observations, max_size=30))
def test_it_never_goes_back_and_never_reads_a_hundred_before_the_end(seen: list[BackupObservation]) -> None:
    before, highest = None, 0
    for observation in seen:
        before = advance(before, observation)
        percent = (before.percent or 0) if before else 0
        assert highest <= percent < 100
        highest = percent
    done = complete(before, 7)
    assert (done.percent, done.items_done, done.items_total) == (100, 7, 7)


@given(progresses, progresses)
def test_a_writer_that_comes_late_does_not_turn_it_back(one: Progress | None, other: Progress | None) -> None:
    def rank(progress: Progress | None) -> tuple[int, int]:
        return (progress.percent or 0, progress.items_done or 0) if progress else (-1, -1)

    assert rank(latest(one, other)) == max(rank(one), rank(other))


@pytest.mark.parametrize(("done", "total", "percent"), [(0, 10, 0), (1, 3, 33), (10, 10, 99), (20, 10, 99)])
def test_percent_is_of_the_items_and_a_full_count_is_not_the_end(done: int, total: int, percent: int) -> None:
    found = advance(None, BackupObservation(name="b", uid="u", items_done=done, items_total=total))
    assert found is not None
    assert found.percent == percent


@pytest.mark.parametrize(("done", "total"), [(None, 5), (3, None), (0, 0)])
def test_counts_that_say_nothing_change_nothing(done: int | None, total: int | None) -> None:
    before = Progress(percent=40)
    assert advance(before, BackupObservation(name="b", uid="u", items_done=done, items_total=total)) == before

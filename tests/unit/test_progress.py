"""Progress: what Velero counts, made fit to be believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operation_engine.domain.progress import advance, complete, latest
from operation_engine.domain.resources.operation_status import Progress
from operation_engine.domain.transfers import Transfer
from operation_engine.domain.velero import BackupObservation
from operation_engine.domain.volumes import VolumeWish

counts = st.none() | st.integers(min_value=0, max_value=10_000)
observations = st.builds(BackupObservation, name=st.just("b"), uid=st.just("u"), items_done=counts, items_total=counts)
progresses = st.none() | st.builds(
    Progress,
    percent=st.integers(0, 99),
    items_done=st.none() | st.integers(0, 500),
    items_total=st.none() | st.integers(0, 500),
    bytes_done=st.none() | st.integers(0, 500),
    bytes_total=st.none() | st.integers(0, 500),
)
transfers = st.lists(
    st.builds(
        Transfer,
        owner_uid=st.just("u"),
        owner_name=st.just("b"),
        bytes_done=st.integers(0, 10**12),
        bytes_total=st.integers(0, 10**12),
    ),
    max_size=3,
)


@given(st.lists(st.tuples(observations, transfers), max_size=30))
def test_it_never_goes_back_and_never_reads_a_hundred_before_the_end(
    seen: list[tuple[BackupObservation, list[Transfer]]],
) -> None:
    before, highest = None, 0
    for observation, moved in seen:
        before = advance(before, observation, moved)
        percent = (before.percent or 0) if before else 0
        assert highest <= percent < 100
        highest = percent
    done = complete(before, 7)
    assert (done.percent, done.items_done, done.items_total) == (100, 7, 7)


@given(progresses, progresses)
def test_a_writer_that_comes_late_turns_no_number_back(one: Progress | None, other: Progress | None) -> None:
    found = latest(one, other)
    for number in ("percent", "items_done", "items_total", "bytes_done", "bytes_total"):
        told = [n for p in (one, other) if p is not None and (n := getattr(p, number)) is not None]
        assert getattr(found, number, None) == max(told, default=None)


def test_the_end_stands_as_it_was_verified() -> None:
    late = Progress(percent=80, items_done=9, items_total=9, bytes_done=200, bytes_total=300)
    end = complete(late, 7, 100)
    assert latest(late, end) == latest(end, late) == end
    assert (end.bytes_done, end.bytes_total) == (200, 300), "what was moved is not taken back"
    assert (complete(None, 7, 100).bytes_done, complete(None, 7, 100).bytes_total) == (100, 100)
    assert complete(None, 7, 0).bytes_total is None


@pytest.mark.parametrize(("done", "total", "percent"), [(0, 10, 0), (1, 3, 16), (10, 10, 50), (20, 10, 50)])
def test_items_alone_are_half_the_way_for_a_volume_may_still_come(done: int, total: int, percent: int) -> None:
    """Which pods opted in nobody knows before the first of their volumes begins."""
    found = advance(None, BackupObservation(name="b", uid="u", items_done=done, items_total=total))
    assert found is not None
    assert found.percent == percent


@pytest.mark.parametrize(("done", "total"), [(None, 5), (3, None), (0, 0)])
def test_counts_that_say_nothing_change_nothing(done: int | None, total: int | None) -> None:
    before = Progress(percent=40)
    assert advance(before, BackupObservation(name="b", uid="u", items_done=done, items_total=total)) == before


def upload(done: int, total: int) -> Transfer:
    return Transfer(owner_uid="u", owner_name="b", bytes_done=done, bytes_total=total)


BYTES = [
    ([], 10),
    ([upload(0, 0)], 10),
    ([upload(0, 100)], 10),
    ([upload(50, 100)], 54),
    ([upload(100, 100), upload(0, 100)], 54),
    ([upload(10, 10), upload(0, 0), upload(0, 0)], 39),
    ([upload(10, 10), upload(0, 1000)], 54),
    ([upload(100, 100)], 99),
    ([upload(200, 100)], 99),
]


@pytest.mark.parametrize(("moved", "percent"), BYTES)
def test_where_data_moves_bytes_are_most_of_the_way(moved: list[Transfer], percent: int) -> None:
    """All items are counted before the first volume is up: they must not read 99 % from then on."""
    wish = VolumeWish(file_system=True, moves_data=True)
    found = advance(None, BackupObservation(name="b", uid="u", items_done=9, items_total=9, volumes=wish), moved)
    assert found is not None
    assert found.percent == percent
    assert (found.bytes_done, found.bytes_total) == (
        (sum(t.bytes_done for t in moved), sum(t.bytes_total for t in moved)) if moved else (None, None)
    )


def test_volumes_that_a_pod_opted_in_count_although_the_backup_did_not_say_so() -> None:
    found = advance(None, BackupObservation(name="b", uid="u", items_done=9, items_total=9), [upload(1, 2)])
    assert found is not None
    assert found.percent == 54


def test_a_volume_that_begins_late_makes_the_total_grow_and_the_percent_stay() -> None:
    seen = BackupObservation(name="b", uid="u", items_done=9, items_total=9)
    before = advance(None, seen, [upload(90, 100)])
    after = advance(before, seen, [upload(95, 100), upload(0, 900)])
    assert before is not None
    assert after is not None
    assert (after.percent, after.bytes_done, after.bytes_total) == (before.percent, 95, 1000)

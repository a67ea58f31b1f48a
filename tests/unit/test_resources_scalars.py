"""Durations and timestamps, read and written."""

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operation_engine.domain.resources.common import format_go_duration, parse_duration
from operation_engine.domain.resources.conditions import Condition, ConditionStatus
from operation_engine.domain.resources.operation_status import Step


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30d", timedelta(days=30)),
        ("1d12h", timedelta(hours=36)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5h", timedelta(minutes=90)),
        ("0s", timedelta(0)),
        ("0", timedelta(0)),
        ("500ms", timedelta(milliseconds=500)),
        ("250us", timedelta(microseconds=250)),
        ("250µs", timedelta(microseconds=250)),
        ("5000ns", timedelta(microseconds=5)),
    ],
)
def test_a_duration_reads_as_go_reads_it_and_knows_days(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", " ", "1", "h", "-1h", "+1h", "1h 30m", "1h30", "P1D", "1w", "\N{ARABIC-INDIC DIGIT ONE}h", "1h\n"]
)
def test_what_is_not_a_duration_is_refused_with_an_example_of_one(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration: write a number and a unit"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["106752d", "9999999999999999999999999999h"])
def test_a_duration_that_velero_could_not_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is longer than 106751d"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (timedelta(days=30), "720h0m0s"),
        (timedelta(hours=4), "4h0m0s"),
        (timedelta(minutes=90), "1h30m0s"),
        (timedelta(minutes=10), "10m0s"),
        (timedelta(seconds=1.5), "1.5s"),
        (timedelta(0), "0s"),
    ],
)
def test_velero_is_given_durations_without_days(duration: timedelta, expected: str) -> None:
    assert format_go_duration(duration) == expected


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=106_751)))
def test_a_duration_that_was_written_reads_as_the_same(duration: timedelta) -> None:
    assert parse_duration(format_go_duration(duration)) == duration


@given(st.text(max_size=40))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_duration(text) >= timedelta(0)


def test_a_negative_duration_is_never_written() -> None:
    with pytest.raises(ValueError, match="negative"):
        format_go_duration(timedelta(seconds=-1))


def test_a_step_is_timed_in_milliseconds_of_utc() -> None:
    began = datetime(2026, 7, 1, 12, 0, 0, 123_999, tzinfo=timezone(timedelta(hours=2)))
    assert Step(name="create", started_at=began).to_api()["startedAt"] == "2026-07-01T10:00:00.123Z"


def test_a_transition_is_timed_in_whole_seconds() -> None:
    condition = Condition(
        type="Ready",
        status=ConditionStatus.TRUE,
        last_transition_time=datetime(2026, 7, 1, 10, 0, 0, 999_999, tzinfo=UTC),
        reason="Done",
    )
    assert condition.to_api()["lastTransitionTime"] == "2026-07-01T10:00:00Z"


@given(st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 1), max_value=datetime(9999, 1, 1)))
def test_a_value_equals_itself_after_a_trip_through_the_api_server(moment: datetime) -> None:
    step = Step(name="create", started_at=moment)
    assert Step.from_api(step.to_api()) == step


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="timezone"):
        Step(name="create", started_at=datetime(2026, 7, 1))

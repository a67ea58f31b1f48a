"""What a wait says when its time has run out: what it waited for."""

import pytest
from temporalio.exceptions import ActivityError, ApplicationError, RetryState, TimeoutType
from temporalio.exceptions import TimeoutError as ActivityTimeout

from workflows.run import TimedOut, _translated


def ended(cause: BaseException) -> ActivityError:
    error = ActivityError(
        "activity ended",
        scheduled_event_id=1,
        started_event_id=2,
        identity="",
        activity_type="delete_leftovers",
        activity_id="1",
        retry_state=RetryState.TIMEOUT,
    )
    error.__cause__ = cause
    return error


def out_of_time(*heartbeat: object, cause: BaseException | None = None) -> ActivityTimeout:
    error = ActivityTimeout("timed out", type=TimeoutType.SCHEDULE_TO_CLOSE, last_heartbeat_details=heartbeat)
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("cause", "says"),
    [
        (out_of_time("Waiting until ConfigMap a is gone."), "Waiting until ConfigMap a is gone."),
        (out_of_time(), "timed out"),
        (out_of_time(None), "timed out"),
        (out_of_time(17), "timed out"),
        (out_of_time("InProgress", cause=ApplicationError("no route")), "no route"),
        (ApplicationError("no route"), "no route"),
    ],
)
def test_it_names_what_it_waited_for_or_died_of(cause: BaseException, says: str) -> None:
    found = _translated(ended(cause))
    assert isinstance(found, TimedOut)
    assert says in str(found)

"""Transitions: what is told of a change, numbered once and for ever."""

from hypothesis import given
from hypothesis import strategies as st
from support.values import NOW, later, operation

from operation_engine.domain import lifecycle, steps
from operation_engine.domain.lifecycle import Life, enter
from operation_engine.domain.report import StatusReport, Transition, TransitionKind, report, transitions
from operation_engine.domain.resources.operation_status import EngineRef, OperationStatus, StepState, WorkflowClaim
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.steps import BackupStep
from operation_engine.records.events import MAX_NOTE, EventWriter, event, reason_of
from operation_engine.runtime.kubernetes import Refused

START = steps.plan(OperationStatus(), list(BackupStep))

moves = st.one_of(
    st.builds(
        lambda life, reason: lambda s, now: enter(s, life, reason, "m", now),
        st.sampled_from(Life),
        st.sampled_from(Reason),
    ),
    st.builds(
        lambda name, state: lambda s, now: steps.end(s, name, state, now, "m"),
        st.sampled_from(BackupStep),
        st.sampled_from(StepState),
    ),
    st.just(lambda s, now: lifecycle.accept(s, "m", now)),
    st.just(lambda s, now: lifecycle.degraded(s, Reason.PARTIAL_FAILURE, "m", now)),
    st.builds(
        lambda holds: lambda s, now: lifecycle.verified(s, holds, Reason.VERIFICATION_FAILED, "m", now), st.booleans()
    ),
)


CLAIM = WorkflowClaim(id="operation/shop/b/u", run_id="r")


def written(made: StatusReport) -> OperationStatus:
    """The status as a store writes it: with the number of its last transition."""
    return made.status.model_copy(update={"seq": made.status.seq + len(made.transitions)})


@given(st.lists(st.lists(moves, max_size=4), max_size=12))
def test_transitions_are_numbered_without_a_gap_for_all_of_an_operation_s_life(life: list[list[object]]) -> None:
    status, told = START, []
    for second, batch in enumerate(life):
        after = status
        for move in batch:
            after = move(after, later(second))  # type: ignore[operator]
        made = report(status, after, second + 1)
        told += made.transitions
        status = written(made)
    assert [t.number for t in told] == list(range(1, len(told) + 1))
    assert status.seq == len(told)


@given(st.lists(moves, max_size=8))
def test_a_status_that_is_reported_again_tells_nothing_new(batch: list[object]) -> None:
    after = START
    for move in batch:
        after = move(after, NOW)  # type: ignore[operator]
    made = report(START, after, 1)
    assert transitions(made.status, made.status) == ()
    assert report(made.status, made.status, 2).status == made.status


@given(st.lists(moves, min_size=1, max_size=8))
def test_a_report_knows_its_own_result_and_no_other(batch: list[object]) -> None:
    after = START
    for move in batch:
        after = move(after, NOW)  # type: ignore[operator]
    made = report(START, after, 5)
    serials = {serial: CLAIM.model_copy(update={"report": serial}) for serial in (4, 5, 6)}
    assert [made.is_written(serials[n]) for n in (4, 5, 6)] == [False, True, False]
    assert [made.is_late(serials[n]) for n in (4, 5, 6)] == [False, False, True]


@given(st.lists(moves, max_size=8), st.integers(min_value=0, max_value=50))
def test_a_report_that_stands_is_told_again_under_the_numbers_it_got(batch: list[object], followed: int) -> None:
    after = START
    for move in batch:
        after = move(after, NOW)  # type: ignore[operator]
    made = report(START, after, 1)
    claim = CLAIM.model_copy(update={"report": 1, "followed": followed})
    live = after.model_copy(update={"seq": followed + len(made.transitions)})
    assert [t.number for t in made.told_again(live, claim)] == list(range(followed + 1, live.seq + 1))
    assert made.told_again(live.model_copy(update={"seq": live.seq + 1}), claim) == ()


def test_a_first_status_does_not_tell_what_has_not_happened() -> None:
    assert transitions(OperationStatus(), enter(START, Life.CLAIMED, Reason.PENDING, "", NOW)) == ()


def test_a_step_s_end_is_told_before_what_follows_from_it() -> None:
    running = enter(steps.begin(START, BackupStep.VERIFY, NOW), Life.RUNNING, Reason.PENDING, "", NOW)
    ended = steps.end(running, BackupStep.VERIFY, StepState.SUCCEEDED, NOW, "")
    done = enter(ended, Life.SUCCEEDED, Reason.VELERO_BACKUP_SUCCEEDED, "", NOW)
    told = transitions(running, done)
    assert (told[0].subject, told[0].kind) == ("VerifyBackup", TransitionKind.STEP)
    assert "Succeeded" in [t.subject for t in told[1:]]


def test_a_wait_whose_reason_changes_is_told_again_and_one_whose_words_change_is_not() -> None:
    waiting = enter(START, Life.WAITING, Reason.TARGET_NOT_FOUND, "none", NOW)
    same = enter(waiting, Life.WAITING, Reason.TARGET_NOT_FOUND, "still none", NOW)
    other = enter(waiting, Life.WAITING, Reason.STORAGE_LOCATION_UNAVAILABLE, "no bucket", NOW)
    assert transitions(waiting, same) == ()
    assert ("Blocked", "StorageLocationUnavailable") in [(t.subject, t.reason) for t in transitions(waiting, other)]


def told(
    state: str, subject: str = "Blocked", kind: TransitionKind = TransitionKind.CONDITION, **parts: object
) -> Transition:
    return Transition.model_validate({"number": 3, "kind": kind, "subject": subject, "state": state, **parts})


def test_an_event_has_a_name_of_its_own_for_each_transition_of_each_operation() -> None:
    body = event(operation(), told("True", at=NOW), None, "worker")
    assert body["metadata"]["name"] == "nightly.0f8fad5b.3"
    assert body["regarding"]["uid"] == operation().metadata.uid
    assert "related" not in body


def test_an_event_s_time_has_microseconds_always() -> None:
    assert event(operation(), told("True", at=NOW), None, "worker")["eventTime"] == "2026-03-01T12:00:00.000000Z"


def test_an_event_leads_to_the_object_that_does_the_work() -> None:
    related = EngineRef(api_version="velero.io/v1", kind="Backup", namespace="velero", name="b1")
    body = event(operation(), told("True", at=NOW), related, "worker")
    assert body["related"] == {"apiVersion": "velero.io/v1", "kind": "Backup", "namespace": "velero", "name": "b1"}


def test_events_warn_of_what_is_bad_and_of_nothing_else() -> None:
    bad = [told("True"), told("True", "Failed"), told("True", "Cancelled"), told("True", "Degraded")]
    good = [told("True", "Accepted"), told("True", "Running"), told("True", "Succeeded"), told("True", "Verified")]
    step = TransitionKind.STEP
    assert {event(operation(), t, None, "w")["type"] for t in [*bad, told("Failed", "Admit", step)]} == {"Warning"}
    assert {event(operation(), t, None, "w")["type"] for t in [*good, told("Waiting", "Admit", step)]} == {"Normal"}


def test_a_condition_that_went_back_to_rest_is_no_event() -> None:
    assert reason_of(told("False")) is None
    assert reason_of(told("Unknown", "Succeeded")) is None
    assert reason_of(told("True")) == "OperationBlocked"
    assert reason_of(told("Failed", "Admit", TransitionKind.STEP)) == "StepFailed"


@given(st.text(max_size=2000))
def test_an_event_s_note_is_never_longer_than_the_api_server_takes(message: str) -> None:
    note = event(operation(), told("Failed", "Admit", TransitionKind.STEP, message=message), None, "w")["note"]
    assert 0 < len(note.encode()) <= MAX_NOTE


def test_a_report_of_progress_alone_is_never_taken_for_written() -> None:
    """It carries no number of its own, so it must be compared field by field."""
    assert not StatusReport(status=START, serial=2).is_written(CLAIM)


async def test_an_event_that_is_refused_in_a_namespace_under_deletion_stops_nothing() -> None:
    class Terminating:
        asked = 0

        async def create(self, *_: object) -> None:
            self.asked += 1
            raise Refused("unable to create new content because it is being terminated", 403)

    api = Terminating()
    await EventWriter(api).tell(operation(), (told("True", at=NOW),), None)  # type: ignore[arg-type]
    assert api.asked == 1

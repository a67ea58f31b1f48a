"""What the controller decides about an Operation whose workflow cannot say how it ended."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import NOW, REF, conditions_of

from controller.decide import Seen
from controller.outside import forgotten, suspects
from operation_engine.domain import lifecycle, outside, steps
from operation_engine.domain.claim import RunIdentity, Standing, standing
from operation_engine.domain.identity import OperationRef, operation_of, workflow_id
from operation_engine.domain.lifecycle import Life
from operation_engine.domain.outside import How, RunSeen, Verb, orphans
from operation_engine.domain.resources.operation_spec import OperationType
from operation_engine.domain.resources.operation_status import Attempt, EngineRef, OperationStatus, Phase, WorkflowClaim
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.steps import RestoreStep

ID = workflow_id(REF)
CLAIM = WorkflowClaim(id=ID, run_id="r1", first_run_id="r1", report=7)
OTHER = OperationRef(namespace="shop", name="other", uid="another-uid")


def status(phase: Phase, claim: WorkflowClaim | None = CLAIM) -> OperationStatus:
    return OperationStatus(phase=phase, workflow=claim)


def run(how: How, run_id: str = "r1", **parts: object) -> RunSeen:
    return RunSeen.model_validate({"run_id": run_id, "first_run_id": "r1", "how": how, **parts})


DONE = status(Phase.SUCCEEDED)
TABLE = [
    (Phase.PENDING, None, None, Verb.NOTHING),
    (Phase.RUNNING, CLAIM, None, Verb.LOSE),
    (Phase.FAILED, CLAIM, None, Verb.NOTHING),
    (Phase.PENDING, None, run(How.RUNNING), Verb.NOTHING),
    (Phase.RUNNING, CLAIM, run(How.RUNNING), Verb.NOTHING),
    (Phase.FAILED, CLAIM, run(How.RUNNING), Verb.NOTHING),
    (Phase.FAILED, CLAIM, run(How.RUNNING, "r2"), Verb.REOPEN),
    (Phase.CANCELLED, CLAIM, run(How.RUNNING, "r2"), Verb.REOPEN),
    (Phase.SUCCEEDED, CLAIM, run(How.RUNNING, "r2"), Verb.NOTHING),
    (Phase.FAILED, CLAIM, run(How.RUNNING, "r2", first_run_id="r2"), Verb.NOTHING),
    (Phase.RUNNING, CLAIM, run(How.COMPLETED, result=DONE), Verb.REPEAT),
    (Phase.RUNNING, CLAIM, run(How.COMPLETED), Verb.END),
    (Phase.RUNNING, CLAIM, run(How.COMPLETED, result=status(Phase.RUNNING)), Verb.END),
    (Phase.PENDING, None, run(How.TERMINATED), Verb.END),
    *[(Phase.RUNNING, CLAIM, run(how), Verb.END) for how in How if how not in (How.RUNNING, How.COMPLETED)],
    *[
        (phase, CLAIM, run(how, result=DONE), Verb.NOTHING)
        for phase in (Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED)
        for how in How
        if how != How.RUNNING
    ],
]


@pytest.mark.parametrize(("phase", "claim", "seen", "wanted"), TABLE)
def test_the_table_row_by_row(phase: Phase, claim: WorkflowClaim | None, seen: RunSeen | None, wanted: Verb) -> None:
    assert outside.verb(status(phase, claim), seen) == wanted


def at_work() -> OperationStatus:
    """A Restore that Velero works on."""
    planned = steps.begin(steps.plan(status(Phase.PENDING), list(RestoreStep)), RestoreStep.FOLLOW, NOW)
    attempt = Attempt(number=1, velero_name="nightly-main-1", run_id="r1")
    engine = EngineRef(api_version="velero.io/v1", kind="Restore", namespace="velero", name="nightly-main-1")
    doing = planned.model_copy(update={"attempt": 1, "attempts": (attempt,), "engine_ref": engine})
    return lifecycle.enter(doing, Life.RUNNING, Reason.VELERO_RESTORE_IN_PROGRESS, "at work", NOW)


ENDS = [
    (run(How.TERMINATED, by="ann@desk", message="sold"), Phase.FAILED, Reason.ABORTED_BY_USER, "by ann@desk: sold"),
    (run(How.TERMINATED, by="history-service", message="too large"), Phase.FAILED, Reason.ENGINE_UNAVAILABLE, "large"),
    (run(How.FAILED, type="Timeout", message="too slow"), Phase.FAILED, Reason.TIMEOUT, "too slow"),
    (run(How.FAILED, type="KeyError", message="'x'"), Phase.FAILED, Reason.ENGINE_UNAVAILABLE, "'x'"),
    (run(How.TIMED_OUT), Phase.FAILED, Reason.TIMEOUT, "time-out"),
    (run(How.COMPLETED), Phase.FAILED, Reason.ENGINE_UNAVAILABLE, "completed"),
    (run(How.CANCELLED), Phase.CANCELLED, Reason.CANCELLED_BY_USER, "cancelled in Temporal"),
    (None, Phase.FAILED, Reason.HISTORY_LOST, "does not know"),
]


@pytest.mark.parametrize(("seen", "phase", "reason", "words"), ENDS)
def test_an_end_from_outside_is_a_whole_one(seen: RunSeen | None, phase: Phase, reason: Reason, words: str) -> None:
    ended = outside.ended(at_work(), seen, REF, ["shop/web"], NOW)
    assert (ended.phase, ended.reason, ended.finished_at) == (phase, reason, NOW)
    assert words in (ended.message or "")
    assert f"-n velero -l ops.vworkspace.io/operation={REF.uid}" in (ended.message or "")
    assert (ended.attempts[0].outcome, ended.attempts[0].reason) == (str(phase), str(reason))
    states = {step.name: str(step.state) for step in ended.steps}
    assert states[RestoreStep.FOLLOW] == "Failed"
    assert states[RestoreStep.RESUME] == "Succeeded"
    assert set(states.values()) == {"Failed", "Succeeded", "Skipped"}
    assert conditions_of(ended).items() >= {str(phase): "True", "Stalled": "True", "Ready": "False"}.items()
    assert "Reconciling" not in conditions_of(ended)


def test_after_an_end_from_outside_nothing_that_the_dead_run_still_writes_counts() -> None:
    own = RunIdentity(workflow_id=ID, run_id="r1")
    ended = outside.ended(at_work(), run(How.TERMINATED), REF, (), NOW)
    assert standing(own, at_work()) == Standing.HELD
    assert standing(own, ended) == Standing.FENCED
    assert standing(own.model_copy(update={"run_id": "r2"}), ended) == Standing.ASK, "a Reset may still take it"


def test_a_reset_that_died_before_its_first_write_may_not_write_later() -> None:
    ended = outside.ended(at_work(), run(How.TERMINATED, "r2"), REF, (), NOW)
    for run_id in ("r1", "r2"):
        assert standing(RunIdentity(workflow_id=ID, run_id=run_id), ended) in (Standing.FENCED, Standing.ASK)
    assert standing(RunIdentity(workflow_id=ID, run_id="r2"), ended) == Standing.FENCED


def test_what_was_decided_counts_only_for_what_it_was_decided_on() -> None:
    assert outside.is_unchanged(at_work(), at_work())
    assert not outside.is_unchanged(at_work().model_copy(update={"phase": Phase.SUCCEEDED}), at_work())
    reset = at_work().model_copy(update={"workflow": CLAIM.model_copy(update={"run_id": "r2"})})
    assert not outside.is_unchanged(reset, at_work())
    assert outside.is_unchanged(outside.closed(at_work()), at_work()), "after a crash between the two writes"


def test_a_result_is_repeated_without_losing_an_attempt() -> None:
    result = at_work().model_copy(update={"attempt": 1})
    result = lifecycle.enter(result, Life.SUCCEEDED, Reason.VELERO_RESTORE_COMPLETED, "all there", NOW)
    second = Attempt(number=2, run_id="r2")
    live = at_work().model_copy(update={"attempt": 2, "attempts": (*at_work().attempts, second)})
    written = outside.repeated(live, run(How.COMPLETED, result=result))
    assert (written.phase, written.message, written.attempt) == (Phase.SUCCEEDED, "all there", 2)
    assert [a.number for a in written.attempts] == [1, 2]


def test_a_reset_s_run_gets_the_claim_as_one_that_has_reported_nothing() -> None:
    pointed = outside.pointed(status(Phase.FAILED), run(How.RUNNING, "r2"), "http://ui/r2")
    assert pointed.workflow == WorkflowClaim(id=ID, run_id="r2", first_run_id="r1", url="http://ui/r2")
    assert pointed.phase == Phase.FAILED


def seen(phase: Phase, run_id: str = "r1", ref: OperationRef = REF) -> Seen:
    return Seen(ref=ref, type=OperationType.BACKUP, target="shop", phase=phase, claimed=bool(run_id), run_id=run_id)


@given(st.sampled_from(Phase), st.sampled_from(["", "r1"]), st.sampled_from([None, "r1", "r2"]))
def test_only_what_does_not_fit_the_open_runs_is_asked_about(phase: Phase, own: str, open_: str | None) -> None:
    running = {} if open_ is None else {ID: open_}
    asked = bool(suspects([seen(phase, own)], running))
    if not phase.terminal:
        assert asked == (open_ is None)
    else:
        assert asked == (phase != Phase.SUCCEEDED and open_ is not None and open_ != own)


def test_a_run_whose_operation_is_gone_is_found_and_those_of_others_are_let_be() -> None:
    running = {ID: "r1", workflow_id(OTHER): "r2", "somebody/else": "r3", "operation/a/b/c/d": "r4"}
    assert forgotten(running, [seen(Phase.RUNNING)]) == [OTHER]
    assert forgotten(running, [seen(Phase.RUNNING), replace(seen(Phase.FAILED), ref=OTHER)]) == []


def test_an_id_leads_back_to_its_operation() -> None:
    assert operation_of(ID) == REF
    assert operation_of("operation/shop/nightly") is None
    assert operation_of("outbox/shop/nightly/uid") is None


def test_only_those_whom_nobody_works_for_are_orphans() -> None:
    assert orphans(["a", "b", "a"], ["b"]) == ("a",)
    assert orphans([], ["b"]) == ()

"""Whose an Operation is: nobody acts for it but the run that holds the claim."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operation_engine.domain.claim import (
    Holder,
    HolderState,
    RunIdentity,
    Standing,
    may_take_over,
    standing,
    why_fenced,
)
from operation_engine.domain.resources.operation_status import OperationStatus, Phase, WorkflowClaim

OWN = RunIdentity(workflow_id="w", run_id="r2")
RESET = Holder(state=HolderState.CLOSED, first_run_id="r1", latest_run_id="r2")

ids, runs = st.sampled_from(["w", "x"]), st.sampled_from(["r1", "r2", "r3"])
claims = st.builds(WorkflowClaim, id=ids, run_id=runs, first_run_id=runs)
holders = st.builds(
    Holder, state=st.sampled_from(HolderState), first_run_id=st.none() | runs, latest_run_id=st.none() | runs
)
identities = st.builds(RunIdentity, workflow_id=ids, run_id=runs)


def status(phase: Phase, claim: WorkflowClaim | None) -> OperationStatus:
    return OperationStatus(phase=phase, workflow=claim)


def claim(run_id: str = "r1", id_: str = "w", first: str = "r1") -> WorkflowClaim:
    return WorkflowClaim(id=id_, run_id=run_id, first_run_id=first)


TABLE = [
    (Phase.PENDING, None, Standing.FREE),
    (Phase.FAILED, None, Standing.FENCED),
    (Phase.SUCCEEDED, None, Standing.FENCED),
    (Phase.RUNNING, claim("r2"), Standing.HELD),
    (Phase.SUCCEEDED, claim("r2"), Standing.HELD),
    (Phase.RUNNING, claim("r1"), Standing.ASK),
    (Phase.FAILED, claim("r1"), Standing.ASK),
    (Phase.CANCELLED, claim("r1"), Standing.ASK),
    (Phase.SUCCEEDED, claim("r1"), Standing.FENCED),
    (Phase.RUNNING, claim("r2", id_="x"), Standing.ASK),
]


@pytest.mark.parametrize(("phase", "held_by", "expected"), TABLE)
def test_what_can_be_said_without_asking_temporal(
    phase: Phase, held_by: WorkflowClaim | None, expected: Standing
) -> None:
    assert standing(OWN, status(phase, held_by)) == expected


@given(st.sampled_from(Phase), claims, identities)
def test_nobody_but_the_claim_s_own_run_holds_it(phase: Phase, held_by: WorkflowClaim, own: RunIdentity) -> None:
    holds = standing(own, status(phase, held_by)) == Standing.HELD
    assert holds == ((own.workflow_id, own.run_id) == (held_by.id, held_by.run_id))


@given(claims, holders, identities)
def test_a_succeeded_operation_is_never_taken_over(held_by: WorkflowClaim, holder: Holder, own: RunIdentity) -> None:
    assert not may_take_over(own, held_by, holder, status(Phase.SUCCEEDED, held_by))


@given(st.sampled_from(Phase), claims, holders, identities)
def test_no_workflow_takes_an_operation_from_another_workflow(
    phase: Phase, held_by: WorkflowClaim, holder: Holder, own: RunIdentity
) -> None:
    if own.workflow_id != held_by.id:
        assert not may_take_over(own, held_by, holder, status(phase, held_by))


@given(st.sampled_from(Phase), claims, holders, identities)
def test_of_two_runs_at_most_one_may_take_over(
    phase: Phase, held_by: WorkflowClaim, holder: Holder, own: RunIdentity
) -> None:
    if holder.state == HolderState.UNKNOWN_TO_TEMPORAL:
        return  # then Temporal knows no second run either
    other = own.model_copy(update={"run_id": "another"})
    both = [may_take_over(run, held_by, holder, status(phase, held_by)) for run in (own, other)]
    assert not all(both)


@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.RUNNING, Phase.FAILED, Phase.CANCELLED])
def test_a_reset_takes_over_from_its_closed_predecessor(phase: Phase) -> None:
    assert may_take_over(OWN, claim(), RESET, status(phase, claim()))


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": HolderState.OPEN},
        {"first_run_id": "r9"},
        {"latest_run_id": "r3"},
    ],
)
def test_what_is_no_reset_takes_nothing(wrong: dict[str, object]) -> None:
    """The holder still works; a new start instead of a reset; a run that is not the latest."""
    assert not may_take_over(OWN, claim(), RESET.model_copy(update=wrong), status(Phase.FAILED, claim()))


@pytest.mark.parametrize(("phase", "id_"), list(product(Phase, ["w", "x"])))
def test_after_a_loss_of_temporal_only_the_same_workflow_goes_on_and_only_with_what_has_not_ended(
    phase: Phase, id_: str
) -> None:
    lost = Holder(state=HolderState.UNKNOWN_TO_TEMPORAL)
    expected = id_ == "w" and not phase.terminal
    assert may_take_over(OWN, claim(id_=id_), lost, status(phase, claim(id_=id_))) == expected


@pytest.mark.parametrize(
    ("phase", "says"),
    [
        (Phase.SUCCEEDED, "Succeeded is final. To do the work again, apply another Operation."),
        (Phase.FAILED, "the Operation is Failed and belongs to run r1. To try again, Reset run r1."),
        (Phase.RUNNING, "the Operation is Running and belongs to run r1."),
    ],
)
def test_a_fenced_run_is_told_why_and_what_to_do(phase: Phase, says: str) -> None:
    assert why_fenced(status(phase, claim())) == f"This run changes nothing: {says}"

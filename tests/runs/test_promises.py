"""The check that every run undergoes notices what it is there for."""

from dataclasses import replace
from typing import Any

import pytest
from support.runs import Ended, Stage, check_promises

from operation_engine.domain.resources.operation_status import OperationStatus, Phase, Progress

pytestmark = pytest.mark.asyncio(loop_scope="session")


def broken(ended: Ended) -> dict[str, Ended]:
    status = ended.status

    def with_status(**parts: Any) -> OperationStatus:
        return status.model_copy(update=parts)

    def told(**parts: Any) -> tuple[OperationStatus, ...]:
        return (*ended.history, with_status(**parts))

    return {
        "an end without a time": replace(ended, status=with_status(finished_at=None)),
        "a list that filters by another phase": replace(ended, shown_phase="Running"),
        "a result that is not the status": replace(ended, result=with_status(seq=0)),
        "numbers that go back": replace(ended, history=told(seq=1)),
        "progress that goes back": replace(ended, history=told(progress=Progress(percent=5))),
        "a hundred before the end": replace(ended, history=told(phase=Phase.RUNNING)),
        "a status that is too large": replace(ended, history=told(message="x" * 40_000)),
        "an Event that is told twice": replace(ended, events=(*ended.events, ended.events[-1])),
        "a page without its steps": replace(ended, details=ended.details.split("1. ")[0]),
        "a page of another phase": replace(ended, details=ended.details.replace("Succeeded", "Running", 1)),
    }


async def test_a_run_that_breaks_a_promise_is_noticed(play: Stage) -> None:
    ended = await play.run()
    unnoticed = [what for what, wrong in broken(ended).items() if not notices(wrong)]
    assert unnoticed == []


def notices(wrong: Ended) -> bool:
    try:
        check_promises(wrong)
    except (AssertionError, ValueError):
        return True
    return False

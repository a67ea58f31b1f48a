"""The runs that the golden histories tell: one for each way through a workflow that a running one may be on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from support.scripted import AVAILABLE, HAPPY, RESTARTED, UNAVAILABLE_LOCATION, WENT_AWAY, Script, phases, seen


@dataclass(frozen=True)
class Scenario:
    """How it ends, what the outside answers, and the parts of the Operation that are not the usual ones."""

    ends: str
    script: Callable[[], Script] = Script
    parts: dict[str, Any] = field(default_factory=dict)


def _failed() -> Script:
    return Script(attempts=[[*phases("New", "InProgress"), seen("Failed", failure_reason="disk full")]])


def _partial() -> Script:
    last = seen("PartiallyFailed", errors=1, items_done=3, items_total=3)
    return Script(attempts=[[*phases("InProgress"), last]], problems=("shop: pvc data: timed out",))


def _restarted() -> Script:
    return Script(attempts=[[*phases("InProgress"), seen("Failed", failure_reason=RESTARTED)], list(HAPPY)])


def _waited() -> Script:
    return Script(locations=[UNAVAILABLE_LOCATION, AVAILABLE])


def _went_away() -> Script:
    refused = seen("FailedValidation", validation_errors=(WENT_AWAY,))
    return Script(locations=[AVAILABLE, UNAVAILABLE_LOCATION, AVAILABLE], attempts=[[refused], list(HAPPY)])


def _failed_in_part() -> Script:
    return Script(attempts=[[*phases("InProgress"), seen("PartiallyFailed", errors=1)]], problems=("upload failed",))


SCENARIOS = {
    "backup-succeeded": Scenario("Succeeded"),
    "backup-failed": Scenario("VeleroBackupFailed", _failed),
    "backup-failed-in-part": Scenario("VeleroBackupPartiallyFailed", _failed_in_part),
    "backup-refused": Scenario("ValidationFailed", parts={"parameters": {"tll": "720h"}}),
    "backup-second-attempt": Scenario("Succeeded", _restarted),
    "backup-waited-for-location": Scenario("Succeeded", _waited),
    "backup-location-went-away": Scenario("Succeeded", _went_away),
    "backup-accepted-in-part": Scenario("Succeeded", _partial, {"policy": {"partialFailure": "Accept"}}),
    "unsupported": Scenario("UnsupportedOperation", parts={"type": "Restore"}),
}

"""The runs that the golden histories tell: one for each way through a workflow that a running one may be on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from support.guards import APPROVED, FULL, NO_CONSENT, REPLACED, UNAPPROVED, Guards
from support.scripted import (
    AVAILABLE,
    FOUND,
    HAPPY,
    RESTARTED,
    UNAVAILABLE_LOCATION,
    WENT_AWAY,
    Script,
    phases,
    seen,
)
from support.scripted_restores import (
    HAPPY_RESTORE,
    NOTHING_CAME,
    RESTORE_RESTARTED,
    UNREADY,
    observed,
    restore_script,
)

from operation_engine.domain.admission import refuse
from operation_engine.domain.resources.operation_status import OperationStatus
from operation_engine.domain.resources.reasons import Reason

CANCEL = "cancel"
"""No Signal, but what Temporal is asked for."""


@dataclass(frozen=True)
class Told:
    """A Signal that is sent when the Operation waits for this reason, in this attempt; or a cancel."""

    reason: str
    attempt: int
    signal: str
    payload: Any = None

    def is_due(self, status: OperationStatus) -> bool:
        return status.reason == self.reason and status.attempt == self.attempt


@dataclass(frozen=True)
class Scenario:
    """How it ends, what the outside answers, and the parts of the Operation that are not the usual ones."""

    ends: str
    script: Callable[[], Script] = Script
    parts: dict[str, Any] = field(default_factory=dict)
    told: tuple[Told, ...] = ()
    """What is signalled, in order."""


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


def _restore(**parts: Any) -> dict[str, Any]:
    return {"type": "Restore", "parameters": {"backupName": "nightly", **parts.pop("parameters", {})}, **parts}


def _restore_in_part(*later: list[Any]) -> Callable[[], Script]:
    first = [observed("InProgress"), observed("PartiallyFailed", errors=1)]
    return lambda: restore_script(attempts=[first, *later], problems=("pod web: forbidden",))


def _restore_restarted() -> Script:
    restarted = observed("Failed", failure_reason=RESTORE_RESTARTED)
    return restore_script(attempts=[[observed("InProgress"), restarted], list(HAPPY_RESTORE)])


def _restore_went_away() -> Script:
    gone = observed(
        "FailedValidation", validation_errors=("The BSL default is unavailable, cannot retrieve the backup",)
    )
    return restore_script(locations=[FOUND, UNAVAILABLE_LOCATION, FOUND], attempts=[[gone], list(HAPPY_RESTORE)])


def _guarded(**parts: Any) -> Callable[[], Script]:
    return lambda: restore_script(guards=Guards(**parts))


def _safety_failed() -> Script:
    saved = [seen("Completed", items_done=3, items_total=3)]
    failed = [seen("Failed", failure_reason="disk full")]
    return restore_script(guards=Guards(holdings=FULL, safety=[failed, saved], releases=("web",)))


AT_ONCE = {"policy": {"decisionTimeout": "0s"}}
RETRY = Told("AwaitingDecision", 1, "retry", {"attempt": 1})
ABORT = Told("AwaitingDecision", 1, "abort", {"attempt": 1})

RESTORES = {
    "restore-succeeded": Scenario("Succeeded", restore_script, _restore()),
    "restore-refused": Scenario(
        "BackupNotFound",
        lambda: restore_script(usable=refuse(Reason.BACKUP_NOT_FOUND, "there is none")),
        _restore(),
    ),
    "restore-without-consent": Scenario("ConsentMissing", _guarded(consents=[NO_CONSENT]), _restore()),
    "restore-approved-later": Scenario(
        "Succeeded",
        _guarded(approvals=[UNAPPROVED, UNAPPROVED, APPROVED]),
        _restore(),
        (Told("AwaitingApproval", 0, "spec_changed"),),
    ),
    "restore-suspends-saves-and-replaces": Scenario(
        "Succeeded",
        _guarded(
            releases=("web",),
            holdings=FULL,
            safety=[[seen("InProgress"), seen("Completed", items_done=3, items_total=3)]],
            replacement=REPLACED,
        ),
        _restore(),
    ),
    "restore-safety-backup-failed": Scenario("Succeeded", _safety_failed, _restore(), (RETRY,)),
    "restore-waited-for-location": Scenario(
        "Succeeded", lambda: restore_script(locations=[UNAVAILABLE_LOCATION]), _restore()
    ),
    "restore-location-went-away": Scenario("Succeeded", _restore_went_away, _restore()),
    "restore-second-attempt": Scenario("Succeeded", _restore_restarted, _restore()),
    "restore-failed-in-part": Scenario("VeleroRestorePartiallyFailed", _restore_in_part(), _restore(**AT_ONCE)),
    "restore-accepted-in-part": Scenario(
        "Succeeded", _restore_in_part(), _restore(policy={"partialFailure": "Accept"})
    ),
    "restore-nothing-restored": Scenario(
        "NothingRestored", lambda: restore_script(restored=[NOTHING_CAME]), _restore(**AT_ONCE)
    ),
    "restore-not-ready": Scenario(
        "VerificationFailed", lambda: restore_script(checks={"await_workloads": [UNREADY]}), _restore(**AT_ONCE)
    ),
    "restore-asked-over-http": Scenario(
        "Succeeded", restore_script, _restore(parameters={"verify": {"http": {"url": "http://web/"}}})
    ),
    "restore-retried": Scenario(
        "Succeeded", _restore_in_part(list(HAPPY_RESTORE)), _restore(parameters={"cleanup": "DeleteRestored"}), (RETRY,)
    ),
    "restore-aborted": Scenario("AbortedByUser", _restore_in_part(), _restore(), (ABORT,)),
    "restore-not-decided": Scenario("DecisionTimeout", _restore_in_part(), _restore(policy={"decisionTimeout": "1s"})),
    "restore-cancelled": Scenario(
        "Cancelled",
        lambda: restore_script(attempts=[[observed("InProgress")]], guards=Guards(releases=("web",))),
        _restore(),
        (Told("VeleroRestoreInProgress", 1, CANCEL),),
    ),
    "restore-cancelled-undecided": Scenario(
        "Cancelled", _restore_in_part(), _restore(), (Told("AwaitingDecision", 1, CANCEL),)
    ),
    "backup-cancelled-waiting": Scenario(
        "Cancelled",
        lambda: Script(locations=[UNAVAILABLE_LOCATION]),
        told=(Told("StorageLocationUnavailable", 0, CANCEL),),
    ),
    "restore-dry-run": Scenario("Succeeded", restore_script, _restore(policy={"dryRun": True})),
    "backup-retried": Scenario(
        "Succeeded",
        lambda: Script(locations=[AVAILABLE] * 2, attempts=[[seen("Failed", failure_reason="full")], list(HAPPY)]),
        {"policy": {"decisionTimeout": "1h"}},
        (RETRY,),
    ),
}

SCENARIOS = {
    **RESTORES,
    "backup-succeeded": Scenario("Succeeded"),
    "backup-failed": Scenario("VeleroBackupFailed", _failed),
    "backup-failed-in-part": Scenario("VeleroBackupPartiallyFailed", _failed_in_part),
    "backup-refused": Scenario("ValidationFailed", parts={"parameters": {"tll": "720h"}}),
    "backup-second-attempt": Scenario("Succeeded", _restarted),
    "backup-waited-for-location": Scenario("Succeeded", _waited),
    "backup-location-went-away": Scenario("Succeeded", _went_away),
    "backup-accepted-in-part": Scenario("Succeeded", _partial, {"policy": {"partialFailure": "Accept"}}),
    "backup-dry-run": Scenario("Succeeded", parts={"policy": {"dryRun": True}}),
    "unsupported": Scenario("UnsupportedOperation", parts={"type": "Upgrade"}),
}

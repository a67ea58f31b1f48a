"""What a Velero Restore that has ended is worth: pure verdicts over what was observed.

Completed is a claim of Velero's, and a restore that changed nothing makes it too; only its resource list tells.
"""

from collections.abc import Mapping, Sequence

from operation_engine.domain import restored
from operation_engine.domain.claim_data import ClaimData
from operation_engine.domain.lifecycle import bounded
from operation_engine.domain.resources.common import ApiModel
from operation_engine.domain.resources.operation_spec import PartialFailure
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.restored import RestoredItem
from operation_engine.domain.velero import BackupPhase, RestoreObservation
from operation_engine.domain.verdicts import Outcome, Verdict

# Velero marks what it found InProgress when its server started (server.go, 1.18): nothing is wrong with the work.
_RESTART_MARKS = ("found a restore with status", "during the server starting")
# Velero's own look at the location came to another answer than the gate's (restore_controller, 1.18).
_LOCATION_MARK = "is unavailable, cannot retrieve the backup"
WORDS = 700
"""Bytes of a message left for what failed; the rest says how to go on."""


class RestoredContents(ApiModel):
    """What a Restore did, as far as the bucket tells."""

    items: tuple[RestoredItem, ...] | None = None
    """None = the restore's list cannot be read."""
    backed_up: Mapping[str, tuple[str, ...]] | None = None
    """Names by `group/version/Kind` in the backup; None = its list cannot be read."""
    problems: tuple[str, ...] = ()
    carried: frozenset[tuple[str, str]] = frozenset()
    """What the attempts before brought back, by kind and name."""
    data: ClaimData = ClaimData()

    @property
    def kept_claims(self) -> tuple[str, ...]:
        """Claims that existed, with data that is not the backup's."""
        filled = {claim.name for claim in self.data.filled}
        return tuple(name for name in restored.kept_claims(self.items or ()) if name not in filled)

    @property
    def count(self) -> int:
        return restored.restored_count(self.items or (), self.carried)


def restore_ended_verdict(
    observation: RestoreObservation | None, policy: PartialFailure, problems: Sequence[str]
) -> Verdict:
    """The verdict on how a Restore ended, by its phase alone. None = it is gone."""
    if observation is None:
        return _failed(
            Reason.EXTERNAL_DELETION,
            "The Velero Restore was deleted while it was followed; nobody can say how far it came.",
        )
    name, why = observation.name, observation.failure_reason or "no reason given"
    if observation.phase == BackupPhase.COMPLETED:
        return _completed(observation)
    if observation.phase == BackupPhase.FAILED_VALIDATION:
        return _refused(observation)
    if observation.phase == BackupPhase.PARTIALLY_FAILED:
        return _partially_failed(observation, policy, problems)
    if observation.phase == BackupPhase.FAILED and all(mark in why for mark in _RESTART_MARKS):
        return Verdict(outcome=Outcome.RETRY, reason=Reason.VELERO_RESTORE_FAILED, message=bounded(why, WORDS))
    return _failed(Reason.VELERO_RESTORE_FAILED, f"Velero Restore {name} failed: {why}")


def _refused(observation: RestoreObservation) -> Verdict:
    errors = observation.validation_errors
    detail = "; ".join(errors) or "no reason given"
    if errors and all(_LOCATION_MARK in error for error in errors):
        return Verdict(
            outcome=Outcome.RETRY, reason=Reason.STORAGE_LOCATION_UNAVAILABLE, message=bounded(detail, WORDS)
        )
    return _failed(Reason.VELERO_RESTORE_VALIDATION_FAILED, f"Velero refused Restore {observation.name}: {detail}")


def _completed(observation: RestoreObservation) -> Verdict:
    name = observation.name
    if observation.failure_reason or observation.errors:
        also = observation.failure_reason or f"{observation.errors} errors"
        return _failed(Reason.VELERO_RESTORE_FAILED, f"Velero Restore {name} says Completed and also: {also}")
    return Verdict(outcome=Outcome.PASSED, reason=Reason.VELERO_RESTORE_COMPLETED, message="Velero says Completed.")


def _partially_failed(observation: RestoreObservation, policy: PartialFailure, problems: Sequence[str]) -> Verdict:
    first = "; ".join(problems[:3]) or f"see: velero restore logs {observation.name}"
    message = f"Velero Restore {observation.name} is PartiallyFailed with {observation.errors} errors: {first}"
    if policy == PartialFailure.ACCEPT:
        return Verdict(outcome=Outcome.DEGRADED, reason=Reason.PARTIAL_FAILURE, message=bounded(message, WORDS))
    reason = Reason.HOOK_FAILED if observation.hooks_failed else Reason.VELERO_RESTORE_PARTIALLY_FAILED
    return _failed(reason, message)


def restored_verdict(observation: RestoreObservation, contents: RestoredContents, min_items: int | None) -> Verdict:
    """Whether the restore brought something back, and as much as was asked for."""
    name, items = observation.name, contents.items
    if items is None:
        return _failed(
            Reason.VERIFICATION_FAILED,
            f"The resource list of Velero Restore {name} cannot be read from the storage location, "
            "so nobody can say what was restored.",
        )
    count = contents.count
    if contents.data.lost or contents.data.left:
        return _failed(Reason.VERIFICATION_FAILED, _without_data(name, contents.data))
    if count == 0:
        return _failed(Reason.NOTHING_RESTORED, f"Velero Restore {name} brought nothing back. {_why_nothing(items)}")
    if min_items is not None and count < min_items:
        return _failed(
            Reason.VERIFICATION_FAILED,
            f"Velero Restore {name} brought {count} objects back; spec.parameters.verify.minItems is {min_items}. "
            f"Its list: {restored.told(items)}.",
        )
    return Verdict(
        outcome=Outcome.PASSED,
        reason=Reason.VELERO_RESTORE_COMPLETED,
        message=bounded(_checked(items, contents), WORDS),
    )


def _without_data(name: str, data: ClaimData) -> str:
    """Which claims lack the backup's data, and what to do."""
    advice = "Delete these claims with the pods and workloads that use them, then retry."
    if data.lost:
        return (
            f"Velero Restore {name} created PersistentVolumeClaim {_few(data.lost)} without the data that the backup "
            f"holds: only pods that the same restore creates are filled. {advice}"
        )
    return (
        f"NOT restored: PersistentVolumeClaim {_few(data.left)}. An attempt before made it, without all of the data "
        f"that the backup holds, and Velero fills no claim that exists. {advice}"
    )


def _why_nothing(items: Sequence[RestoredItem]) -> str:
    if not items:
        return "Its list is empty: check labelSelector, includedResources and what the backup holds."
    return (
        f"Its list: {restored.told(items)}. What exists is left as it is: delete it first, restore into an empty "
        "namespace, or set existingResourcePolicy: update."
    )


def _checked(items: Sequence[RestoredItem], contents: RestoredContents) -> str:
    backed_up = contents.backed_up
    total = f" of the {restored.backed_up_count(backed_up, items)} in the backup" if backed_up is not None else ""
    parts = [f"{contents.count} objects{total} came back: {restored.told(items)}."]
    if contents.data.filled:
        parts.append(f"Data came back: PersistentVolumeClaim {_few(list(map(str, contents.data.filled)))}.")
    kept = contents.kept_claims
    if kept:
        parts.append(f"NOT restored: PersistentVolumeClaim {', '.join(kept)} (what exists keeps its data).")
    if contents.data.empty:
        parts.append(f"EMPTY, for the backup holds no data of it: PersistentVolumeClaim {_few(contents.data.empty)}.")
    return " ".join(parts)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def restore_warnings(contents: RestoredContents) -> tuple[str, ...]:
    """What did not come back and what Velero says of it, most serious first."""
    items = contents.items or ()
    kept = tuple(
        f"PersistentVolumeClaim {name} was not restored: what exists keeps its data" for name in contents.kept_claims
    )
    unmentioned = restored.missing(contents.backed_up or {}, items)
    left = (f"in the backup, and not in the restore's list: {', '.join(unmentioned)}",) if unmentioned else ()
    empty = tuple(f"PersistentVolumeClaim {name} is empty: the backup holds no data" for name in contents.data.empty)
    return (*kept, *empty, *contents.problems, *left)


def _failed(reason: Reason, message: str) -> Verdict:
    return Verdict(outcome=Outcome.FAILED, reason=reason, message=bounded(message, WORDS))

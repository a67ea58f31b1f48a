"""Whether a Restore would be found good by what its plan says that it brings, and what no plan can say: pure."""

from collections.abc import Sequence

from operation_engine.domain.admission import PASS, Gate, refuse
from operation_engine.domain.plans import Fate, PlannedObject
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.restore_plan import WITHOUT_DATA
from operation_engine.domain.restored import DERIVED, Action, RestoredItem, restored_count

_ACTIONS = {
    Fate.CREATE: Action.CREATED,
    Fate.REPLACE: Action.CREATED,
    Fate.UNKNOWN: Action.CREATED,
    Fate.UPDATE: Action.UPDATED,
}


def outlook(objects: Sequence[PlannedObject], min_items: int | None) -> Gate:
    """Whether the Restore would be found good by what it brings, as far as that can be told: doubts count for it."""
    lost = [item.name for item in objects if item.why == WITHOUT_DATA]
    if lost:
        return refuse(
            Reason.VERIFICATION_FAILED,
            f"PersistentVolumeClaim {', '.join(lost[:5])} would be created without the data that the backup holds: "
            "only pods that the same restore creates are filled. Restore the pods with the claims.",
        )
    items = [
        RestoredItem(kind=item.kind, name=item.name, action=_ACTIONS.get(item.fate, Action.SKIPPED)) for item in objects
    ]
    most = restored_count(items)
    if most == 0:
        return refuse(
            Reason.NOTHING_RESTORED,
            "Nothing would come back: what exists is left as it is. Delete it first, restore into an empty namespace, "
            "or set existingResourcePolicy: update; and check labelSelector and includedResources.",
        )
    if min_items is not None and most < min_items:
        return refuse(
            Reason.VERIFICATION_FAILED,
            f"At most {most} objects would come back; spec.parameters.verify.minItems is {min_items}.",
        )
    return PASS


def doubts(objects: Sequence[PlannedObject], *, archive_read: bool) -> tuple[str, ...]:
    """What the plan could not tell, for people."""
    unlisted = sorted({item.kind.rpartition("/")[2] for item in objects if item.fate == Fate.UNKNOWN})
    found = [f"whether these exist, or differ, in the destination: {', '.join(unlisted)}"] if unlisted else []
    if not archive_read:
        found.append(
            "labels, pods and Jobs that have ended, reclaim policies: the archive is too large to be read for a plan"
        )
    if any(item.fate == Fate.UPDATE for item in objects):
        found.append("which of the objects that exist differ, and whether their immutable fields let them be changed")
    if any(item.kind in DERIVED and item.fate == Fate.CREATE for item in objects):
        found.append("what controllers do with the pods, ReplicaSets and endpoints that Velero brings")
    return (*found, "what admission webhooks, quotas and plugins of Velero refuse or change")

"""Which storage location a backup goes to, and whether it can go there now: pure.

Called by the activity `check_storage_location` with what the shared watch knows.
"""

from collections.abc import Mapping, Sequence

from operation_engine.domain.admission import Answer, Gate, refuse, wait
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.velero import StorageLocation

ANY_NAMESPACE = "*"


def allowed_locations(by_namespace: Mapping[str, Sequence[str]], namespace: str) -> tuple[str, ...]:
    """The locations that a namespace may name, by the installation's list; `*` stands for every namespace."""
    return tuple(by_namespace.get(namespace, by_namespace.get(ANY_NAMESPACE, ())))


def choose_location(
    requested: str | None, locations: Sequence[StorageLocation], allowed: Sequence[str]
) -> tuple[StorageLocation | None, Gate]:
    """The location, with a pass, a wait or a refusal. Without a request it is Velero's default one."""
    default = next((location for location in locations if location.default), None)
    if requested is None:
        return default, _usable(default, "No BackupStorageLocation is marked as Velero's default")
    open_to_all = {default.name} if default else set()
    if requested not in {*allowed, *open_to_all}:
        names = ", ".join(sorted({*allowed, *open_to_all})) or "none"
        return None, refuse(
            Reason.VALIDATION_FAILED,
            f"spec.parameters.storageLocation {requested} is not open to this namespace; open to it: {names}.",
        )
    named = next((location for location in locations if location.name == requested), None)
    return named, _usable(named, f"There is no BackupStorageLocation {requested}")


def _usable(location: StorageLocation | None, absent: str) -> Gate:
    if location is None:
        return wait(Reason.STORAGE_LOCATION_UNAVAILABLE, f"{absent} in Velero's namespace. Waiting for one.")
    if location.access_mode == "ReadOnly":
        return wait(
            Reason.STORAGE_LOCATION_UNAVAILABLE,
            f"Storage location {location.name} is ReadOnly; a backup needs ReadWrite. Waiting for a change.",
        )
    if location.phase == "Available":
        return Gate(answer=Answer.PASS, message=f"Storage location {location.name} is Available.")
    why = location.message or "Velero has not validated it yet"
    return wait(
        Reason.STORAGE_LOCATION_UNAVAILABLE,
        f"Storage location {location.name} is {location.phase or 'not validated'}: {why}. "
        "Waiting until Velero finds it Available.",
    )

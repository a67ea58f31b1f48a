"""The activity that backs a Restore's destination up before it is touched. Followed and verified as any Backup is."""

from temporalio import activity

from activities.creating import create_once
from activities.operations import own_run
from activities.safeguard_requests import SafetyCreated, SafetyRequest
from operation_engine.domain import safety
from operation_engine.domain.admission import Answer
from operation_engine.domain.locations import choose_location
from operation_engine.domain.velero import StorageLocation, marks_of
from operation_engine.records.operations import OperationStore
from operation_engine.runtime.kubernetes import BACKUPS, NAMESPACES, KubernetesApi, Manifest, Refused
from operation_engine.runtime.watching import Reflector

MAX_NUMBERS = 100


class SafetyActivities:
    """Verbs on safety backups."""

    def __init__(
        self,
        api: KubernetesApi,
        store: OperationStore,
        locations: Reflector[StorageLocation],
        *,
        velero_namespace: str,
        cluster_id: str,
    ) -> None:
        self._api, self._store, self._locations = api, store, locations
        self._velero_namespace, self._cluster_id = velero_namespace, cluster_id

    @activity.defn
    async def create_safety_backup(self, request: SafetyRequest) -> SafetyCreated:
        """A safety backup of this run, with that number or the next free one; tried again it is the same one.

        What a run before a Reset has saved is of its time: the destination may have changed since.
        """
        status = await self._store.write_in_attempt(request.ref, own_run(), request.report)
        operation = await self._store.current(request.ref)
        like = await self._api.get(BACKUPS, request.backup_name, self._velero_namespace)
        marks = marks_of(await self._api.get(NAMESPACES, request.destination), self._cluster_id)
        location = self._location()
        for number in range(request.number, request.number + MAX_NUMBERS):
            manifest = safety.backup_manifest(
                operation, number, request.destination, self._velero_namespace, marks, like, own_run().run_id
            )
            manifest["spec"]["storageLocation"] = location
            if await self._is_made(manifest):
                name = manifest["metadata"]["name"]
                return SafetyCreated(status=status, name=name, velero_namespace=self._velero_namespace, number=number)
        raise Refused(f"there are {MAX_NUMBERS} safety backups of this Operation already")

    def _location(self) -> str:
        """Velero's default one, whatever the restored backup lies in. Raises Refused where it takes nothing now."""
        known = sorted(self._locations.index.values(), key=lambda location: location.name)
        location, gate = choose_location(None, known, ())
        if location is None or gate.answer != Answer.PASS:
            raise Refused(gate.message)
        return location.name

    async def _is_made(self, manifest: Manifest) -> bool:
        """Whether this Backup is there now, made by this run. Raises Refused where a stranger has its name."""
        found = (await create_once(self._api, BACKUPS, manifest))["metadata"]
        return (found.get("annotations") or {}).get(safety.RUN_ANNOTATION) == own_run().run_id

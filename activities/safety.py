"""The activity that backs a Restore's destination up before it is touched. Followed and verified as any Backup is."""

from temporalio import activity

from activities.creating import create_once
from activities.operations import own_run
from activities.requests import Created
from activities.safeguard_requests import SafetyRequest
from operation_engine.domain import identity, safety
from operation_engine.domain.velero import Marks
from operation_engine.records.operations import OperationStore
from operation_engine.runtime.kubernetes import BACKUPS, NAMESPACES, KubernetesApi


class SafetyActivities:
    """Verbs on safety backups."""

    def __init__(self, api: KubernetesApi, store: OperationStore, *, velero_namespace: str, cluster_id: str) -> None:
        self._api, self._store = api, store
        self._velero_namespace, self._cluster_id = velero_namespace, cluster_id

    @activity.defn
    async def create_safety_backup(self, request: SafetyRequest) -> Created:
        """The Operation's safety backup of that number: its name is known beforehand, so there is one of each."""
        status = await self._store.write(request.ref, own_run(), request.report)
        operation = await self._store.current(request.ref)
        like = await self._api.get(BACKUPS, request.backup_name, self._velero_namespace)
        namespace = (await self._api.get(NAMESPACES, request.destination))["metadata"]
        marks = Marks(
            cluster_id=self._cluster_id,
            source_namespace_uid=namespace["uid"],
            restore_to=(namespace.get("annotations") or {}).get(identity.RESTORE_TO_ANNOTATION),
        )
        manifest = safety.backup_manifest(
            operation, request.number, request.destination, self._velero_namespace, marks, like
        )
        made = await create_once(self._api, BACKUPS, manifest)
        return Created(status=status, name=made["metadata"]["name"], velero_namespace=self._velero_namespace)

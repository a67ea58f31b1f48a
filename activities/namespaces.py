"""Activities on the two namespaces of a Restore: whether both agree, and making a destination that is missing.

The rules are pure, in `domain.consent`. Called for every attempt: consent can be taken back.
"""

from collections.abc import Mapping, Sequence

from temporalio import activity

from activities.operations import own_run
from activities.requests import StepRequest
from activities.safeguard_requests import ConsentAnswer, ConsentRequest
from operation_engine.domain import consent
from operation_engine.domain.admission import Gate, refuse
from operation_engine.domain.consent import BackupOrigin, Facts, NamespaceFacts, Route
from operation_engine.domain.identity import OPERATION_LABEL
from operation_engine.domain.resources.operation import Operation
from operation_engine.domain.resources.operation_status import OperationStatus
from operation_engine.domain.resources.reasons import Reason
from operation_engine.records.operations import OperationStore
from operation_engine.runtime.kubernetes import BACKUPS, NAMESPACES, Conflict, KubernetesApi, NotFound, Refused


class NamespaceActivities:
    """Verbs on namespaces."""

    def __init__(
        self,
        api: KubernetesApi,
        store: OperationStore,
        *,
        velero_namespace: str,
        cluster_id: str,
        require_managed_namespace: bool,
        new_namespace_prefixes: Mapping[str, Sequence[str]],
    ) -> None:
        self._api, self._store = api, store
        self._velero_namespace, self._cluster_id = velero_namespace, cluster_id
        self._require_managed, self._prefixes = require_managed_namespace, new_namespace_prefixes

    @activity.defn
    async def check_consent(self, request: ConsentRequest) -> ConsentAnswer:
        """Whether the backup's data may go where the Operation wants it."""
        status = await self._store.write(request.ref, own_run(), request.report)
        return await self.consent(await self._store.current(request.ref), request.backup_name, status)

    async def consent(self, operation: Operation, backup_name: str, status: OperationStatus) -> ConsentAnswer:
        """The same without a write; `status` as it stands."""
        way = consent.route(operation)
        if isinstance(way, Gate):
            return ConsentAnswer(status=status, gate=way)
        try:
            backup = await self._api.get(BACKUPS, backup_name, self._velero_namespace)
            facts = await self._facts(operation, way, consent.observe_origin(backup))
        except NotFound:
            gone = f"Velero Backup {backup_name} is gone: it expired, or somebody deleted it."
            return ConsentAnswer(status=status, gate=refuse(Reason.BACKUP_NOT_FOUND, gone))
        found = consent.check(way, facts)
        return ConsentAnswer(
            status=status,
            gate=found.gate,
            source=way.source,
            destination=way.destination,
            creates_destination=found.creates_destination,
            approval_because=found.approval_because,
            identities=(
                backup["metadata"]["uid"],
                facts.source.uid if facts.source else "",
                facts.destination.uid if facts.destination else "",
            ),
        )

    @activity.defn
    async def create_destination(self, request: StepRequest) -> OperationStatus:
        """Make the destination that `check_consent` allowed to be made. Raises Refused where somebody else did."""
        status = await self._store.write(request.ref, own_run(), request.report)
        operation = await self._store.current(request.ref)
        way = consent.route(operation)
        if isinstance(way, Gate):
            raise Refused(way.message)
        manifest = consent.destination_manifest(way, request.ref.uid)
        try:
            await self._api.create(NAMESPACES, manifest)
        except Conflict as error:
            found = await self._api.get(NAMESPACES, way.destination)
            if (found["metadata"].get("labels") or {}).get(OPERATION_LABEL) != request.ref.uid:
                raise Refused(f"Namespace {way.destination} was made by somebody else meanwhile.") from error
        return status

    async def _facts(self, operation: Operation, way: Route, backup: BackupOrigin) -> Facts:
        source = await self._namespace(way.source)
        is_home = way.source == way.destination
        return Facts(
            backup=backup,
            source=source,
            destination=source if is_home else await self._namespace(way.destination),
            operation_uid=operation.metadata.uid,
            cluster_id=self._cluster_id,
            require_managed_namespace=self._require_managed,
            new_namespace_prefixes=consent.prefixes(self._prefixes, way.own),
        )

    async def _namespace(self, name: str) -> NamespaceFacts | None:
        try:
            return consent.observe_namespace(await self._api.get(NAMESPACES, name))
        except NotFound:
            return None

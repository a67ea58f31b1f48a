"""The activities behind a Restore's safeguards, put together for the worker."""

from collections.abc import Callable
from dataclasses import dataclass

from activities.approvals import ApprovalActivities
from activities.artefacts import Artefacts
from activities.namespaces import NamespaceActivities
from activities.releases import ReleaseActivities
from activities.safety import SafetyActivities
from activities.workloads import WorkloadActivities
from operation_engine.domain.velero import StorageLocation
from operation_engine.records.operations import OperationStore
from operation_engine.records.spent_claims import SpentClaims
from operation_engine.records.suspension import Suspensions
from operation_engine.runtime.kubernetes import KubernetesApi
from operation_engine.runtime.settings import Settings
from operation_engine.runtime.watching import Reflector


@dataclass(frozen=True)
class Safeguarding:
    """What stands between a Restore and the data of others."""

    namespaces: NamespaceActivities
    approvals: ApprovalActivities
    releases: ReleaseActivities
    safety: SafetyActivities
    workloads: WorkloadActivities
    suspensions: Suspensions

    @property
    def short(self) -> list[Callable[..., object]]:
        """Activities that answer at once."""
        return [
            self.namespaces.check_consent,
            self.namespaces.create_destination,
            self.approvals.check_approval,
            self.releases.resume_releases,
            self.safety.create_safety_backup,
            self.workloads.survey_destination,
            self.workloads.plan_replacement,
        ]

    @property
    def waits(self) -> list[Callable[..., object]]:
        """Activities that heartbeat for as long as the outside takes."""
        return [self.releases.suspend_releases, self.workloads.delete_replaced]


def safeguarding(
    settings: Settings,
    api: KubernetesApi,
    store: OperationStore,
    artefacts: Artefacts,
    locations: Reflector[StorageLocation],
    cluster_id: str,
) -> Safeguarding:
    """As the installation's settings want it."""
    velero, suspensions = settings.velero_namespace, Suspensions(api)
    return Safeguarding(
        namespaces=NamespaceActivities(
            api,
            store,
            velero_namespace=velero,
            cluster_id=cluster_id,
            require_managed_namespace=settings.require_managed_namespace,
            new_namespace_prefixes=settings.new_namespace_prefixes,
        ),
        approvals=ApprovalActivities(
            store,
            SpentClaims(api, settings.engine_namespace),
            settings.approvals_mode,
            settings.approval_secret_file,
            guarded=settings.approved_by_guarded,
        ),
        releases=ReleaseActivities(store, suspensions),
        safety=SafetyActivities(api, store, locations, velero_namespace=velero, cluster_id=cluster_id),
        workloads=WorkloadActivities(api, store, artefacts, locations, velero),
        suspensions=suspensions,
    )

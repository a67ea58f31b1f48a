"""The safety backup: what a namespace holds before something is restored into it, and how that is saved. Pure.

The activity `survey_destination` counts; only names and labels are read, never what is in a Secret.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from operation_engine.domain import identity
from operation_engine.domain.identity import OperationRef, Role
from operation_engine.domain.resources.common import ApiModel, format_go_duration
from operation_engine.domain.resources.operation import Operation
from operation_engine.domain.velero import NEVER_BACKED_UP, Marks, item_operation_timeout, labels

# Kubernetes and its distributions put these into every namespace by themselves.
DEFAULT_CONFIG_MAPS = frozenset({"kube-root-ca.crt", "openshift-service-ca.crt", "istio-ca-root-cert"})
_SERVICE_ACCOUNT = "kubernetes.io/service-account.name"
TTL = timedelta(days=30)
_VOLUME_OPTIONS = ("snapshotVolumes", "snapshotMoveData", "defaultVolumesToFsBackup")
_SNAPSHOT_CLASS = "velero.io/csi-volumesnapshot-class_"


class Holdings(ApiModel):
    """How many objects of each kind there are, by the plural that people know; nothing that is there by default."""

    counts: Mapping[str, int] = {}

    @property
    def is_empty(self) -> bool:
        return not any(self.counts.values())

    def __str__(self) -> str:
        return ", ".join(f"{count} {plural}" for plural, count in sorted(self.counts.items()) if count) or "nothing"


def is_default(plural: str, manifest: Mapping[str, Any]) -> bool:
    """Whether an object is there without anybody's doing; from its metadata alone."""
    meta = manifest["metadata"]
    if plural == "configmaps":
        return meta["name"] in DEFAULT_CONFIG_MAPS
    if plural == "secrets":
        return _SERVICE_ACCOUNT in (meta.get("annotations") or {})
    return False


def wants_safety_backup(asked: bool | None, holdings: Holdings) -> bool:
    """`spec.parameters.safetyBackup` decides; where it is absent, whether there is something that could be lost."""
    return not holdings.is_empty if asked is None else asked


def backup_name(ref: OperationRef, number: int) -> str:
    """The name of an Operation's safety backup; there is a second one only where the first did not succeed."""
    return identity.velero_name(ref, Role.SAFETY, number)


def backup_manifest(
    operation: Operation, number: int, destination: str, velero_namespace: str, marks: Marks, like: Mapping[str, Any]
) -> dict[str, Any]:
    """The Velero Backup of a whole destination. Volumes are taken as in the backup that will be restored (`like`)."""
    meta = operation.metadata
    ref = OperationRef(namespace=meta.namespace or "", name=meta.name, uid=meta.uid)
    given, spec = like["metadata"].get("annotations") or {}, like.get("spec") or {}
    annotations = {key: value for key, value in given.items() if key.startswith(_SNAPSHOT_CLASS)}
    annotations[identity.SOURCE_NAMESPACE_UID_ANNOTATION] = marks.source_namespace_uid
    if marks.restore_to:
        annotations[identity.RESTORE_TO_ANNOTATION] = marks.restore_to
    return {
        "apiVersion": "velero.io/v1",
        "kind": "Backup",
        "metadata": {
            "name": backup_name(ref, number),
            "namespace": velero_namespace,
            "labels": labels(operation, Role.SAFETY, number, marks.cluster_id),
            "annotations": annotations,
        },
        "spec": {
            "includedNamespaces": [destination],
            "excludedResources": list(NEVER_BACKED_UP),
            "itemOperationTimeout": format_go_duration(item_operation_timeout(operation)),
            "ttl": format_go_duration(TTL),
            **{key: spec[key] for key in _VOLUME_OPTIONS if spec.get(key) is not None},
        },
    }

"""`spec.parameters`: the keys of every type in one object, because the API server's schema cannot choose by type.

Which key belongs to which type stands in `parameters.py`; it reads the names from here.
"""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from operation_engine.domain.resources.common import ApiModel, DurationText, Labels, Name, Namespace, ObjectName, Url
from operation_engine.domain.resources.schema import Keywords


class ExistingVolumes(StrEnum):
    """What a restore does with volumes that exist."""

    KEEP = "Keep"
    REPLACE = "Replace"


class ExistingResourcePolicy(StrEnum):
    """What a restore does with objects that exist."""

    NONE = "none"
    UPDATE = "update"


class Cleanup(StrEnum):
    """What a retry does with the leftovers of the attempt before."""

    KEEP = "Keep"
    DELETE_RESTORED = "DeleteRestored"


class Rollback(StrEnum):
    """What goes back when an upgrade fails."""

    RELEASE_AND_DATA = "ReleaseAndData"
    RELEASE = "Release"
    NONE = "None"


class SelectorOperator(StrEnum):
    """How a label is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class SelectorRequirement(ApiModel):
    """One comparison of a label selector."""

    key: Annotated[str, Keywords(min_length=1, max_length=317)] = Field(description="The label's key.")
    operator: SelectorOperator = Field(description="How the label is compared: In, NotIn, Exists or DoesNotExist.")
    values: Annotated[tuple[Annotated[str, Keywords(max_length=63)], ...], Keywords(max_items=64)] = Field(
        default=(), description="The values for In and NotIn; empty for the others."
    )


class LabelSelector(ApiModel):
    """Kubernetes' label selector; all of it must match."""

    match_labels: Labels = Field(default_factory=dict, description="Labels that must have exactly these values.")
    match_expressions: Annotated[tuple[SelectorRequirement, ...], Keywords(max_items=32)] = Field(
        default=(), description="Further comparisons, all of which must match."
    )


class HttpCheck(ApiModel):
    """A request that must be answered as expected."""

    url: Annotated[Url, Keywords(min_length=1)] = Field(
        description="A Service of the destination namespace, or the host of one of its Ingresses, such as "
        "http://web.shop.svc/healthz. Other addresses are refused."
    )
    expect_status: Annotated[int | None, Keywords(minimum=100, maximum=599)] = Field(
        default=None, description="The status code that is expected. Default: 200."
    )
    timeout: DurationText | None = Field(default=None, description="How long one request may take. Default: 10s.")


class Verify(ApiModel):
    """What must hold after the work for it to count as done."""

    workloads_ready: bool | None = Field(
        default=None, description="All Deployments, StatefulSets and DaemonSets roll out. Default: true."
    )
    volumes_bound: bool | None = Field(default=None, description="All PersistentVolumeClaims are bound. Default: true.")
    min_items: Annotated[int | None, Keywords(minimum=0, maximum=1_000_000)] = Field(
        default=None, description="At least this many items were restored."
    )
    http: HttpCheck | None = Field(default=None, description="A request that must be answered as expected.")
    timeout: DurationText | None = Field(default=None, description="How long to wait for all of it. Default: 10m.")


ResourceNames = Annotated[tuple[Annotated[str, Keywords(min_length=1, max_length=317)], ...], Keywords(max_items=128)]
NameMap = Annotated[dict[str, Annotated[str, Keywords(max_length=253)]], Keywords(max_properties=64)]


class Parameters(ApiModel):
    """What the type needs to know. Keys that are not known are kept, so that the engine can refuse them by name."""

    model_config = ConfigDict(extra="allow")

    # Backup
    storage_location: ObjectName | None = Field(
        default=None,
        description="Backup: the Velero BackupStorageLocation, from the installation's list for this namespace. "
        "Default: Velero's default location.",
    )
    ttl: DurationText | None = Field(
        default=None,
        description="Backup: how long Velero keeps the backup, such as 30d or 720h. Default: 720h.",
    )
    retention: DurationText | None = Field(default=None, description="Backup: the same as ttl; give one of the two.")
    snapshot_volumes: bool | None = Field(
        default=None,
        description="Backup: take snapshots of persistent volumes. Default: as Velero is set up.",
    )
    snapshot_move_data: bool | None = Field(
        default=None,
        description="Backup: move the data of CSI snapshots to the storage location. Default: false.",
    )
    default_volumes_to_fs_backup: bool | None = Field(
        default=None,
        description="Backup: copy volumes file by file instead of taking snapshots. Default: as Velero is set up.",
    )
    csi_snapshot_class_name: ObjectName | None = Field(
        default=None,
        description="Backup: the VolumeSnapshotClass for CSI snapshots. Default: the driver's own.",
    )
    snapshot_class_name: ObjectName | None = Field(
        default=None, description="Backup: the same as csiSnapshotClassName; give one of the two."
    )

    # Backup and Restore
    included_resources: ResourceNames | None = Field(
        default=None,
        description="Backup, Restore: only these kinds of object, such as deployments.apps. Default: all of them.",
    )
    excluded_resources: ResourceNames | None = Field(
        default=None,
        description="Backup, Restore: not these kinds of object. Operations and Leases never are included.",
    )
    label_selector: LabelSelector | None = Field(
        default=None, description="Backup, Restore: only objects whose labels match."
    )
    item_operation_timeout: DurationText | None = Field(
        default=None,
        description="Backup, Restore: how long Velero waits for one asynchronous item, such as moving data. "
        "Default: 4h, at most policy.timeout.",
    )

    # Restore
    backup_name: Name | None = Field(
        default=None,
        description="Restore: what to restore from, a Velero Backup or a Backup Operation of the source namespace. "
        "Required for a Restore.",
    )
    namespace_mapping: Annotated[dict[str, Namespace], Keywords(max_properties=16)] | None = Field(
        default=None,
        description="Restore: one pair, source namespace to destination namespace; one of the two is the Operation's "
        "own, the other one has to consent. Default: back into the Operation's own namespace.",
    )
    restore_pvs: bool | None = Field(
        default=None,
        description="Restore: bring back persistent volumes from snapshots. Default: as Velero decides.",
    )
    existing_resource_policy: ExistingResourcePolicy | None = Field(
        default=None,
        description="Restore: none (default) leaves objects that exist as they are, update overwrites them.",
    )
    storage_class_mapping: NameMap | None = Field(
        default=None, description="Restore: old storage class to new storage class, for this restore alone."
    )
    existing_volumes: ExistingVolumes | None = Field(
        default=None,
        description="Restore: Keep (default) leaves volumes that exist alone, and their data is NOT restored. Replace "
        "stops the workloads and deletes those volumes first.",
    )
    safety_backup: bool | None = Field(
        default=None,
        description="Restore: back up the destination first. Default: true where something would be overwritten.",
    )
    cleanup: Cleanup | None = Field(
        default=None,
        description="Restore: what a retry does with what the attempt before left. Keep (default), or DeleteRestored: "
        "delete what that attempt created.",
    )

    # Restore and Upgrade
    verify: Verify | None = Field(
        default=None, description="Restore, Upgrade: what must hold afterwards for the work to count as done."
    )

    # Upgrade
    target_version: Annotated[str | None, Keywords(min_length=1, max_length=128)] = Field(
        default=None, description="Upgrade: the chart version to go to. Required for an Upgrade."
    )
    values_patch: Annotated[dict[str, Any], Keywords(max_properties=256)] | None = Field(
        default=None, description="Upgrade: values merged into the release's own; null removes a value."
    )
    backup: bool | None = Field(default=None, description="Upgrade: make a verified backup first. Default: true.")
    rollback: Rollback | None = Field(
        default=None,
        description="Upgrade: what goes back when it fails. ReleaseAndData (default; data only if nothing was served "
        "by the new version), Release, or None.",
    )
    allow_gitops_managed: bool | None = Field(
        default=None,
        description="Upgrade: go on although a GitOps tool owns the release and may undo the change. Default: false.",
    )

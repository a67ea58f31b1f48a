"""The Cluster: this Kubernetes cluster and its link to Odoo, as one cluster-scoped object. The agent keeps it."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from operation_engine.domain.resources.common import (
    ApiModel,
    Count,
    Line,
    Name,
    Namespace,
    ObjectMeta,
    Timestamp,
    Url,
)
from operation_engine.domain.resources.conditions import Condition, lenient
from operation_engine.domain.resources.schema import Keywords

API_VERSION: Final = "ops.vworkspace.io/v1alpha1"


class ClusterPhase(StrEnum):
    """The summary of the link to Odoo."""

    PENDING = "Pending"
    REGISTERING = "Registering"
    CONNECTED = "Connected"
    DISCONNECTED = "Disconnected"
    ERROR = "Error"
    TERMINATING = "Terminating"


class ClusterConditionType(StrEnum):
    """The conditions of a Cluster."""

    CONNECTED = "Connected"
    DISCONNECTED = "Disconnected"
    AUTHENTICATED = "Authenticated"
    CONTROLLERS_HEALTHY = "ControllersHealthy"
    BUFFER_OVERFLOW = "BufferOverflow"


class ClusterReason(StrEnum):
    """Why a Cluster's condition is what it is, where something is wrong."""

    ODOO_UNREACHABLE = "OdooUnreachable"
    REGISTRATION_TOKEN_INVALID = "RegistrationTokenInvalid"  # noqa: S105 - a reason, not a token
    CREDENTIAL_REVOKED = "CredentialRevoked"
    CONTROLLER_MISSING = "ControllerMissing"
    CONTROLLER_DEGRADED = "ControllerDegraded"


class Channel(StrEnum):
    """Which releases of the engine the cluster follows."""

    STABLE = "stable"
    CANDIDATE = "candidate"
    EDGE = "edge"


class SecretKeyRef(ApiModel):
    """A key of a Secret in the engine's namespace."""

    name: Name = Field(description="Name of the Secret, in the engine's namespace.")
    key: Annotated[str | None, Keywords(min_length=1, max_length=253)] = Field(
        default=None, description="Key in the Secret. Default: registrationToken."
    )


class Capabilities(ApiModel):
    """Reserved for the public operator; the engine looks for Velero and Flux itself."""

    flux: bool | None = Field(default=None, description="Reserved.")
    velero: bool | None = Field(default=None, description="Reserved.")


class Upgrade(ApiModel):
    """Which version of the engine the cluster is to run."""

    channel: Channel | None = Field(
        default=None, description="Which releases to follow: stable (default), candidate or edge."
    )
    pinned_version: Annotated[str | None, Keywords(max_length=128)] = Field(
        default=None, description="Stay at this version, whatever the channel offers."
    )


class ClusterSpec(ApiModel):
    """Who this cluster is and where Odoo is."""

    cluster_id: Annotated[str | None, Keywords(max_length=253)] = Field(
        default=None,
        description="The cluster's identity in Odoo, which stays the same for its life. Absent: Odoo gives it one when "
        "it registers.",
    )
    control_plane_endpoint: Url | None = Field(
        default=None, description="Odoo's base URL, such as https://workspace.example.org."
    )
    control_plane_base_url: Url | None = Field(
        default=None,
        description="The same as controlPlaneEndpoint, as older manifests have it; give one of the three.",
    )
    odoo_base_url: Url | None = Field(
        default=None,
        description="The same as controlPlaneEndpoint, as older manifests have it; give one of the three.",
    )
    registration_token_secret_ref: SecretKeyRef | None = Field(
        default=None, description="Where the one-time registration token is. Better than registrationToken."
    )
    registration_token: Annotated[str | None, Keywords(max_length=4096)] = Field(
        default=None,
        description="The one-time registration token itself. Everybody who may read this object can read it; the agent "
        "clears it after use.",
    )
    rotate_credentials: bool | None = Field(
        default=None,
        description="Set it to true to fetch new credentials; the agent sets it back when it has them.",
    )
    capabilities: Capabilities | None = Field(
        default=None, description="Reserved for the public operator; the engine looks for Velero and Flux itself."
    )
    upgrade: Upgrade | None = Field(default=None, description="Which version of the engine the cluster is to run.")

    @property
    def endpoint(self) -> str | None:
        """Odoo's base URL under whichever of its three names was given."""
        return self.control_plane_endpoint or self.control_plane_base_url or self.odoo_base_url


class SecretRef(ApiModel):
    """A Secret."""

    name: Name = Field(description="Name of the Secret.")
    namespace: Namespace | None = Field(default=None, description="Namespace of the Secret.")


class CredentialStatus(ApiModel):
    """How the cluster came by its credentials."""

    registered_at: Timestamp | None = Field(default=None, description="When Odoo accepted the registration.")
    registration_token_consumed: bool | None = Field(
        default=None, description="True once the registration token was used; it cannot be used again."
    )
    secret_name: Name | None = Field(default=None, description="Name of the Secret with the credentials.")
    secret_namespace: Namespace | None = Field(default=None, description="Namespace of that Secret.")


class VeleroStatus(ApiModel):
    """The Velero that the engine works with."""

    version: Line | None = Field(default=None, description="Version of the Velero server.")


class TemporalStatus(ApiModel):
    """The Temporal that the engine works with."""

    address: Line | None = Field(default=None, description="Host and port of the Temporal frontend.")
    namespace: Line | None = Field(default=None, description="Temporal namespace of the workflows.")


class OperationCounts(ApiModel):
    """How many Operations the cluster has, by what they are doing."""

    running: Count | None = Field(default=None, description="Operations at work.")
    blocked: Count | None = Field(default=None, description="Operations that wait for somebody or something.")
    awaiting_decision: Count | None = Field(default=None, description="Operations that wait for a retry or an abort.")
    failed_24h: Count | None = Field(default=None, description="Operations that failed in the last 24 hours.")


class ClusterStatus(ApiModel):
    """The link to Odoo and the health of what the engine stands on."""

    observed_generation: Annotated[int | None, Keywords(minimum=-1, format="int64")] = Field(
        default=None, description="The metadata.generation this status speaks about."
    )
    phase: Annotated[ClusterPhase | None, lenient(ClusterPhase, ClusterPhase.PENDING)] = Field(
        default=None,
        description="The summary: Pending, Registering, Connected, Disconnected, Error or Terminating.",
    )
    last_heartbeat: Timestamp | None = Field(default=None, description="When Odoo last answered.")
    credentials_secret_ref: SecretRef | None = Field(
        default=None,
        description="The Secret that holds the credentials (keys control-plane-base-url, cluster-id, token).",
    )
    credential_status: CredentialStatus | None = Field(
        default=None, description="How the cluster came by its credentials."
    )
    observed_token: Annotated[str | None, Keywords(max_length=128)] = Field(
        default=None, description="Fingerprint of the registration token that was last used, never the token."
    )
    operator_version: Line | None = Field(default=None, description="Version of the engine.")
    operator_channel: Line | None = Field(default=None, description="Release channel the engine follows.")
    velero: VeleroStatus | None = Field(default=None, description="The Velero that the engine works with.")
    temporal: TemporalStatus | None = Field(default=None, description="The Temporal that the engine works with.")
    operations: OperationCounts | None = Field(
        default=None, description="How many Operations the cluster has, by what they are doing."
    )
    conditions: Annotated[tuple[Condition, ...], Keywords(max_items=32, list_keys=("type",))] = Field(
        default=(),
        description="Connected, Disconnected, Authenticated, ControllersHealthy (Velero, Flux, Temporal, the storage "
        "location) and BufferOverflow.",
    )


class Cluster(ApiModel):
    """This Kubernetes cluster and its link to Odoo. Where another kind is called Cluster, ask for vwcluster."""

    api_version: str = API_VERSION
    kind: str = "Cluster"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: ClusterSpec = Field(description="Who this cluster is and where Odoo is.")
    status: ClusterStatus = Field(
        default_factory=ClusterStatus,
        description="The link to Odoo and the health of what the engine stands on; written by the engine alone.",
    )

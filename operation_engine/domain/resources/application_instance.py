"""The ApplicationInstance: one installed application. The engine reads it; the public operator, or Odoo, writes it."""

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field

from operation_engine.domain.resources.common import (
    ApiModel,
    Line,
    Name,
    Namespace,
    ObjectMeta,
    Timestamp,
    Url,
)
from operation_engine.domain.resources.conditions import Condition
from operation_engine.domain.resources.schema import Keywords

API_VERSION: Final = "apps.vworkspace.io/v1alpha1"
RECONCILE_ANNOTATION: Final = "apps.vworkspace.io/reconcile"

Version = Annotated[str, Keywords(min_length=1, max_length=128)]
Key = Annotated[str, Keywords(min_length=1, max_length=253)]


class ChartSource(StrEnum):
    """How a chart is fetched."""

    OCI = "oci"
    HELM = "helm"


class ValuesSource(StrEnum):
    """Where the chart's values come from."""

    INLINE = "inline"
    SECRET_REF = "secretRef"  # noqa: S105 - the name of a field
    CONFIG_MAP_REF = "configMapRef"


class Mode(StrEnum):
    """Whether a Helm release is behind the application."""

    MANAGED = "managed"
    PLACEHOLDER = "placeholder"


class AppRef(ApiModel):
    """The application in Odoo's catalogue."""

    catalog_id: Annotated[str, Keywords(min_length=1, max_length=253)] = Field(
        description="Id of the application in the catalogue, such as nextcloud."
    )


class Chart(ApiModel):
    """A Helm chart in one version."""

    source_type: ChartSource = Field(description="How the chart is fetched: oci, or helm for a chart repository.")
    url: Annotated[Url, Keywords(min_length=1)] = Field(description="The registry or the repository.")
    name: Name = Field(description="Name of the chart.")
    version: Version = Field(description="Version of the chart.")


class Release(ApiModel):
    """The Helm release."""

    name: Annotated[str, Keywords(min_length=1, max_length=53)] = Field(
        description="Name of the Helm release; Helm allows 53 characters."
    )
    namespace: Namespace = Field(
        description="Namespace of the release. The engine serves it only where this is the object's own namespace."
    )


class KeyRef(ApiModel):
    """A key of a Secret or a ConfigMap in the same namespace."""

    name: Name = Field(description="Name of the object.")
    key: Key = Field(description="Key in the object.")


class Values(ApiModel):
    """The chart's values."""

    source: ValuesSource = Field(description="Where the values are: inline, secretRef or configMapRef.")
    inline: Annotated[dict[str, Any], Keywords(max_properties=1024)] | None = Field(
        default=None, description="The values themselves."
    )
    secret_ref: KeyRef | None = Field(default=None, description="The Secret that holds them, as YAML under one key.")
    config_map_ref: KeyRef | None = Field(
        default=None, description="The ConfigMap that holds them, as YAML under one key."
    )


class Toggle(ApiModel):
    """An integration that is on or off."""

    enabled: bool | None = Field(default=None, description="Whether it is used.")


class Ingress(ApiModel):
    """How the application is reached from outside."""

    enabled: bool | None = Field(default=None, description="Whether it is reachable from outside.")
    host: Annotated[str | None, Keywords(max_length=253)] = Field(default=None, description="Host name it answers to.")


class Integrations(ApiModel):
    """What the application uses of the cluster."""

    external_secrets: Toggle | None = Field(default=None, description="External Secrets.")
    cert_manager: Toggle | None = Field(default=None, description="cert-manager.")
    ingress: Ingress | None = Field(default=None, description="How the application is reached from outside.")


class ApplicationInstanceSpec(ApiModel):
    """Which application, in which version, with which values."""

    app_ref: AppRef = Field(description="The application in Odoo's catalogue.")
    mode: Annotated[Mode | None, Keywords(default="managed")] = Field(
        default=None,
        description="managed (default): a Helm release is behind it. placeholder: nothing is installed yet.",
    )
    chart: Chart | None = Field(default=None, description="The Helm chart in one version.")
    release: Release | None = Field(default=None, description="The Helm release.")
    values: Values | None = Field(default=None, description="The chart's values.")
    integrations: Integrations | None = Field(default=None, description="What the application uses of the cluster.")


class HelmReleaseRef(ApiModel):
    """Flux's HelmRelease."""

    name: Name = Field(description="Name of the HelmRelease.")
    namespace: Namespace = Field(description="Namespace of the HelmRelease.")


class Endpoint(ApiModel):
    """One address of the application."""

    name: Annotated[str, Keywords(max_length=253)] = Field(description="What it is called.")
    url: Url = Field(description="The address.")
    type: Line | None = Field(default=None, description="What kind of address it is.")
    notes: Annotated[str | None, Keywords(max_length=1024)] = Field(default=None, description="What to know about it.")


class ApplicationInstanceStatus(ApiModel):
    """How the application is."""

    observed_generation: Annotated[int | None, Keywords(minimum=-1, format="int64")] = Field(
        default=None, description="The metadata.generation this status speaks about."
    )
    conditions: Annotated[tuple[Condition, ...], Keywords(max_items=32, list_keys=("type",))] = Field(
        default=(), description="Ready, Reconciling, Degraded, Blocked and Suspended."
    )
    helm_release_ref: HelmReleaseRef | None = Field(default=None, description="Flux's HelmRelease.")
    last_applied_chart: Chart | None = Field(default=None, description="The chart that was last applied.")
    last_reconcile_time: Timestamp | None = Field(default=None, description="When it was last reconciled.")
    endpoints: Annotated[tuple[Endpoint, ...], Keywords(max_items=64)] = Field(
        default=(), description="Addresses of the application."
    )


class ApplicationInstance(ApiModel):
    """One installed application. The annotation apps.vworkspace.io/reconcile=disabled pauses it."""

    api_version: str = API_VERSION
    kind: str = "ApplicationInstance"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: ApplicationInstanceSpec = Field(description="Which application, in which version, with which values.")
    status: ApplicationInstanceStatus = Field(
        default_factory=ApplicationInstanceStatus, description="How the application is."
    )

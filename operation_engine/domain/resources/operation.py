"""The Operation: one backup, restore or upgrade of one namespace, as a custom resource."""

from typing import Annotated, ClassVar, Final

from pydantic import Field

from operation_engine.domain.resources.common import ApiModel, ObjectMeta
from operation_engine.domain.resources.operation_spec import OperationSpec
from operation_engine.domain.resources.operation_status import OperationStatus
from operation_engine.domain.resources.schema import Keywords, Rule

GROUP: Final = "ops.vworkspace.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"


class Operation(ApiModel):
    """One backup, restore or upgrade. The engine turns it into a Temporal workflow and reports in its status."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            rule="size(self.metadata.name) <= 63",
            message="metadata.name must have at most 63 characters: labels and Velero's objects carry it",
            on_create_only=True,
        ),
        # A new generation that nobody observes any more would leave `kubectl wait` and kstatus waiting for ever.
        Rule(
            rule="!(oldSelf.?status.?phase.orValue('') in ['Succeeded', 'Failed', 'Cancelled'])"
            " || (self.spec == oldSelf.spec && oldSelf.spec == self.spec)",
            message="spec of an Operation that has ended cannot be changed: create a new Operation instead",
            field_path=".spec",
            reason="FieldValueForbidden",
        ),
    )

    api_version: str = API_VERSION
    kind: str = "Operation"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: OperationSpec = Field(description="What to do, to what, and how.")
    status: Annotated[OperationStatus, Keywords(default={"observedGeneration": -1, "phase": "Pending"})] = Field(
        default_factory=OperationStatus,
        description="Where the Operation is; written by the engine alone.",
    )

"""Conditions, as Kubernetes' conventions have them; shared by the three resources."""

from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, Field

from operation_engine.domain.resources.common import ApiModel, Message, SecondsTimestamp
from operation_engine.domain.resources.schema import Keywords

_Member = TypeVar("_Member", bound=StrEnum)


class ConditionType(StrEnum):
    """The conditions of an Operation. Ready, Reconciling and Stalled are what kstatus (Flux, Helm, Argo CD) reads."""

    ACCEPTED = "Accepted"
    BLOCKED = "Blocked"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    DEGRADED = "Degraded"
    VERIFIED = "Verified"
    ROLLED_BACK = "RolledBack"


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


def lenient(enum: type[_Member], fallback: _Member) -> BeforeValidator:
    """Read a value that a newer version wrote as `fallback`: a status must never fail to parse."""
    known = {str(member) for member in enum}
    return BeforeValidator(lambda value: value if value in known else fallback)


class Condition(ApiModel):
    """One condition."""

    # A plain string: a newer version may have more of them, and other resources have their own.
    type: Annotated[
        str,
        Keywords(max_length=316, min_length=1),
        Field(description="What the condition is about, such as Succeeded or Blocked."),
    ]
    status: Annotated[
        ConditionStatus,
        lenient(ConditionStatus, ConditionStatus.UNKNOWN),
        Field(description="Whether it holds: True, False or Unknown."),
    ]
    observed_generation: Annotated[
        int | None,
        Keywords(minimum=0, format="int64"),
        Field(description="The metadata.generation that this condition speaks about."),
    ] = None
    last_transition_time: SecondsTimestamp = Field(
        description="When the status last changed from one value to another."
    )
    reason: Annotated[
        str,
        Keywords(min_length=1, max_length=256, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
        Field(description="Why, as one CamelCase word for programs; the troubleshooting page has a row for each."),
    ]
    message: Message = Field(default="", description="What happened and what to do next, for people.")

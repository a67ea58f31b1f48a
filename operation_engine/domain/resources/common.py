"""The base of every API model, and the two scalars Kubernetes leaves to us: durations and timestamps."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)
from pydantic.alias_generators import to_camel

from operation_engine.domain.resources.schema import Keywords, Rule

# Kubernetes writes initialisms in capitals; an alias on the field itself would rename the constructor's argument.
_SPELLED: Final = {
    "restore_pvs": "restorePVs",
    "allow_gitops_managed": "allowGitOpsManaged",
    "failed_24h": "failed24h",
}


def api_name(name: str) -> str:
    """The name of a field in Kubernetes: `storage_location` is `storageLocation`."""
    return _SPELLED.get(name) or to_camel(name)


class ApiModel(BaseModel):
    """A frozen value with Kubernetes' field names; keys it does not know are ignored, null is absent."""

    model_config = ConfigDict(
        frozen=True, alias_generator=api_name, populate_by_name=True, serialize_by_alias=True, extra="ignore"
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        known = _api_names(cls)
        return {key: value for key, value in data.items() if value is not None or key not in known}

    @classmethod
    def from_api(cls, data: Mapping[str, Any]) -> Self:
        """Parse what the API server holds. Python's field names do not count there, as `model_validate` lets them."""
        return cls.model_validate(data, by_alias=True, by_name=False)

    def to_api(self) -> dict[str, Any]:
        """The JSON form for the API server; absent fields are left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


@cache
def _api_names(model: type[ApiModel]) -> frozenset[str]:
    return frozenset(api_name(name) for name in model.model_fields)


def _milliseconds(moment: datetime) -> datetime:
    moment = moment.astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _seconds(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


def _rfc3339_milliseconds(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def rfc3339_seconds(moment: datetime) -> str:
    """As Kubernetes writes it, whose clock has whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


# Cut when the value is made, not when it is written: a status must equal itself after a trip through the API server.
Timestamp = Annotated[
    AwareDatetime,
    AfterValidator(_milliseconds),
    PlainSerializer(_rfc3339_milliseconds, when_used="json-unless-none"),
    Keywords(format="date-time"),
]
# metav1.Time has whole seconds; conditions and metadata use it.
SecondsTimestamp = Annotated[
    AwareDatetime,
    AfterValidator(_seconds),
    PlainSerializer(rfc3339_seconds, when_used="json-unless-none"),
    Keywords(format="date-time"),
]

_UNITS: Final = {
    "ns": Decimal("0.001"),
    "us": Decimal(1),
    "µs": Decimal(1),
    "μs": Decimal(1),
    "ms": Decimal(1_000),
    "s": Decimal(1_000_000),
    "m": Decimal(60_000_000),
    "h": Decimal(3_600_000_000),
    "d": Decimal(86_400_000_000),
}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|μs|ms|s|m|h|d)", re.ASCII)
# What Go's time.Duration (int64 nanoseconds) can hold, as Velero reads it; in whole days.
_LONGEST: Final = timedelta(days=106_751)

DURATION_PATTERN: Final = r"^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h|d))+)$"
DurationText = Annotated[str, Keywords(pattern=DURATION_PATTERN, max_length=32)]

# DNS-1123 subdomain, as the API server has it for objects' names; what is not one could lead a request elsewhere.
OBJECT_NAME_PATTERN: Final = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
ObjectName = Annotated[str, Keywords(min_length=1, max_length=253, pattern=OBJECT_NAME_PATTERN)]
Name = Annotated[str, Keywords(min_length=1, max_length=253)]
Namespace = Annotated[str, Keywords(min_length=1, max_length=63)]
Line = Annotated[str, Keywords(max_length=256)]
Message = Annotated[str, Keywords(max_length=1024)]
Url = Annotated[str, Keywords(max_length=2048)]
Count = Annotated[int, Keywords(minimum=0, format="int64")]
Labels = Annotated[dict[str, Annotated[str, Keywords(max_length=63)]], Keywords(max_properties=64)]


def parse_duration(text: str) -> timedelta:
    """Read `1h30m`, `500ms`, `0s`, and `30d` besides (Go has no days). ValueError says what is wrong, as a sentence."""
    parts = _PART.findall(text)
    if text != "0" and (not parts or "".join(number + unit for number, unit in parts) != text):
        raise ValueError(
            f'"{text}" is not a duration: write a number and a unit (ms, s, m, h, d), such as 1h30m or 30d'
        )
    microseconds = sum((Decimal(number) * _UNITS[unit] for number, unit in parts), Decimal(0))
    if microseconds > _LONGEST / timedelta(microseconds=1):
        raise ValueError(f'"{text}" is longer than {_LONGEST.days}d, the longest duration there is')
    return timedelta(microseconds=int(microseconds))


def format_go_duration(duration: timedelta) -> str:
    """Write a duration as Go's Duration.String does, which has no days: 30 days are `720h0m0s`."""
    if duration < timedelta(0):
        raise ValueError("a duration cannot be negative")
    seconds, microseconds = divmod(duration // timedelta(microseconds=1), 1_000_000)
    fraction = f".{microseconds:06d}".rstrip("0") if microseconds else ""
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}{fraction}s"
    return f"{minutes}m{seconds}{fraction}s" if minutes else f"{seconds}{fraction}s"


class ObjectMeta(ApiModel):
    """The part of an object's metadata that decisions need."""

    name: str = ""
    namespace: str | None = None
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    creation_timestamp: SecondsTimestamp | None = None
    deletion_timestamp: SecondsTimestamp | None = None

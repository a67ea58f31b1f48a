"""An Operation's policy with its defaults filled in: the clocks of `spec.policy`."""

from datetime import timedelta

from operation_engine.domain.resources.common import ApiModel, parse_duration
from operation_engine.domain.resources.operation_spec import OperationSpec, OperationType

_ATTEMPT = {OperationType.UPGRADE: timedelta(hours=1)}
_DECISION = {OperationType.BACKUP: timedelta(0)}


class Clocks(ApiModel):
    """How long one attempt may work, each wait may last, and each decision may take."""

    timeout: timedelta
    wait_timeout: timedelta
    decision_timeout: timedelta


def clocks_of(spec: OperationSpec) -> Clocks:
    """The clocks of this Operation. Raises ValueError for a duration that does not parse."""
    policy = spec.policy
    return Clocks(
        timeout=_or(policy.timeout, _ATTEMPT.get(spec.type, timedelta(hours=4))),
        wait_timeout=_or(policy.wait_timeout, timedelta(hours=72)),
        decision_timeout=_or(policy.decision_timeout, _DECISION.get(spec.type, timedelta(hours=72))),
    )


class Verification(ApiModel):
    """What must hold after a restore, with the defaults filled in."""

    workloads_ready: bool = True
    volumes_bound: bool = True
    url: str | None = None
    timeout: timedelta = timedelta(minutes=10)


def verification_of(spec: OperationSpec) -> Verification:
    """What this Operation asks to be verified. Raises ValueError for a duration that does not parse."""
    verify = spec.parameters.verify
    if verify is None:
        return Verification()
    return Verification(
        workloads_ready=verify.workloads_ready is not False,
        volumes_bound=verify.volumes_bound is not False,
        url=verify.http.url if verify.http else None,
        timeout=_or(verify.timeout, timedelta(minutes=10)),
    )


def _or(text: str | None, default: timedelta) -> timedelta:
    return parse_duration(text) if text else default

"""Reading of a Velero object what its bucket shows: its own words about a failure, and whether a backup holds.

Backup, Restore and a Restore's safety backup read alike.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio import workflow

from workflows.run import OnCancel, OperationRun, Stop, TimedOut

with workflow.unsafe.imports_passed_through():
    from activities.requests import VERIFY, Verified, VerifyRequest
    from activities.velero import VeleroActivities
    from operation_engine.domain.velero import BackupObservation, Observation

READ_WITHIN = timedelta(minutes=10)
"""How long the bucket may be unreadable before a backup or a restore counts as not verified."""
EXPLAIN_WITHIN = timedelta(minutes=2)
"""How long Velero's own words are waited for; without them a failure is told by its count of errors."""


async def explained(
    operation: OperationRun, verb: Callable[..., Any], observation: Observation, summary: str = "Read Velero's errors"
) -> tuple[str, ...]:
    """Velero's own words, where they can be had: a verdict does not hang on them."""
    with suppress(TimedOut, Stop):
        found: tuple[str, ...] = await operation.call(
            verb, observation, summary=summary, within=EXPLAIN_WITHIN, on_cancel=OnCancel.LEAVE
        )
        return found
    return ()


async def verified_backup(operation: OperationRun, observation: BackupObservation, summary: str) -> Verified:
    """What the bucket holds of a Backup, whose archive may be large. Raises Stop, TimedOut."""
    request = VerifyRequest(ref=operation.ref, report=operation.report(), observation=observation)
    verified: Verified = await operation.call(
        VeleroActivities.verify_backup,
        request,
        summary=summary,
        within=READ_WITHIN,
        one_try=VERIFY,
        on_cancel=OnCancel.LEAVE,
    )
    operation.written(verified.status)
    return verified

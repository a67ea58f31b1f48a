"""What workflows and activities hand each other survives its trip through JSON, whatever is absent from it."""

from types import NoneType
from typing import get_args

import pytest
from support.values import NOW, REF
from temporalio.exceptions import ApplicationError

from activities import requests
from operation_engine.domain import attempts, lifecycle, steps
from operation_engine.domain.admission import Gate
from operation_engine.domain.claim import Holder
from operation_engine.domain.lifecycle import Life
from operation_engine.domain.report import Transition, report
from operation_engine.domain.resources.common import ApiModel
from operation_engine.domain.resources.operation_status import AttemptCause, OperationStatus
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.steps import BackupStep
from operation_engine.domain.velero import BackupObservation
from operation_engine.domain.verdicts import BackupContents
from operation_engine.domain.volumes import HeldObjects, Mount, VolumeResult, VolumeWish
from operation_engine.runtime.temporal import DATA_CONVERTER

PAYLOADS = [value for value in vars(requests).values() if isinstance(value, type) and issubclass(value, ApiModel)] + [
    Gate,
    Holder,
    Transition,
    BackupContents,
    HeldObjects,
    Mount,
    VolumeResult,
    VolumeWish,
]


@pytest.mark.parametrize("model", PAYLOADS, ids=lambda model: model.__name__)
def test_what_may_be_absent_has_a_default(model: type[ApiModel]) -> None:
    """Null is absent to every model here: without a default it could be sent and never be read."""
    needed = [n for n, f in model.model_fields.items() if NoneType in get_args(f.annotation) and f.is_required()]
    assert needed == []


def full_report() -> requests.CreateRequest:
    planned = attempts.allocate(steps.plan(OperationStatus(), list(BackupStep)), REF, "r", 0, AttemptCause.INITIAL, NOW)
    running = lifecycle.enter(planned, Life.RUNNING, Reason.VELERO_BACKUP_IN_PROGRESS, "at work", NOW)
    return requests.CreateRequest(ref=REF, report=report(planned, running, 1), after=0, cause=AttemptCause.AUTOMATIC)


@pytest.mark.parametrize(
    "value",
    [
        full_report(),
        requests.Followed(status=OperationStatus(), observation=None),
        requests.Followed(status=OperationStatus(), observation=BackupObservation(name="b", uid="u", expiration=NOW)),
        BackupObservation(name="b", uid="u", volumes=VolumeWish(snapshots=True, moves_data=True)),
        requests.GateAnswer(status=OperationStatus(), gate=Gate(answer="wait"), storage_location=None),
    ],
    ids=["a report", "gone", "seen", "a wish", "a gate"],
)
async def test_a_payload_comes_back_as_it_was(value: ApiModel) -> None:
    payloads = await DATA_CONVERTER.encode([value])
    assert (await DATA_CONVERTER.decode(payloads, [type(value)]))[0] == value


async def test_what_nobody_set_is_not_sent() -> None:
    (payload,) = await DATA_CONVERTER.encode([requests.Followed(status=OperationStatus(seq=3))])
    assert payload.data == b'{"status":{"seq":3}}'


async def test_a_verdict_travels_as_its_sentence_without_a_traceback() -> None:
    from temporalio.api.failure.v1 import Failure

    try:
        raise ApplicationError("disk full", type="VeleroBackupFailed", non_retryable=True)
    except ApplicationError as error:
        failure = Failure()
        await DATA_CONVERTER.encode_failure(error, failure)
    assert (failure.message, failure.stack_trace) == ("disk full", "")
    assert failure.application_failure_info.type == "VeleroBackupFailed"

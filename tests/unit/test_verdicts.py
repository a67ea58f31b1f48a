"""What a backup that ended is worth, by its phase and by what the bucket holds."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operation_engine.domain.artefacts import bounded_warnings, problems, resource_list, volumes
from operation_engine.domain.resources.operation_spec import PartialFailure
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.velero import BackupObservation
from operation_engine.domain.verdicts import (
    BackupContents,
    Outcome,
    VolumeResult,
    contents_verdict,
    ended_verdict,
)

FAIL, ACCEPT = PartialFailure.FAIL, PartialFailure.ACCEPT
RESTARTED = 'found a backup with status "InProgress" during the server starting, mark it as "Failed"'
RESOURCES = {"v1/PersistentVolumeClaim": ("shop/data",), "v1/Secret": ("shop/a",)}
VOLUME = VolumeResult(claim="data", namespace="shop", method="PodVolumeBackup", size_bytes=9)


def ended(phase: str, **parts: Any) -> BackupObservation:
    return BackupObservation(name="b", uid="u", phase=phase, **parts)


ENDS: list[tuple[BackupObservation | None, PartialFailure, Outcome, Reason]] = [
    (ended("Completed"), FAIL, Outcome.PASSED, Reason.VELERO_BACKUP_SUCCEEDED),
    (ended("Completed", warnings=9), FAIL, Outcome.PASSED, Reason.VELERO_BACKUP_SUCCEEDED),
    (ended("Completed", errors=1), ACCEPT, Outcome.FAILED, Reason.VELERO_BACKUP_PARTIALLY_FAILED),
    (ended("Completed", failure_reason="x"), ACCEPT, Outcome.FAILED, Reason.VELERO_BACKUP_FAILED),
    (ended("PartiallyFailed", errors=1), FAIL, Outcome.FAILED, Reason.VELERO_BACKUP_PARTIALLY_FAILED),
    (ended("PartiallyFailed", errors=1), ACCEPT, Outcome.DEGRADED, Reason.PARTIAL_FAILURE),
    (ended("PartiallyFailed", hooks_failed=1), FAIL, Outcome.FAILED, Reason.HOOK_FAILED),
    (ended("FailedValidation"), ACCEPT, Outcome.FAILED, Reason.VELERO_BACKUP_VALIDATION_FAILED),
    (
        ended("FailedValidation", validation_errors=("location default is in Unavailable status",)),
        FAIL,
        Outcome.RETRY,
        Reason.STORAGE_LOCATION_UNAVAILABLE,
    ),
    (
        ended("FailedValidation", validation_errors=("location default is in Unavailable status", "bad selector")),
        FAIL,
        Outcome.FAILED,
        Reason.VELERO_BACKUP_VALIDATION_FAILED,
    ),
    (ended("Failed", failure_reason="disk"), ACCEPT, Outcome.FAILED, Reason.VELERO_BACKUP_FAILED),
    (ended("Failed", failure_reason=RESTARTED), FAIL, Outcome.RETRY, Reason.VELERO_BACKUP_FAILED),
    (ended("Deleting"), ACCEPT, Outcome.FAILED, Reason.EXTERNAL_DELETION),
    (None, ACCEPT, Outcome.FAILED, Reason.EXTERNAL_DELETION),
]


@pytest.mark.parametrize(("observation", "policy", "outcome", "reason"), ENDS)
def test_the_verdict_on_each_end(
    observation: BackupObservation | None, policy: PartialFailure, outcome: Outcome, reason: Reason
) -> None:
    verdict = ended_verdict(observation, policy, ())
    assert (verdict.outcome, verdict.reason) == (outcome, reason)
    assert verdict.message


@given(st.text(max_size=20), st.sampled_from(PartialFailure))
def test_nothing_but_completed_ever_passes(phase: str, policy: PartialFailure) -> None:
    outcome = ended_verdict(ended(phase), policy, ()).outcome
    assert (outcome == Outcome.PASSED) == (phase == "Completed")


@given(st.text(max_size=5000))
def test_a_verdict_s_message_fits_into_a_status(words: str) -> None:
    for phase in ("Failed", "FailedValidation", "PartiallyFailed"):
        seen = ended(phase, failure_reason=words, validation_errors=(words,))
        assert len(ended_verdict(seen, FAIL, (words,) * 3).message.encode()) <= 1024


def contents(**parts: Any) -> BackupContents:
    return BackupContents.model_validate({"resources": RESOURCES, "volumes": (VOLUME,), **parts})


def changed(**parts: Any) -> tuple[VolumeResult, ...]:
    return (VOLUME.model_copy(update=parts),)


HOLDINGS: list[tuple[BackupContents, bool, Reason, str]] = [
    (contents(), True, Reason.VELERO_BACKUP_SUCCEEDED, "2 items of 2 kinds are listed in the bucket"),
    (contents(resources=None), False, Reason.VERIFICATION_FAILED, "cannot be read"),
    (contents(resources={}), False, Reason.VERIFICATION_FAILED, "holds nothing"),
    (contents(volumes=None), False, Reason.VELERO_BACKUP_SUCCEEDED, "listed"),
    (contents(volumes=None), True, Reason.VOLUME_NOT_BACKED_UP, "volume infos cannot be read"),
    (contents(volumes=()), True, Reason.VOLUME_NOT_BACKED_UP, "shop/data (not mentioned)"),
    (contents(volumes=changed(namespace="till")), True, Reason.VOLUME_NOT_BACKED_UP, "shop/data"),
    (contents(volumes=changed(skipped=True, skipped_reason="opted out")), True, Reason.VOLUME_NOT_BACKED_UP, "opted"),
    (contents(volumes=changed(failed=True)), True, Reason.VOLUME_NOT_BACKED_UP, "its upload failed"),
    (contents(volumes=changed(failed=True)), False, Reason.VELERO_BACKUP_SUCCEEDED, "listed"),
]


@pytest.mark.parametrize(("holds", "wanted", "reason", "says"), HOLDINGS)
def test_a_backup_counts_only_with_what_can_be_shown(
    holds: BackupContents, wanted: bool, reason: Reason, says: str
) -> None:
    verdict = contents_verdict(ended("Completed"), holds, wanted)
    assert verdict.reason == reason
    assert (verdict.outcome == Outcome.PASSED) == (reason == Reason.VELERO_BACKUP_SUCCEEDED)
    assert says in verdict.message


def test_a_count_of_zero_is_believed_over_a_list() -> None:
    assert contents_verdict(ended("Completed", items_done=0), contents(), False).outcome == Outcome.FAILED


def test_the_resource_list_is_counted_by_kind() -> None:
    found = BackupContents(resources=resource_list({"v1/Secret": ["shop/a", "shop/b"], "v1/Pod": None}))
    assert (found.item_count, found.holds_claims) == (2, False)


@pytest.mark.parametrize("content", [None, [], "text", 7])
def test_an_artefact_of_another_shape_holds_nothing(content: Any) -> None:
    assert resource_list(content) == {}
    assert problems(content) == ()


def test_errors_come_before_warnings_and_say_where() -> None:
    results = {
        "warnings": {"velero": ["w"], "namespaces": None},
        "errors": {"cluster": ["c"], "namespaces": {"shop": ["pod web: hook failed"]}, "velero": None},
    }
    assert problems(results) == ("c", "shop: pod web: hook failed", "warning: w")


def test_volumes_of_every_method_are_read() -> None:
    infos = [
        {"pvcName": "a", "pvcNamespace": "shop", "backupMethod": "PodVolumeBackup", "pvbInfo": {"size": 5}},
        {"pvcName": "b", "pvcNamespace": "shop", "snapshotDataMovementInfo": {"size": 7, "phase": "Failed"}},
        {"pvName": "c", "skipped": True, "skippedReason": "opted out"},
        {"pvcName": "d", "result": "failed"},
    ]
    found = volumes(infos)
    assert [(v.claim, v.size_bytes, v.failed, v.skipped) for v in found] == [
        ("a", 5, False, False),
        ("b", 7, True, False),
        ("c", None, False, True),
        ("d", None, True, False),
    ]
    assert volumes(None) == ()


@given(st.lists(st.text(max_size=2000), max_size=60))
def test_warnings_are_the_first_twenty_each_bounded_and_then_a_count(found: list[str]) -> None:
    kept = bounded_warnings(found)
    assert len(kept) == min(len(found), 21)
    assert all(len(warning.encode()) <= 256 for warning in kept)
    if len(found) > 20:
        assert kept[-1] == f"and {len(found) - 20} more"

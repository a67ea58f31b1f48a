"""What a backup that ended is worth, by its phase and by what the bucket holds."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.velero import verified
from operation_engine.domain.artefacts import bounded_warnings, problems, resource_list
from operation_engine.domain.resources.operation_spec import PartialFailure
from operation_engine.domain.resources.operation_status import OperationStatus
from operation_engine.domain.resources.reasons import Reason
from operation_engine.domain.velero import BackupObservation
from operation_engine.domain.verdicts import (
    BackupContents,
    Outcome,
    Verdict,
    contents_verdict,
    ended_verdict,
    volumes_verdict,
)
from operation_engine.domain.volumes import HeldObjects, Mount, VolumeResult, VolumeWish

FAIL, ACCEPT = PartialFailure.FAIL, PartialFailure.ACCEPT
RESTARTED = 'found a backup with status "InProgress" during the server starting, mark it as "Failed"'
RESOURCES = {"v1/PersistentVolumeClaim": ("shop/data",), "v1/Secret": ("shop/a",)}
PODS = {"v1/Pod": ("shop/db-0",)}
LOST, NO_PODS = {**RESOURCES, **PODS}, HeldObjects()
VOLUME = VolumeResult(claim="data", namespace="shop", method="PodVolumeBackup", size_bytes=9, succeeded=True)
FS = VolumeWish(file_system=True, moves_data=True)
NONE = VolumeWish()


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
    (ended("PartiallyFailed", hooks_failed=1), ACCEPT, Outcome.DEGRADED, Reason.HOOK_FAILED),
    (ended("Completed", hooks_failed=1), FAIL, Outcome.FAILED, Reason.HOOK_FAILED),
    (ended("Completed", hooks_failed=1), ACCEPT, Outcome.DEGRADED, Reason.HOOK_FAILED),
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
    assert ended_verdict(ended(phase, hooks_failed=1), policy, ()).outcome != Outcome.PASSED
    assert (outcome == Outcome.PASSED) == (phase == "Completed")


@given(st.text(max_size=5000))
def test_a_verdict_s_message_fits_into_a_status(words: str) -> None:
    for phase in ("Failed", "FailedValidation", "PartiallyFailed"):
        seen = ended(phase, failure_reason=words, validation_errors=(words,))
        assert len(ended_verdict(seen, FAIL, (words,) * 3).message.encode()) <= 1024


def contents(**parts: Any) -> BackupContents:
    held = HeldObjects(mounts=(Mount(claim="shop/data", pod="shop/db-0"),), pods=frozenset({"shop/db-0"}))
    return BackupContents.model_validate(
        {"resources": RESOURCES, "volumes": (VOLUME,), "size_bytes": 7, "held": held, **parts}
    )


def changed(**parts: Any) -> tuple[VolumeResult, ...]:
    return (VOLUME.model_copy(update={"succeeded": False, **parts}),)


HOLDINGS: list[tuple[BackupContents, VolumeWish, Reason, str]] = [
    (contents(), FS, Reason.VELERO_BACKUP_SUCCEEDED, "2 items of 2 kinds are listed in the bucket"),
    (contents(), FS, Reason.VELERO_BACKUP_SUCCEEDED, "volumes taken: 1 (9 bytes)"),
    (contents(resources=None), NONE, Reason.VERIFICATION_FAILED, "resource list of Velero Backup b cannot be read"),
    (contents(size_bytes=None), NONE, Reason.VERIFICATION_FAILED, "archive of objects of Velero Backup b cannot be"),
    (contents(resources={}), NONE, Reason.VERIFICATION_FAILED, "holds nothing"),
    (
        contents(volumes=None),
        NONE,
        Reason.VELERO_BACKUP_SUCCEEDED,
        "claims without their data, which nobody asked for: 1",
    ),
    (contents(volumes=None), FS, Reason.VOLUME_NOT_BACKED_UP, "volume infos cannot be read"),
    (contents(resources=PODS, volumes=None), FS, Reason.VOLUME_NOT_BACKED_UP, "volume infos cannot be read"),
    (contents(resources=PODS, volumes=()), FS, Reason.VELERO_BACKUP_SUCCEEDED, "1 items of 1 kinds"),
    (contents(resources=PODS, volumes=None), NONE, Reason.VELERO_BACKUP_SUCCEEDED, "1 items of 1 kinds"),
    (contents(resources=LOST, volumes=(), held=NO_PODS), NONE, Reason.VOLUME_NOT_BACKED_UP, "left out with pod"),
    (contents(volumes=()), FS, Reason.VOLUME_NOT_BACKED_UP, "shop/data (Velero does not mention it)"),
    (contents(volumes=changed(skipped=True, skipped_reason="x")), FS, Reason.VOLUME_NOT_BACKED_UP, "skipped it: x"),
    (contents(volumes=changed()), FS, Reason.VOLUME_NOT_BACKED_UP, "its PodVolumeBackup did not succeed"),
    (contents(volumes=changed()), NONE, Reason.VOLUME_NOT_BACKED_UP, "its PodVolumeBackup did not succeed"),
]


@pytest.mark.parametrize(("holds", "wanted", "reason", "says"), HOLDINGS)
def test_a_backup_counts_only_with_what_can_be_shown(
    holds: BackupContents, wanted: VolumeWish, reason: Reason, says: str
) -> None:
    verdict = contents_verdict(ended("Completed", volumes=wanted), holds)
    assert verdict.reason == reason
    assert (verdict.outcome == Outcome.PASSED) == (reason == Reason.VELERO_BACKUP_SUCCEEDED)
    assert says in verdict.message


def test_a_count_of_zero_is_believed_over_a_list() -> None:
    assert contents_verdict(ended("Completed", items_done=0), contents()).outcome == Outcome.FAILED


def test_the_resource_list_is_counted_by_kind() -> None:
    found = BackupContents(resources=resource_list({"v1/Secret": ["shop/a", "shop/b"], "v1/Pod": None}))
    assert (found.item_count, found.holds_volumes) == (2, False)


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


@pytest.mark.parametrize("reason", [Reason.HOOK_FAILED, Reason.VELERO_BACKUP_PARTIALLY_FAILED])
def test_a_failure_names_the_volumes_it_cost_however_much_a_hook_printed(reason: Reason) -> None:
    failed = Verdict(outcome=Outcome.FAILED, reason=reason, message="FATAL: no such role " + "x" * 1000)
    said = volumes_verdict(failed, ended("PartiallyFailed"), ("shop/data (its PodVolumeBackup did not succeed)",))
    assert said.reason == (Reason.HOOK_FAILED if reason == Reason.HOOK_FAILED else Reason.VOLUME_NOT_BACKED_UP)
    assert "shop/data (its PodVolumeBackup" in said.message
    assert "Then create a new Operation." in said.message
    assert "FATAL: no such role" in said.message
    assert len(said.message.encode()) <= 1024


@pytest.mark.parametrize(
    ("hooks_failed", "why"), [(0, "not in the backup."), (1, "not in the backup: its hook failed.")]
)
def test_a_hook_is_blamed_for_a_pod_that_was_left_out_only_where_one_failed(hooks_failed: int, why: str) -> None:
    holds = contents(resources=LOST, volumes=(), held=NO_PODS)
    found = verified(OperationStatus(), ended("PartiallyFailed", hooks_failed=hooks_failed), holds)
    assert f"Pod shop/db-0 is listed and {why}" in found.problems


@given(st.lists(st.text(max_size=2000), max_size=60))
def test_warnings_are_the_first_twenty_each_bounded_and_then_a_count(found: list[str]) -> None:
    kept = bounded_warnings(found)
    assert len(kept) == min(len(found), 21)
    assert all(len(warning.encode()) <= 256 for warning in kept)
    if len(found) > 20:
        assert kept[-1] == f"and {len(found) - 20} more"


@given(st.lists(st.text(max_size=9), max_size=60), st.lists(st.text(max_size=9), max_size=60))
def test_lists_of_warnings_that_are_joined_still_count_all(one: list[str], other: list[str]) -> None:
    joined = bounded_warnings((*bounded_warnings(one), *bounded_warnings(other)))
    assert joined == bounded_warnings(joined)
    total = len(one) + len(other)
    assert joined[-1:] == ((f"and {total - 20} more",) if total > 20 else joined[-1:])

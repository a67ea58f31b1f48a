"""Backups of volumes, and with hooks: what counts, what it is called, what is told beside it."""

from datetime import timedelta
from typing import Any

import pytest
from support.runs import Ended, Stage
from support.scripted import GOOD, Script, always, phases, seen, unavailable

from operation_engine.domain.resources.conditions import ConditionStatus, ConditionType
from operation_engine.domain.verdicts import BackupContents
from operation_engine.domain.volumes import HeldObjects, Mount, VolumeResult, VolumeWish

pytestmark = pytest.mark.asyncio(loop_scope="session")

C = ConditionType
WISH = VolumeWish(file_system=True, moves_data=True)
TAKEN = VolumeResult(claim="data", namespace="shop", method="PodVolumeBackup", size_bytes=200, succeeded=True)
SKIPPED = VolumeResult(claim="data", namespace="shop", skipped=True, skipped_reason="podvolume: pod is not running;")
FAILED = VolumeResult(claim="data", namespace="shop", method="PodVolumeBackup")
MOUNTED = HeldObjects(mounts=(Mount(claim="shop/data", pod="shop/db-0"),), pods=frozenset({"shop/db-0"}))
UNMOUNTED = HeldObjects(pods=MOUNTED.pods)
OPTED_OUT = HeldObjects(mounts=(Mount(claim="shop/data", pod="shop/db-0", opted_out=True),), pods=MOUNTED.pods)


def volumes(*results: VolumeResult, **parts: Any) -> BackupContents:
    """A backup of a claim and its pod."""
    resources = {**(GOOD.resources or {}), "v1/PersistentVolumeClaim": ("shop/data",), "v1/Pod": ("shop/db-0",)}
    return GOOD.model_copy(update={"resources": resources, "volumes": results, "held": MOUNTED, **parts})


def script(
    contents: BackupContents, wish: VolumeWish = WISH, phase: str = "Completed", says: str = "", **parts: Any
) -> Script:
    last = seen(phase, items_done=5, items_total=5, volumes=wish, **parts)
    return Script(attempts=[[*phases("InProgress"), last]], contents=contents, problems=(says,) if says else ())


async def test_volumes_that_were_taken_are_counted(play: Stage) -> None:
    status = (await play.run(script(volumes(TAKEN)))).status
    assert (status.phase, status.reason) == ("Succeeded", "VeleroBackupSucceeded")
    assert "volumes taken: 1 (200 bytes)" in (status.message or "")
    assert status.outputs is not None
    assert (status.outputs.volume_count, status.outputs.volume_bytes) == ("1", "200")
    assert status.outputs.warnings == ()
    assert status.progress is not None
    assert (status.progress.percent, status.progress.bytes_done, status.progress.bytes_total) == (100, 200, 200)


async def test_without_volumes_the_counts_are_nought_and_no_bytes_are_shown(play: Stage) -> None:
    status = (await play.run(Script())).status
    assert status.outputs is not None
    assert (status.outputs.volume_count, status.outputs.volume_bytes) == ("0", "0")
    assert status.progress is not None
    assert status.progress.bytes_total is None


MISSING: dict[str, tuple[BackupContents, VolumeWish, str]] = {
    "skipped": (volumes(SKIPPED), WISH, "shop/data (Velero skipped it: pod is not running)"),
    "failed": (volumes(FAILED), WISH, "shop/data (its PodVolumeBackup did not succeed)"),
    "failed though nobody asked": (volumes(FAILED), VolumeWish(), "its PodVolumeBackup did not succeed"),
    "not mentioned": (volumes(), WISH, "shop/data (Velero does not mention it)"),
    "a snapshot": (volumes(), VolumeWish(snapshots=True), "shop/data (Velero does not mention it)"),
    "unreadable infos": (volumes(volumes=None), WISH, "the volume infos cannot be read"),
    "lost with its pod": (volumes(held=HeldObjects()), VolumeWish(), "left out with pod shop/db-0"),
    "pods without claims, unreadable infos": (
        volumes(volumes=None, resources={"v1/Pod": ("shop/db-0",)}),
        WISH,
        "the volume infos cannot be read",
    ),
    "too large to look into, and opted in": (
        volumes(SKIPPED, held=None),
        VolumeWish(),
        "Velero skipped it: pod is not running",
    ),
    "mounted by nobody": (volumes(held=UNMOUNTED), WISH, "no pod in the backup mounts it"),
}


@pytest.mark.parametrize("how", MISSING)
@pytest.mark.parametrize("phase", ["Completed", "PartiallyFailed"])
async def test_a_volume_that_was_asked_for_and_is_not_there_is_no_success(play: Stage, how: str, phase: str) -> None:
    """Whatever Velero's phase, and whatever the policy: what a person asked for in so many words is not let go."""
    contents, wish, says = MISSING[how]
    errors = 1 if phase == "PartiallyFailed" else 0
    ended = await play.run(script(contents, wish, phase, errors=errors), policy={"partialFailure": "Accept"})
    assert (ended.status.phase, ended.status.reason) == ("Failed", "VolumeNotBackedUp")
    assert says in (ended.status.message or "")
    assert "velero.io/exclude-from-backup" in (ended.status.message or "")
    assert ended.condition(C.VERIFIED) == (ConditionStatus.FALSE, "VolumeNotBackedUp")
    assert (ended.steps["FollowBackup"], ended.steps["VerifyBackup"]) == ("Succeeded", "Failed")
    assert ended.status.outputs is not None
    if contents.volumes is not None:
        assert says in ended.status.outputs.warnings[0]


@pytest.mark.parametrize("hooks_failed", [0, 1])
async def test_a_failed_backup_tells_the_volume_that_it_lost_and_is_named_after_it_unless_a_hook_failed(
    play: Stage, hooks_failed: int
) -> None:
    ended = await play.run(
        script(volumes(FAILED), phase="PartiallyFailed", errors=1, hooks_failed=hooks_failed, says="disk gone")
    )
    assert ended.status.reason == ("HookFailed" if hooks_failed else "VolumeNotBackedUp")
    assert "disk gone" in (ended.status.message or "")
    assert "shop/data (its PodVolumeBackup" in (ended.status.message or "")
    assert (ended.steps["FollowBackup"], ended.steps["VerifyBackup"]) == ("Failed", "Skipped")
    assert ended.status.outputs is not None
    assert ended.status.outputs.warnings == ("disk gone",)


async def test_a_failure_whose_volumes_cannot_be_read_keeps_its_own_name(play: Stage) -> None:
    failing = script(volumes(FAILED), phase="PartiallyFailed", errors=1, says="disk gone")
    failing.before["explain_volumes"] = iter(always(unavailable(timedelta(seconds=90))))
    ended = await play.run(failing)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "VeleroBackupPartiallyFailed")


LEFT_OUT: dict[str, tuple[BackupContents, VolumeWish, str]] = {
    "opted out": (volumes(SKIPPED, held=OPTED_OUT), WISH, "pod shop/db-0 opts it out"),
    "not asked for": (volumes(SKIPPED), VolumeWish(), "parameters.defaultVolumesToFsBackup would"),
}


@pytest.mark.parametrize("how", LEFT_OUT)
async def test_data_that_was_left_out_is_told(play: Stage, how: str) -> None:
    contents, wish, says = LEFT_OUT[how]
    status = (await play.run(script(contents, wish))).status
    assert status.phase == "Succeeded"
    assert "claims without their data, which nobody asked for: 1" in (status.message or "")
    assert status.outputs is not None
    assert says in status.outputs.warnings[0]
    assert status.outputs.volume_count == "0"


async def test_a_backup_too_large_to_look_into_says_so(play: Stage) -> None:
    status = (await play.run(script(volumes(TAKEN, held=None)))).status
    assert status.phase == "Succeeded"
    assert status.outputs is not None
    assert "too large to look into" in status.outputs.warnings[0]


HOOK = "pre hook in container db failed: command terminated with exit code 1; it printed: FATAL: no such role"


def hook(phase: str, errors: int) -> Script:
    last = seen(phase, errors=errors, hooks_failed=1, items_done=3, items_total=3)
    return Script(attempts=[[*phases("InProgress"), last]], problems=(HOOK,))


async def failed_hook(play: Stage, phase: str, errors: int, policy: str) -> Ended:
    return await play.run(hook(phase, errors), policy={"partialFailure": policy})


@pytest.mark.parametrize("policy", ["Fail", "Accept"])
async def test_a_velero_that_completes_in_spite_of_a_failed_hook_is_judged_by_the_policy(
    play: Stage, policy: str
) -> None:
    ended = await failed_hook(play, "Completed", 0, policy)
    said = "says Completed though 1 of its hooks failed"
    assert said in (ended.status.message or "")
    assert ended.status.reason == ("HookFailed" if policy == "Fail" else "PartialFailure")


async def test_a_failed_hook_fails_the_backup_with_what_it_printed(play: Stage) -> None:
    ended = await failed_hook(play, "PartiallyFailed", 1, "Fail")
    assert (ended.status.phase, ended.status.reason) == ("Failed", "HookFailed")
    assert "it printed: FATAL: no such role" in (ended.status.message or "")
    assert ended.failure is not None
    assert ended.failure.type == "HookFailed"


async def test_a_failed_hook_that_is_accepted_is_still_told(play: Stage) -> None:
    ended = await failed_hook(play, "PartiallyFailed", 1, "Accept")
    assert ended.status.phase == "Succeeded"
    assert ended.status.reason == "PartialFailure"
    assert ended.condition(C.DEGRADED) == (ConditionStatus.TRUE, "HookFailed")
    assert HOOK in (ended.status.message or "")
    assert ended.status.outputs is not None
    assert HOOK in ended.status.outputs.warnings

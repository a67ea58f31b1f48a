"""Volumes: what was asked for, what Velero's volume infos say of it, and what a person is told."""

from typing import Any

import pytest

from operation_engine.domain.artefacts import volumes
from operation_engine.domain.lifecycle import MAX_MESSAGE
from operation_engine.domain.velero import BackupObservation, observe_backup
from operation_engine.domain.verdicts import BackupContents
from operation_engine.domain.volumes import (
    EVERYTHING,
    HeldObjects,
    Mount,
    VolumeResult,
    VolumeWish,
    count_volumes,
    missing_message,
)

FS = VolumeWish(file_system=True, moves_data=True)
SNAPSHOTS = VolumeWish(snapshots=True)
NONE = VolumeWish()
CLAIM = "shop/data"
TAKEN = VolumeResult(claim="data", namespace="shop", method="PodVolumeBackup", size_bytes=20, succeeded=True)
SKIPPED = VolumeResult(
    claim="data",
    namespace="shop",
    skipped=True,
    skipped_reason="podvolume: pod is not running;volumeSnapshot: no applicable volumesnapshotter found;",
)
OPTED_OUT = SKIPPED.model_copy(
    update={"skipped_reason": "podvolume: opted out due to annotation in pod db-0;volumeSnapshot: none;"}
)
UNMOUNTED = SKIPPED.model_copy(update={"skipped_reason": "volumeSnapshot: no applicable volumesnapshotter found;"})
FAILED = VolumeResult(claim="data", namespace="shop", method="PodVolumeBackup")


def held(*mounts: dict[str, bool], **parts: Any) -> HeldObjects:
    """Pods that mount the claim, each with its annotations."""
    return HeldObjects(
        mounts=tuple(Mount(claim=CLAIM, pod=f"shop/db-{i}", **mount) for i, mount in enumerate(mounts)), **parts
    )


MOUNTED = held({})
IN, OUT = {"opted_in": True}, {"opted_out": True}

TEMPLATE = Mount(claim=CLAIM, pod="pod template of Deployment shop/db")
TEMPLATE_IN, TEMPLATE_OUT = TEMPLATE.model_copy(update=IN), TEMPLATE.model_copy(update=OUT)

MISSING: dict[str, tuple[VolumeWish, VolumeResult | None, HeldObjects | None, str]] = {
    "a pod that does not run": (FS, SKIPPED, MOUNTED, "Velero skipped it: pod is not running"),
    "not mentioned at all": (FS, None, MOUNTED, "Velero does not mention it"),
    "no pod mounts it": (FS, UNMOUNTED, held(), "no pod in the backup mounts it"),
    "a hostPath volume": (FS, UNMOUNTED, held({}, host_path_claims=frozenset({CLAIM})), "it is a hostPath volume"),
    "a data mover that failed": (FS, FAILED, MOUNTED, "its PodVolumeBackup did not succeed"),
    "one of two pods did not opt it out": (FS, SKIPPED, held(OUT, {}), "pod is not running"),
    "opted out and a snapshot asked for": (
        VolumeWish(file_system=True, snapshots=True),
        OPTED_OUT,
        held(OUT),
        "Velero skipped it: volumeSnapshot: none",
    ),
    "a snapshot, and Velero takes what nobody opted in for opted out": (
        SNAPSHOTS,
        OPTED_OUT,
        MOUNTED,
        "Velero skipped it: volumeSnapshot: none",
    ),
    "a snapshot that nobody can take": (SNAPSHOTS, UNMOUNTED, held(), "no applicable volumesnapshotter"),
    "a snapshot that failed": (
        SNAPSHOTS,
        FAILED.model_copy(update={"method": "NativeSnapshot"}),
        held(),
        "its NativeSnapshot did not succeed",
    ),
    "a pod opted it in": (NONE, SKIPPED, held(IN), "pod is not running"),
    "one pod of two opted it in": (NONE, None, held({}, IN), "Velero does not mention it"),
    "nobody asked, Velero tried and failed": (NONE, FAILED, MOUNTED, "its PodVolumeBackup did not succeed"),
    "contents too large to look into": (FS, SKIPPED, None, "pod is not running"),
    "too large, and nothing said": (SNAPSHOTS, None, None, "Velero does not mention it"),
    "too large, and Velero tried for an annotation": (NONE, SKIPPED, None, "Velero skipped it: pod is not running"),
    "its pods were on their way out, and their template asks": (
        NONE,
        UNMOUNTED,
        held(templates=(TEMPLATE_IN,)),
        "the pod template of Deployment shop/db asks for it, and no pod in the backup mounts it",
    ),
    "a template asks for what a pod does not": (NONE, UNMOUNTED, held({}, templates=(TEMPLATE_IN,)), "skipped it"),
    "a template opts out what a running pod does not": (
        FS,
        SKIPPED,
        held({}, templates=(TEMPLATE_OUT,)),
        "pod is not running",
    ),
}


@pytest.mark.parametrize("case", MISSING)
def test_a_volume_that_was_asked_for_and_is_not_there_is_named_with_the_cause(case: str) -> None:
    wish, result, objects, cause = MISSING[case]
    count = count_volumes(wish, (CLAIM,), (result,) if result else (), objects)
    (missing,) = count.missing
    assert missing.startswith(f"{CLAIM} (")
    assert cause in missing
    assert (count.taken, count.left_out) == (0, ())


LEFT_OUT: dict[str, tuple[VolumeWish, VolumeResult | None, HeldObjects | None, str]] = {
    "opted out by its only pod": (FS, OPTED_OUT, held(OUT), "pod shop/db-0 opts it out"),
    "opted out by every pod": (FS, OPTED_OUT, held(OUT, OUT), "pod shop/db-0 opts it out"),
    "opted out by Velero's word": (FS, OPTED_OUT, None, "a pod opts it out"),
    "Velero takes what nobody opted in for opted out": (
        NONE,
        OPTED_OUT,
        MOUNTED,
        "parameters.defaultVolumesToFsBackup would",
    ),
    "nobody asked": (NONE, UNMOUNTED, MOUNTED, "parameters.defaultVolumesToFsBackup would"),
    "opted out by the template of pods on their way out": (
        FS,
        UNMOUNTED,
        held(templates=(TEMPLATE_OUT,)),
        "the pod template of Deployment shop/db opts it out",
    ),
    "opted out by its pod, whatever the template says": (
        FS,
        OPTED_OUT,
        held(OUT, templates=(TEMPLATE,)),
        "pod shop/db-0 opts it out",
    ),
    "its pods were on their way out, and their template does not ask": (
        NONE,
        UNMOUNTED,
        held(templates=(TEMPLATE,)),
        "no parameter and no pod asks for it",
    ),
    "too large, and Velero takes what nobody opted in for opted out": (
        NONE,
        OPTED_OUT,
        None,
        "no parameter asks for it, as far as is known",
    ),
    "nobody asked and nothing said": (NONE, None, None, "parameters.defaultVolumesToFsBackup would"),
    "opted out where only opting in counts": (NONE, UNMOUNTED, held(OUT), "pod shop/db-0 opts it out"),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_data_that_nobody_asked_for_is_told_and_fails_nothing(case: str) -> None:
    wish, result, objects, why = LEFT_OUT[case]
    count = count_volumes(wish, (CLAIM,), (result,) if result else (), objects)
    assert count.missing == ()
    (left_out,) = count.left_out
    assert CLAIM in left_out
    assert why in left_out


@pytest.mark.parametrize("result", [None, UNMOUNTED])
def test_a_claim_that_may_have_been_asked_for_by_a_pod_that_was_left_out_is_missing(
    result: VolumeResult | None,
) -> None:
    """Velero leaves out the pod whose hook failed, and its annotations with it."""
    results = (result,) if result else ()
    (missing,) = count_volumes(NONE, (CLAIM,), results, held(), ("shop/db-0",)).missing
    assert missing == f"{CLAIM} (it was left out with pod shop/db-0, or no pod mounts it)"
    mounted = count_volumes(NONE, (CLAIM,), results, MOUNTED, ("shop/db-1",))
    assert (mounted.missing, len(mounted.left_out)) == ((), 1)
    assert count_volumes(NONE, (CLAIM,), (TAKEN,), held(), ("shop/db-0",)).missing == ()
    unbound = held(dataless_claims=frozenset({CLAIM}))
    assert count_volumes(NONE, (CLAIM,), results, unbound, ("shop/db-0",)).missing == ()


@pytest.mark.parametrize("wish", [FS, SNAPSHOTS, NONE])
@pytest.mark.parametrize("objects", [MOUNTED, held(), held(OUT), None])
def test_a_volume_that_succeeded_counts_whoever_asked(wish: VolumeWish, objects: HeldObjects | None) -> None:
    count = count_volumes(wish, (CLAIM,), (UNMOUNTED, TAKEN), objects)
    assert (count.taken, count.size_bytes, count.missing, count.left_out) == (1, 20, (), ())


@pytest.mark.parametrize("wish", [FS, SNAPSHOTS, NONE])
def test_a_claim_without_a_volume_has_nothing_to_lose(wish: VolumeWish) -> None:
    count = count_volumes(wish, (CLAIM,), (), held({}, dataless_claims=frozenset({CLAIM})))
    assert (count.missing, count.left_out) == ((), ())


def test_a_pod_s_own_volume_that_failed_is_missing_too() -> None:
    cache = VolumeResult(pod="shop/db-0", volume="cache", method="PodVolumeBackup")
    assert count_volumes(FS, (), (cache,), MOUNTED).missing == (
        "volume cache of pod shop/db-0 (its PodVolumeBackup did not succeed)",
    )


def test_the_message_names_the_first_and_says_what_to_do_however_long_velero_s_words_are() -> None:
    wordy = SKIPPED.model_copy(update={"skipped_reason": "podvolume: " + "ü" * 5000})
    claims = [f"shop/{'x' * 60}{i}" for i in range(7)]
    results = [wordy.model_copy(update={"claim": claim.removeprefix("shop/")}) for claim in claims]
    said = missing_message("b" * 63, count_volumes(FS, claims, results, None).missing)
    assert len(said.encode()) <= MAX_MESSAGE
    assert claims[2] in said
    assert "; and 4 more. " in said
    assert "velero.io/exclude-from-backup=true" in said
    assert "backup.velero.io/backup-volumes-excludes" in said
    assert said.endswith("Then create a new Operation.")


def test_what_a_backup_asks_for_is_what_velero_made_of_it() -> None:
    def wish(**spec: bool) -> VolumeWish:
        return observe_backup({"metadata": {"name": "b", "uid": "u"}, "spec": spec}).wish

    assert wish() == NONE
    assert wish(snapshotVolumes=False, snapshotMoveData=False, defaultVolumesToFsBackup=False) == NONE
    assert wish(defaultVolumesToFsBackup=True) == FS
    assert wish(snapshotVolumes=True) == SNAPSHOTS
    assert wish(snapshotMoveData=True) == VolumeWish(snapshots=True, moves_data=True)


def test_where_an_older_engine_did_not_look_everything_counts_as_asked_for() -> None:
    """Its observations stand in the histories of runs that go on after an upgrade."""
    old = BackupObservation.model_validate({"name": "b", "uid": "u", "phase": "Completed"})
    assert (old.wish, old.moves_data) == (EVERYTHING, False)
    assert count_volumes(old.wish, (CLAIM,), (), MOUNTED).missing


INFOS: list[tuple[dict[str, Any], VolumeResult]] = [
    (
        {
            "pvcName": "data",
            "pvcNamespace": "shop",
            "pvName": "pv-1",
            "backupMethod": "PodVolumeBackup",
            "result": "succeeded",
            "pvbInfo": {
                "size": 5,
                "volumeName": "data",
                "podName": "db-0",
                "podNamespace": "shop",
                "Phase": "Completed",
            },
        },
        VolumeResult(
            claim="data",
            namespace="shop",
            pod="shop/db-0",
            volume="data",
            method="PodVolumeBackup",
            size_bytes=5,
            succeeded=True,
        ),
    ),
    (
        {
            "backupMethod": "PodVolumeBackup",
            "result": "failed",
            "pvbInfo": {"volumeName": "cache", "podName": "db-0", "podNamespace": "shop", "Phase": "Failed"},
        },
        VolumeResult(pod="shop/db-0", volume="cache", method="PodVolumeBackup", size_bytes=0),
    ),
    (
        {
            "pvcName": "data",
            "pvcNamespace": "shop",
            "backupMethod": "CSISnapshot",
            "snapshotDataMoved": True,
            "result": "succeeded",
            "snapshotDataMovementInfo": {"size": 7, "Phase": "Completed"},
        },
        VolumeResult(claim="data", namespace="shop", method="CSISnapshot", size_bytes=7, succeeded=True),
    ),
    (
        {
            "pvcName": "data",
            "pvcNamespace": "shop",
            "pvName": "pv-1",
            "skipped": True,
            "skippedReason": "volumeSnapshot: no applicable volumesnapshotter found;",
        },
        VolumeResult(
            claim="data",
            namespace="shop",
            volume="pv-1",
            skipped=True,
            skipped_reason="volumeSnapshot: no applicable volumesnapshotter found;",
        ),
    ),
    (
        {"pvcName": "data", "pvcNamespace": "shop", "backupMethod": "CSISnapshot", "csiSnapshotInfo": {"size": 1}},
        VolumeResult(claim="data", namespace="shop", method="CSISnapshot"),
    ),
]


@pytest.mark.parametrize(("info", "result"), INFOS, ids=["pod volume", "pod's own", "moved", "skipped", "no result"])
def test_volume_infos_are_read_as_velero_writes_them(info: dict[str, Any], result: VolumeResult) -> None:
    assert volumes([info]) == (result,)


def test_no_volume_infos_are_no_volumes() -> None:
    assert volumes(None) == ()


def test_a_pod_that_is_listed_and_not_there_is_told() -> None:
    resources = {"v1/Pod": ("shop/db-0", "shop/web-0")}
    there = HeldObjects(pods=frozenset({"shop/web-0"}))
    assert BackupContents(resources=resources, held=there).pods_not_held == ("shop/db-0",)
    assert BackupContents(resources=resources).pods_not_held == ()

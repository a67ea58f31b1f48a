"""Whether the data of restored claims came back, by Velero's lists and its data movers."""

from typing import Any

import pytest

from operation_engine.domain.claim_data import Brought, ClaimData, claim_data, observe_mover, words
from operation_engine.domain.restored import restored_items
from operation_engine.domain.transfers import Transfer, observe_backup_transfer, observe_restore_transfer
from operation_engine.domain.volumes import VolumeResult

# As Velero 1.18 writes it: the phase is empty, whatever became of it.
LISTED = {
    "pvcName": "rows",
    "pvcNamespace": "copy",
    "restoreMethod": "PodVolumeRestore",
    "pvrInfo": {"podName": "db-0", "podNamespace": "copy", "volumeName": "data", "size": 7, "Phase": ""},
}
MOVED = {"pvcName": "rows", "pvcNamespace": "copy", "restoreMethod": "CSISnapshot", "snapshotDataMoved": True}
NOT_MOVED = {**MOVED, "snapshotDataMoved": False}


def taken(claim: str, method: str = "PodVolumeBackup") -> VolumeResult:
    return VolumeResult(claim=claim, namespace="shop", method=method, succeeded=True)


def pod_volume(phase: str = "Completed", restore: str = "r-2", pod: str = "db-0", **status: Any) -> dict[str, Any]:
    labels = {"velero.io/restore-name": restore, "velero.io/restore-uid": "u", "velero.io/pvc-uid": "rows-uid"}
    spec = {"pod": {"name": pod, "namespace": "copy"}, "volume": "data", "snapshotSize": 9}
    status = {"phase": phase, "progress": {"bytesDone": 7, "totalBytes": 7}, **status}
    return {"metadata": {"labels": labels}, "spec": spec, "status": status}


def data_download(phase: str = "Completed") -> dict[str, Any]:
    labels = {"velero.io/restore-name": "r-2", "velero.io/restore-uid": "u"}
    spec = {"targetVolume": {"pvc": "rows", "pv": "", "namespace": "copy"}, "snapshotID": "s"}
    return {"metadata": {"labels": labels}, "spec": spec, "status": {"phase": phase, "progress": {"bytesDone": 7}}}


def judged(
    listed: Any, *movers: dict[str, Any], action: str = "created", young: bool = False, method: str = "PodVolumeBackup"
) -> ClaimData:
    items = restored_items({"v1/PersistentVolumeClaim": [f"copy/rows({action})", "copy/cache(created)"]})
    found = Brought("r-2", listed, [observe_mover(one) for one in movers], {"rows": "rows-uid"} if young else {})
    return claim_data(items, "shop", [taken("rows", method)], found)


@pytest.mark.parametrize(("listed", "mover"), [(LISTED, pod_volume()), (MOVED, data_download())])
def test_a_claim_is_filled_whose_data_mover_completed(listed: Any, mover: dict[str, Any]) -> None:
    found = judged([listed], mover)
    assert [str(claim) for claim in found.filled] == ["rows (7 bytes)"]
    assert (found.lost, found.left, found.empty, found.size_bytes) == ((), (), ("cache",), 7)


@pytest.mark.parametrize(
    ("listed", "movers"),
    [
        (None, [pod_volume()]),
        ([], [pod_volume()]),
        ([{**LISTED, "pvcNamespace": "shop"}], [pod_volume()]),
        ([LISTED], []),
        ([LISTED], [pod_volume("Failed")]),
        ([LISTED], [pod_volume("Canceled")]),
        ([LISTED], [pod_volume("InProgress")]),
        ([LISTED], [pod_volume(restore="r-1")]),
        ([LISTED], [pod_volume(pod="db-1")]),
        ([MOVED], [data_download("Failed")]),
        ([MOVED], []),
    ],
)
def test_a_claim_that_was_created_is_lost_where_nobody_can_show_its_data(listed: Any, movers: Any) -> None:
    found = judged(listed, *movers)
    assert (found.lost, found.filled) == (("rows",), ())


def test_a_snapshot_that_stays_with_its_provider_has_no_mover() -> None:
    assert [claim.name for claim in judged([NOT_MOVED], method="CSISnapshot").filled] == ["rows"]
    assert [claim.name for claim in judged([], method="NativeSnapshot").filled] == ["rows"]
    assert judged([], method="CSISnapshot").lost == ("rows",)


@pytest.mark.parametrize("action", ["skipped", "updated", "failed"])
def test_a_claim_that_an_attempt_before_made_is_left_unless_that_one_filled_it(action: str) -> None:
    half = judged([], pod_volume("Failed", "r-1"), action=action, young=True)
    assert (half.left, half.lost, half.filled) == (("rows",), (), ())
    whole = judged([], pod_volume("Completed", "r-1"), action=action, young=True)
    assert (whole.left, [claim.name for claim in whole.filled]) == ((), ["rows"])


@pytest.mark.parametrize(
    ("method", "movers", "filled"),
    [
        ("NativeSnapshot", [], True),
        ("CSISnapshot", [], True),
        ("CSISnapshot", [data_download()], True),
        ("CSISnapshot", [data_download("Failed")], False),
        ("PodVolumeBackup", [], False),
    ],
)
def test_a_claim_of_an_attempt_before_counts_by_the_way_its_data_came(method: str, movers: Any, filled: bool) -> None:
    found = judged([], *movers, action="skipped", young=True, method=method)
    assert ([claim.name for claim in found.filled], found.left) == ((["rows"], ()) if filled else ([], ("rows",)))


def test_a_claim_that_existed_and_was_written_over_is_not_told_as_kept() -> None:
    """Its pod was gone, so Velero made the pod anew and filled what it mounts."""
    assert [str(claim) for claim in judged([LISTED], pod_volume(), action="skipped").filled] == ["rows (7 bytes)"]
    assert judged([LISTED], pod_volume("Failed"), action="skipped").filled == ()


def test_a_claim_that_is_older_than_the_first_attempt_is_neither() -> None:
    assert judged([], action="skipped") == ClaimData(empty=("cache",))


def test_movers_that_failed_say_why() -> None:
    failed, silent = pod_volume("Failed", message="connection refused"), data_download("Canceled")
    assert words([observe_mover(one) for one in (pod_volume(), failed, silent)]) == (
        "copy: volume data of pod db-0: connection refused",
        "copy: PersistentVolumeClaim rows: its data mover is Canceled",
    )


def test_transfers_belong_to_their_backup_or_restore_and_a_restore_s_size_is_known_before_it_begins() -> None:
    labels = {"velero.io/backup-name": "b", "velero.io/backup-uid": "bu"}
    backed = {"metadata": {"labels": labels}, "status": {"progress": {"bytesDone": 1, "totalBytes": 2}}}
    assert observe_backup_transfer(backed) == Transfer(owner_uid="bu", owner_name="b", bytes_done=1, bytes_total=2)
    begun = pod_volume("New", progress=None)
    assert observe_restore_transfer(begun) == Transfer(owner_uid="u", owner_name="r-2", bytes_done=0, bytes_total=9)

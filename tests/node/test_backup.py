"""Backups of real data through Operations: what comes back, and what is told when something breaks meanwhile."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.engine import Engine
from support.files import Files
from support.history import History, conditions
from support.kube import Kubectl, Operations, backup
from support.saved import END_WITHIN_S, WITH_DATA
from support.shop import ORDERS, Shop
from support.temporal import Temporal, workflow_id
from support.uploads import BYTES, Upload, await_log
from support.velero import Velero
from support.world import VeleroBackups

from local_cluster.cluster import LocalCluster


@pytest.fixture
def files(kubectl: Kubectl, namespace: str) -> Files:
    files = Files(kubectl, namespace)
    files.write()
    return files


@pytest.fixture
def uploading(
    engine: Engine, cluster: LocalCluster, kubectl: Kubectl, operations: Operations, files: Files
) -> Iterator[Upload]:
    """A backup of 200 MB, held while they are on their way."""
    kubectl.apply(backup(files.namespace, parameters=WITH_DATA))
    begun = operations.await_path(files.namespace, "backup", "{.status.engineRef.name}")
    upload = Upload(cluster, kubectl, files.namespace, begun["status"]["engineRef"]["name"])
    upload.freeze()
    yield upload
    upload.thaw()


def succeeded(operation: dict[str, Any]) -> dict[str, Any]:
    status: dict[str, Any] = operation["status"]
    assert (status["phase"], status["reason"]) == ("Succeeded", "VeleroBackupSucceeded"), status["message"]
    return status


def shown_in_order(history: History) -> list[dict[str, Any]]:
    """Every progress that was told; none went back."""
    shown = [seen["progress"] for seen in history.statuses("backup") if "progress" in seen]
    for number in ("percent", "bytesDone", "bytesTotal"):
        values = [progress.get(number, 0) for progress in shown]
        assert values == sorted(values)
    return shown


def bring_back(kubectl: Kubectl, velero: Velero, namespace: str, name: str) -> None:
    """By plain Velero, into the namespace that is no more."""
    kubectl("delete", "namespace", namespace, "--timeout=90s")
    assert velero.restore(name)["status"]["phase"] == "Completed"


def test_the_rows_of_the_shop_come_back_from_a_backup_that_said_succeeded(
    engine: Engine, kubectl: Kubectl, operations: Operations, backups: VeleroBackups, shop: Shop
) -> None:
    rows = shop.orders()
    assert rows.startswith(f"{ORDERS} orders ")
    kubectl.apply(backup(shop.namespace, parameters=WITH_DATA))
    status = succeeded(operations.await_end(shop.namespace, within_s=END_WITHIN_S))
    outputs = status["outputs"]
    assert outputs["volumeCount"] == "1"
    assert int(outputs["volumeBytes"]) > 1_000_000
    assert status["progress"]["bytesDone"] == status["progress"]["bytesTotal"] == int(outputs["volumeBytes"])
    assert f"volumes taken: 1 ({outputs['volumeBytes']} bytes)" in status["message"]
    assert "warnings" not in outputs
    assert backups.get(outputs["backupName"])["status"]["hookStatus"] == {"hooksAttempted": 1}, "the checkpoint"

    bring_back(kubectl, Velero(kubectl), shop.namespace, outputs["backupName"])

    shop.await_ready()
    assert shop.orders() == rows


def test_a_volume_that_was_left_out_is_told_and_its_rows_do_not_come_back(
    engine: Engine, kubectl: Kubectl, operations: Operations, shop: Shop
) -> None:
    kubectl("annotate", "pod/database-0", "-n", shop.namespace, "backup.velero.io/backup-volumes-excludes=data")
    kubectl.apply(backup(shop.namespace, parameters=WITH_DATA))
    outputs = succeeded(operations.await_end(shop.namespace, within_s=END_WITHIN_S))["outputs"]
    assert outputs["volumeCount"] == "0"
    (warning,) = outputs["warnings"]
    assert f"{shop.namespace}/data-database-0 is not in the backup: pod {shop.namespace}/database-0 opts" in warning

    bring_back(kubectl, Velero(kubectl), shop.namespace, outputs["backupName"])

    shop.await_ready()
    with pytest.raises(AssertionError, match='relation "orders" does not exist'):
        shop.orders()


def test_a_shop_that_is_switched_off_has_no_backup_of_its_rows(
    engine: Engine, kubectl: Kubectl, operations: Operations, backups: VeleroBackups, shop: Shop
) -> None:
    """Velero says Completed."""
    kubectl("scale", "statefulset/database", "-n", shop.namespace, "--replicas=0")
    kubectl("wait", "pod/database-0", "-n", shop.namespace, "--for=delete", "--timeout=60s")
    kubectl.apply(backup(shop.namespace, parameters=WITH_DATA))
    ended = operations.await_end(shop.namespace, within_s=END_WITHIN_S)
    assert (ended["status"]["phase"], ended["status"]["reason"]) == ("Failed", "VolumeNotBackedUp")
    assert f"{shop.namespace}/data-database-0 (no pod in the backup mounts it" in ended["status"]["message"]
    (made,) = backups.of(ended)
    assert made["status"]["phase"] == "Completed"


def test_what_a_failed_hook_printed_stands_in_the_message(
    engine: Engine, kubectl: Kubectl, operations: Operations, shop: Shop
) -> None:
    command = '["psql", "--command", "CHECKPOIN"]'
    hook = f"pre.hook.backup.velero.io/command={command}"
    kubectl("annotate", "--overwrite", "pod/database-0", "-n", shop.namespace, hook)
    kubectl.apply(backup(shop.namespace, parameters=WITH_DATA))
    status = operations.await_end(shop.namespace, within_s=END_WITHIN_S)["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "HookFailed")
    assert "pre hook in container postgres failed: command terminated with exit code 1" in status["message"]
    assert 'it printed: ERROR: syntax error at or near "CHECKPOIN"' in status["message"]


def test_a_hook_that_timed_out_is_told_without_its_output_and_on_error_continue_keeps_the_rows(
    engine: Engine, kubectl: Kubectl, operations: Operations, shop: Shop
) -> None:
    rows = shop.orders()
    prefix = "pre.hook.backup.velero.io"
    annotations = (f'{prefix}/command=["sh", "-c", "sleep 30"]', f"{prefix}/timeout=1s", f"{prefix}/on-error=Continue")
    kubectl("annotate", "--overwrite", "pod/database-0", "-n", shop.namespace, *annotations)
    kubectl.apply(backup(shop.namespace, parameters=WITH_DATA, policy={"partialFailure": "Accept"}))
    status = operations.await_end(shop.namespace, within_s=END_WITHIN_S)["status"]
    assert (status["phase"], status["reason"]) == ("Succeeded", "PartialFailure")
    assert conditions(status)["Degraded"] == "True"
    assert "failed: timed out after 1s; Velero drops the output of a hook that times out" in status["message"]
    assert "failed: timed out after 1s" in status["outputs"]["warnings"][0]

    bring_back(kubectl, Velero(kubectl), shop.namespace, status["outputs"]["backupName"])

    shop.await_ready()
    assert shop.orders() == rows


def test_a_worker_that_is_killed_while_200_mb_are_on_their_way_loses_nothing_and_does_nothing_twice(
    engine: Engine,
    kubectl: Kubectl,
    operations: Operations,
    backups: VeleroBackups,
    temporal: Temporal,
    files: Files,
    uploading: Upload,
) -> None:
    checksum, history = files.checksum(), History(kubectl, files.namespace)
    engine.kill("worker")
    uploading.thaw()
    engine.start("worker", "worker")

    ended = operations.await_end(files.namespace, within_s=END_WITHIN_S)
    status = succeeded(ended)
    assert status["outputs"]["volumeBytes"] == str(BYTES)
    assert len(status["attempts"]) == len(backups.of(ended)) == len(uploading.movers()) == 1
    shown_in_order(history)
    temporal.await_end(workflow_id(ended))
    told = operations.events(files.namespace, ended["metadata"]["uid"])
    assert len({(event["reason"], event["action"]) for event in told}) == len(told), "each Event once"

    bring_back(kubectl, Velero(kubectl), files.namespace, status["outputs"]["backupName"])
    assert files.checksum() == checksum


def test_a_node_agent_that_is_killed_leaves_the_upload_to_go_on_and_be_told(
    cluster: LocalCluster, kubectl: Kubectl, operations: Operations, files: Files, uploading: Upload
) -> None:
    history = History(kubectl, files.namespace)
    cluster.kill("node-agent")
    await_log(cluster, "node-agent", "Completed to resume in progress PVB", uploading.movers()[0]["metadata"]["name"])
    uploading.thaw()
    status = succeeded(operations.await_end(files.namespace, within_s=END_WITHIN_S))
    assert status["outputs"]["volumeBytes"] == str(BYTES)
    assert len(status["attempts"]) == 1
    assert any(told.get("bytesDone", 0) > 0 and told["percent"] < 100 for told in shown_in_order(history))


def test_a_data_mover_that_is_killed_costs_the_volume_and_the_message_names_it(
    operations: Operations, files: Files, uploading: Upload
) -> None:
    uploading.kill()
    status = operations.await_end(files.namespace, within_s=END_WITHIN_S)["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "VolumeNotBackedUp"), status["message"]
    assert f"{files.namespace}/data-files-0 (its PodVolumeBackup did not succeed)" in status["message"]
    assert "PartiallyFailed" in status["message"]


def test_a_velero_that_is_killed_is_given_a_second_attempt(
    cluster: LocalCluster, operations: Operations, backups: VeleroBackups, files: Files, uploading: Upload
) -> None:
    cluster.kill("velero")
    uploading.thaw()
    ended = operations.await_end(files.namespace, within_s=2 * END_WITHIN_S)
    status = succeeded(ended)
    assert [(attempt["cause"], attempt["outcome"], attempt["reason"]) for attempt in status["attempts"]] == [
        ("Initial", "Failed", "VeleroBackupFailed"),
        ("Automatic", "Succeeded", "VeleroBackupSucceeded"),
    ]
    assert backups.names(ended) == sorted(attempt["veleroName"] for attempt in status["attempts"])
    assert status["outputs"]["volumeBytes"] == str(BYTES)


def test_s3_that_is_away_for_20_s_in_the_middle_of_it_costs_nothing(
    cluster: LocalCluster,
    kubectl: Kubectl,
    operations: Operations,
    files: Files,
    uploading: Upload,
    stopped: Callable[[str], None],
) -> None:
    checksum, history = files.checksum(), History(kubectl, files.namespace)
    stopped("seaweedfs")
    uploading.thaw()
    time.sleep(20)  # the outage itself
    cluster.start("seaweedfs")
    status = succeeded(operations.await_end(files.namespace, within_s=2 * END_WITHIN_S))
    assert status["outputs"]["volumeBytes"] == str(BYTES)
    assert len(status["attempts"]) == 1
    shown_in_order(history)

    bring_back(kubectl, Velero(kubectl), files.namespace, status["outputs"]["backupName"])
    assert files.checksum() == checksum

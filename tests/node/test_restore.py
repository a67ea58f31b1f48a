"""The shop's rows come back through a Restore Operation, and what it says of them is true.

One shop with one backup for all tests, and a sale after it in each that needs one; the last test deletes the shop.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.claims import SECRET, claim
from support.engine import Engine
from support.kube import Kubectl, Operations, restore
from support.saved import Saved, step
from support.shop import Shop
from support.world import MANAGED, VeleroBackups, fresh_namespace

CLAIM = "data-database-0"
SALE = "INSERT INTO orders VALUES (1000001, 'customer-late', 'lamp', 1, now())"
AT_ONCE = {"decisionTimeout": "0s"}


@pytest.fixture(scope="module")
def shop(running_engine: Engine, kubectl: Kubectl) -> Iterator[Shop]:
    with fresh_namespace(kubectl) as namespace:
        shop = Shop(kubectl, namespace)
        shop.open()
        yield shop


@pytest.fixture(scope="module")
def rows(shop: Shop) -> str:
    """What the shop holds when it is backed up."""
    return shop.orders()


@pytest.fixture(scope="module")
def saved(shop: Shop, rows: str, kubectl: Kubectl, operations: Operations) -> Saved:
    return Saved(kubectl, operations, shop.namespace)


def test_a_copy_in_another_namespace_has_every_row_and_the_message_names_the_claim_that_was_filled(
    engine: Engine, kubectl: Kubectl, operations: Operations, saved: Saved, rows: str
) -> None:
    with saved.destination() as copy:
        status = saved.into(copy)
        assert (status["phase"], status["reason"]) == ("Succeeded", "VeleroRestoreCompleted"), status["message"]
        assert Shop(kubectl, copy).orders() == rows
        outputs, size = status["outputs"], saved.status["outputs"]["volumeBytes"]
        assert (outputs["volumeCount"], outputs["volumeBytes"]) == ("1", size)
        filled = f"Data came back: PersistentVolumeClaim {CLAIM} ({size} bytes)."
        assert filled in step(status, "VerifyContents")["message"]
        verified = operations.condition({"status": status}, "Verified")
        assert verified is not None
        assert filled in verified["message"]
        assert "2 workloads have rolled out. 1 volumes are bound." in verified["message"]
        assert step(status, "SafetyBackup")["state"] == "Skipped"
        assert status["progress"]["bytesDone"] == status["progress"]["bytesTotal"] == int(size)


def test_a_claim_whose_pod_is_left_out_of_the_restore_has_no_data_and_fails_it(engine: Engine, saved: Saved) -> None:
    """Its StatefulSet makes the pod itself, and the database starts anew."""
    with saved.destination() as copy:
        status = saved.into(copy, parameters={"excludedResources": ["pods"]}, policy=AT_ONCE)
    assert (status["phase"], status["reason"]) == ("Failed", "VerificationFailed"), status["message"]
    assert f"created PersistentVolumeClaim {CLAIM} without the data that the backup holds" in status["message"]
    assert status["outputs"]["volumeCount"] == "0"


def test_rows_that_came_later_stay_where_volumes_are_kept_and_the_claim_is_told_as_not_restored(
    engine: Engine, kubectl: Kubectl, saved: Saved, shop: Shop, rows: str
) -> None:
    shop.psql("--command", SALE)
    later = shop.orders()
    kubectl("delete", "deployment/web", "configmap/shop-pages", "-n", shop.namespace)

    status = saved.into(shop.namespace)

    assert (status["phase"], status["reason"]) == ("Succeeded", "VeleroRestoreCompleted"), status["message"]
    assert shop.orders() == later != rows
    told = f"NOT restored: PersistentVolumeClaim {CLAIM} (what exists keeps its data)."
    assert told in status["message"]
    assert "Data came back" not in status["message"]
    assert (status["outputs"]["volumeCount"], status["outputs"]["volumeBytes"]) == ("0", "0")
    assert any(CLAIM in warning for warning in status["outputs"]["warnings"])
    assert kubectl.json("get", "deployment", "web", "-n", shop.namespace)["status"]["readyReplicas"] == 1


def test_a_claim_that_is_to_be_kept_is_not_written_into_though_its_pod_is_gone(
    engine: Engine, kubectl: Kubectl, saved: Saved, shop: Shop, rows: str
) -> None:
    """Velero would make the pod of the backup, and write the backup's files over the rows that came since."""
    shop.psql("--command", f"{SALE} ON CONFLICT DO NOTHING")
    later, unsaved = shop.orders(), {"safetyBackup": False}
    kubectl("delete", "statefulset/database", "-n", shop.namespace)
    kubectl("wait", "pod/database-0", "-n", shop.namespace, "--for=delete", "--timeout=60s")

    name = saved.begin(shop.namespace, parameters=unsaved)
    refused = saved.await_end(name)
    assert (refused["phase"], refused["reason"]) == ("Failed", "ValidationFailed"), refused["message"]
    assert f"existingVolumes: Keep would not keep {CLAIM} (pod database-0)" in refused["message"]
    assert saved.restores(name) == []

    as_advised = saved.into(shop.namespace, parameters={**unsaved, "excludedResources": ["pods"]})
    assert as_advised["phase"] == "Succeeded", as_advised["message"]
    shop.await_ready()
    assert shop.orders() == later != rows


def test_replaced_volumes_hold_the_rows_of_the_backup_and_what_came_later_is_in_the_safety_backup(
    engine: Engine, kubectl: Kubectl, backups: VeleroBackups, saved: Saved, shop: Shop, rows: str
) -> None:
    shop.psql("--command", f"{SALE} ON CONFLICT DO NOTHING")
    later = shop.orders()

    status = saved.into(shop.namespace, parameters={"existingVolumes": "Replace"})

    assert status["phase"] == "Succeeded", status["message"]
    assert shop.orders() == rows != later
    assert f"Data came back: PersistentVolumeClaim {CLAIM} " in status["message"]
    assert "NOT restored" not in status["message"]
    assert f"Deleted, to be replaced: {CLAIM} with StatefulSet database." in step(status, "ReplaceVolumes")["message"]

    safety = step(status, "SafetyBackup")["message"].split()[2]
    assert backups.get(safety)["metadata"]["labels"]["ops.vworkspace.io/role"] == "safety"
    with saved.destination() as copy:
        again = saved.into(copy, backup_name=safety)
        assert again["phase"] == "Succeeded", again["message"]
        assert Shop(kubectl, copy).orders() == later


def test_nothing_is_replaced_where_the_safety_backup_does_not_hold_what_would_go(
    engine: Engine, kubectl: Kubectl, saved: Saved, shop: Shop
) -> None:
    """Somebody has opted the volume out since; the backup before it is Completed, and has no data of it."""
    shop.psql("--command", f"{SALE} ON CONFLICT DO NOTHING")
    later = shop.orders()
    pod = ("pod/database-0", "-n", shop.namespace)
    kubectl("annotate", *pod, "backup.velero.io/backup-volumes-excludes=data")
    before = kubectl.json("get", *pod)["metadata"]["uid"]

    status = saved.into(shop.namespace, parameters={"existingVolumes": "Replace"}, policy=AT_ONCE)

    kubectl("annotate", *pod, "backup.velero.io/backup-volumes-excludes-")
    assert (status["phase"], status["reason"]) == ("Failed", "SafetyBackupFailed"), status["message"]
    assert f"Nothing was touched: spec.parameters.existingVolumes: Replace would delete {CLAIM}" in status["message"]
    assert kubectl.json("get", *pod)["metadata"]["uid"] == before
    assert shop.orders() == later


@pytest.fixture
def approving(engine: Engine, tmp_path: Path) -> Iterator[None]:
    """The worker can verify approvals."""
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    engine.stop("worker")
    engine.start("worker", "worker", VOP_APPROVAL_SECRET_FILE=str(secret))
    yield
    engine.stop("worker")


def test_a_shop_that_was_deleted_comes_back_under_its_name_with_every_row(
    approving: None, kubectl: Kubectl, operations: Operations, saved: Saved, shop: Shop, rows: str
) -> None:
    """A namespace that was made anew may be somebody else's by now: it needs an approval."""
    kubectl("delete", "namespace", shop.namespace, "--timeout=90s")
    metadata = {"name": shop.namespace, "labels": MANAGED}
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    name = f"back-{shop.namespace}"  # a claim counts once, and a cluster may be kept

    kubectl.apply(restore(shop.namespace, "nightly", name, approvals={"claim": claim(name)}))

    status = saved.await_end(name)
    assert status["phase"] == "Succeeded", status["message"]
    assert shop.orders() == rows
    assert f"Data came back: PersistentVolumeClaim {CLAIM} " in status["message"]
    assert status["approval"]["by"] == "ann@example.com"

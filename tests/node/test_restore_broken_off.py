"""A restore of 200 MB that something breaks while they are on their way: what is told, and what comes back."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.engine import Engine
from support.files import Files
from support.history import History
from support.kube import Kubectl, Operations
from support.saved import Saved, step
from support.temporal import Temporal, workflow_id
from support.uploads import BYTES, Download, await_log
from support.world import fresh_namespace

from local_cluster.cluster import LocalCluster

Json = dict[str, Any]
CLAIM = "data-files-0"
CLEANING = {"cleanup": "DeleteRestored"}
SUCCEEDED = ("Succeeded", "VeleroRestoreCompleted")


@pytest.fixture(scope="module")
def files(running_engine: Engine, kubectl: Kubectl) -> Iterator[Files]:
    with fresh_namespace(kubectl) as namespace:
        files = Files(kubectl, namespace)
        files.write()
        yield files


@pytest.fixture(scope="module")
def checksum(files: Files) -> str:
    return files.checksum()


@pytest.fixture(scope="module")
def saved(files: Files, checksum: str, kubectl: Kubectl, operations: Operations) -> Saved:
    return Saved(kubectl, operations, files.namespace)


class Restoring:
    """Restores into a namespace of the test's own, held while their data is on its way."""

    def __init__(self, saved: Saved, cluster: LocalCluster, kubectl: Kubectl, destination: str) -> None:
        self.saved, self.copy = saved, Files(kubectl, destination)
        self._cluster, self._kubectl = cluster, kubectl
        self.name = ""

    def begin(self, **parameters: Any) -> Download:
        """Its only attempt so far, held."""
        self.name = self.saved.begin(self.copy.namespace, parameters=parameters)
        return self.held(1)

    def held(self, attempt: int) -> Download:
        """The download of this attempt, held."""
        found = self.saved.await_path(self.name, f"{{.status.attempts[{attempt - 1}].veleroName}}")
        name = found["status"]["attempts"][attempt - 1]["veleroName"]
        download = Download(self._cluster, self._kubectl, self.copy.namespace, name)
        download.freeze()
        return download

    def retry(self, attempt: int) -> None:
        where = (self.name, "-n", self.saved.namespace, "--overwrite")
        self._kubectl("annotate", "operation", *where, f"ops.vworkspace.io/retry={attempt}")

    @property
    def operation(self) -> Json:
        return self.saved.get(self.name)

    def succeeded(self, within_s: int = 110) -> Json:
        """The status with which it ended, the data there, one Velero Restore for each attempt."""
        status = self.saved.await_end(self.name, within_s)
        assert (status["phase"], status["reason"]) == SUCCEEDED, status["message"]
        assert f"Data came back: PersistentVolumeClaim {CLAIM} ({BYTES} bytes)." in status["message"]
        made = [one["metadata"]["name"] for one in self.saved.restores(self.name)]
        assert made == sorted(attempt["veleroName"] for attempt in status["attempts"])
        return status


@pytest.fixture
def restoring(engine: Engine, cluster: LocalCluster, kubectl: Kubectl, saved: Saved) -> Iterator[Restoring]:
    with saved.destination() as copy:
        yield Restoring(saved, cluster, kubectl, copy)


def outcomes(status: Json) -> list[tuple[str, str, str]]:
    return [(one["cause"], one["outcome"], one["reason"]) for one in status["attempts"]]


def shown_in_order(history: History, name: str) -> list[Json]:
    """Every progress that was told; none went back, and none was complete before the end."""
    statuses = history.statuses(name)
    shown = [seen["progress"] for seen in statuses if "progress" in seen]
    for number in ("percent", "bytesDone", "bytesTotal"):
        values = [progress.get(number, 0) for progress in shown]
        assert values == sorted(values)
    early = [seen["progress"]["percent"] for seen in statuses if "progress" in seen and seen["phase"] == "Running"]
    assert max(early) < 100
    return shown


def test_a_worker_that_is_killed_makes_no_second_restore_and_progress_tells_the_bytes(
    engine: Engine, kubectl: Kubectl, restoring: Restoring, checksum: str
) -> None:
    history = History(kubectl, restoring.saved.namespace)
    download = restoring.begin()
    restoring.saved.await_path(restoring.name, "{.status.progress.bytesTotal}", str(BYTES))
    engine.kill("worker")
    engine.start("worker", "worker")
    download.thaw()

    status = restoring.succeeded()

    assert len(status["attempts"]) == len(download.movers()) == 1
    assert restoring.copy.checksum() == checksum
    shown = shown_in_order(history, restoring.name)
    assert all(progress["percent"] < 50 for progress in shown if not progress.get("bytesDone")), (
        "items are little of it"
    )
    assert (shown[-1]["percent"], shown[-1]["bytesDone"], shown[-1]["bytesTotal"]) == (100, BYTES, BYTES)


def test_a_node_agent_that_is_killed_costs_no_attempt(
    cluster: LocalCluster, restoring: Restoring, checksum: str
) -> None:
    download = restoring.begin()
    cluster.kill("node-agent")
    # A mover that ends before that is never heard by Velero, which then works on this Restore for hours.
    await_log(cluster, "node-agent", "Completed to resume in progress PVR", download.movers()[0]["metadata"]["name"])
    download.thaw()

    status = restoring.succeeded()

    assert len(status["attempts"]) == len(download.movers()) == 1
    assert restoring.copy.checksum() == checksum


def test_a_velero_that_is_killed_is_given_a_second_attempt_that_clears_what_is_half_filled(
    cluster: LocalCluster, restoring: Restoring, checksum: str
) -> None:
    """Killed, it never wrote the list of what it had created."""
    download = restoring.begin(**CLEANING)
    cluster.kill("velero")
    download.thaw()

    status = restoring.succeeded()

    assert outcomes(status) == [
        ("Initial", "Failed", "VeleroRestoreFailed"),
        ("Automatic", "Succeeded", "VeleroRestoreCompleted"),
    ]
    cleaned = step(status, "CleanUp")["message"]
    assert f"PersistentVolumeClaim {CLAIM}" in cleaned
    assert "told by its label and their age" in cleaned
    assert restoring.copy.checksum() == checksum


def test_a_claim_that_is_half_filled_is_never_taken_for_one_that_was_kept(
    kubectl: Kubectl, restoring: Restoring, checksum: str
) -> None:
    """The data mover is stopped; with `cleanup: Keep` Velero leaves what it has begun as it is, and says Completed."""
    restoring.begin().cancel()
    failed = restoring.saved.await_question(restoring.name)
    assert outcomes(failed) == [("Initial", "Failed", "VeleroRestorePartiallyFailed")]
    assert "pod volume restore canceled" in failed["message"], "Velero's own words"

    restoring.retry(1)
    again = restoring.saved.await_question(restoring.name, 2)
    assert again["attempts"][1]["reason"] == "VerificationFailed"
    assert f"NOT restored: PersistentVolumeClaim {CLAIM}. An attempt before made it" in again["message"]
    assert restoring.saved.restores(restoring.name)[1]["status"]["phase"] == "Completed", "which is what Velero says"

    kubectl("delete", "statefulset/files", "pod/files-0", f"pvc/{CLAIM}", "-n", restoring.copy.namespace)
    restoring.retry(2)
    status = restoring.succeeded()
    assert [attempt["outcome"] for attempt in status["attempts"]] == ["Failed", "Failed", "Succeeded"]
    assert restoring.copy.checksum() == checksum


def test_s3_that_goes_away_fails_the_attempt_and_the_retry_brings_the_data_back(
    cluster: LocalCluster,
    temporal: Temporal,
    restoring: Restoring,
    stopped: Callable[[str], None],
    checksum: str,
) -> None:
    download = restoring.begin(**CLEANING)
    stopped("seaweedfs")
    download.thaw()
    download.await_phase("Failed")
    # Until the bucket is back Velero ends nothing: it has still to read there what the backup holds of volumes.
    cluster.start("seaweedfs")
    failed = restoring.saved.await_question(restoring.name)
    assert outcomes(failed) == [("Initial", "Failed", "VeleroRestorePartiallyFailed")]
    assert "connect: connection refused" in failed["message"], "Velero's own words"

    temporal.update(workflow_id(restoring.operation), "retry", {"attempt": 1})

    status = restoring.succeeded()
    assert outcomes(status) == [
        ("Initial", "Failed", "VeleroRestorePartiallyFailed"),
        ("Human", "Succeeded", "VeleroRestoreCompleted"),
    ]
    assert f"PersistentVolumeClaim {CLAIM}" in step(status, "CleanUp")["message"]
    assert restoring.copy.checksum() == checksum

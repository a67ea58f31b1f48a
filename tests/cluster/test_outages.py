"""Temporal and the API server killed in the middle of an Operation: health says so, nothing is lost or doubled."""

import time
from collections.abc import Iterator
from threading import Event, Thread

import pytest
from support.engine import Engine
from support.kube import Kubectl, Operations, backup
from support.temporal import Temporal, workflow_id
from support.world import VeleroBackups, taken_up

from local_cluster.cluster import LocalCluster

PROCESSES = ("controller", "worker")
READY_AGAIN_WITHIN_S = 60


@pytest.fixture
def under_way(
    engine: Engine, cluster: LocalCluster, kubectl: Kubectl, operations: Operations, app: str
) -> Iterator[str]:
    """A namespace whose backup is followed and cannot end before Velero is started."""
    cluster.stop("velero")
    try:
        kubectl.apply(backup(app))
        operations.await_path(app, "backup", "{.status.engineRef.name}")
        yield app
    finally:
        cluster.start("velero")


def await_page(engine: Engine, name: str, path: str, code: int) -> str:
    deadline = time.monotonic() + READY_AGAIN_WITHIN_S
    while (answer := engine.get(name, path))[0] != code:
        assert time.monotonic() < deadline, f"{name}{path} is {answer}, not {code}"
        time.sleep(0.1)
    return answer[1]


class Looking:
    """Asks a page again and again in the background, and keeps every answer that was not 200."""

    def __init__(self, engine: Engine, name: str, path: str) -> None:
        self._ask = lambda: engine.get(name, path)
        self._done, self.asked = Event(), 0
        self.faults: list[tuple[int, str]] = []
        self._thread = Thread(target=self._look)

    def __enter__(self) -> "Looking":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.1):
            self.asked += 1
            if (answer := self._ask())[0] != 200:
                self.faults.append(answer)


def test_temporal_killed_in_the_middle_is_told_by_readyz_and_the_backup_succeeds(
    engine: Engine,
    cluster: LocalCluster,
    kubectl: Kubectl,
    operations: Operations,
    temporal: Temporal,
    backups: VeleroBackups,
    under_way: str,
) -> None:
    with Looking(engine, "controller", "/livez") as controller, Looking(engine, "worker", "/livez") as worker:
        cluster.kill("temporal")
        try:
            kubectl.apply(backup(under_way, "meanwhile"))
            for name in PROCESSES:
                assert "temporal: Temporal does not serve" in await_page(engine, name, "/readyz", 503)
        finally:
            cluster.start("temporal")
        for name in PROCESSES:
            await_page(engine, name, "/readyz", 200)
        cluster.start("velero")
        for name in ("backup", "meanwhile"):
            operation = operations.await_end(under_way, name, within_s=110)
            assert operation["status"]["phase"] == "Succeeded", operation["status"]["message"]
            assert len(taken_up(operation)) == 1
            assert backups.names(operation) == sorted(a["veleroName"] for a in operation["status"]["attempts"])
            run = temporal.run(workflow_id(operation))
            assert run is not None
            assert run.run_id == run.first_run_id
    assert not controller.faults, "a process is not restarted for what ails Temporal"
    assert not worker.faults
    assert controller.asked > 10


def test_the_api_server_killed_in_the_middle_costs_nothing_and_restarts_nobody(
    engine: Engine,
    cluster: LocalCluster,
    kubectl: Kubectl,
    operations: Operations,
    backups: VeleroBackups,
    under_way: str,
) -> None:
    pids = [cluster.pid(name) for name in PROCESSES]
    with Looking(engine, "controller", "/livez") as controller, Looking(engine, "worker", "/livez") as worker:
        cluster.kill("kube-apiserver")
        cluster.start("kube-apiserver")
        kubectl.apply(backup(under_way, "afterwards"))
        cluster.start("velero")
        for name in ("backup", "afterwards"):
            operation = operations.await_end(under_way, name, within_s=110)
            assert operation["status"]["phase"] == "Succeeded", operation["status"]["message"]
            assert len(taken_up(operation)) == 1
            assert backups.names(operation) == sorted(a["veleroName"] for a in operation["status"]["attempts"])
    assert not controller.faults
    assert not worker.faults
    assert [cluster.pid(name) for name in PROCESSES] == pids

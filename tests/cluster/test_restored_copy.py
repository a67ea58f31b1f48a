"""Velero backs up every custom resource: an Operation that Velero itself brings back must never run."""

import subprocess
import uuid
from collections.abc import Iterator

import pytest
from support.engine import Engine
from support.kube import Kubectl, Operations, backup
from support.temporal import Temporal, workflow_id
from support.world import VELERO, VeleroBackups

from local_cluster.cluster import LocalCluster


@pytest.fixture
def fresh_name(kubectl: Kubectl) -> Iterator[str]:
    """The name of a namespace that does not exist yet."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    yield name
    kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def velero(kubectl: Kubectl, *args: str) -> None:
    command = ["velero", "--namespace", VELERO, *args]
    done = subprocess.run(command, env=kubectl.env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_operation_that_velero_brought_back_is_refused_and_does_nothing(
    engine: Engine,
    cluster: LocalCluster,
    kubectl: Kubectl,
    operations: Operations,
    temporal: Temporal,
    backups: VeleroBackups,
    app: str,
    fresh_name: str,
) -> None:
    # Velero looks for new kinds every five minutes, and backs up none that it does not know.
    cluster.stop("velero")
    cluster.start("velero")
    kubectl.apply(backup(app))
    original = operations.await_end(app)
    assert original["status"]["phase"] == "Succeeded"
    everything = f"all-of-{app}"
    velero(kubectl, "backup", "create", everything, "--include-namespaces", app, "--wait")
    try:
        back = ("--from-backup", everything, "--namespace-mappings", f"{app}:{fresh_name}")
        velero(kubectl, "restore", "create", everything, *back, "--wait")

        copy = operations.await_end(fresh_name)
        status = copy["status"]
        assert copy["metadata"]["uid"] != original["metadata"]["uid"]
        assert (status["phase"], status["reason"]) == ("Failed", "RestoredCopy")
        assert f"with restore {everything}" in status["message"]
        assert "attempts" not in status or not status["attempts"]
        assert not backups.of(copy)
        failure = temporal.failure(workflow_id(copy))
        assert failure is not None
        assert failure.type == "RestoredCopy"
        assert operations.get(app)["metadata"]["resourceVersion"] == original["metadata"]["resourceVersion"]
    finally:
        velero(kubectl, "backup", "delete", everything, "--confirm")

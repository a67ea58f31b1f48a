"""A restore that truly failed waits for a person, who mends the cause and says how it goes on.

The Deployment `velero` is missing, so Velero cannot restore pods: the restore ends PartiallyFailed. With the
Deployment back, a retry succeeds.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.engine import VOP, Engine
from support.history import History, conditions
from support.kube import Kubectl, Operations, backup, restore
from support.temporal import Temporal, workflow_id
from support.world import VELERO, config_map, deployment, fresh_namespace

from local_cluster.cluster import LocalCluster

Json = dict[str, Any]
WHY = 'deployments.apps "velero" not found'


@pytest.fixture(scope="module")
def saved(running_engine: Engine, kubectl: Kubectl, operations: Operations) -> Iterator[str]:
    """A namespace with a running workload, backed up by the Operation `nightly`."""
    with fresh_namespace(kubectl) as ns:
        kubectl.apply(config_map(ns, "settings"), deployment(ns, "web"))
        kubectl("rollout", "status", "deployment/web", "-n", ns, "--timeout=60s")
        kubectl.apply(backup(ns, "nightly"))
        assert operations.await_end(ns, "nightly")["status"]["phase"] == "Succeeded"
        yield ns


@pytest.fixture
def velero_deployment(kubectl: Kubectl) -> Iterator[Callable[[], None]]:
    """The Deployment is gone; what is yielded brings it back, and so does the end of the test."""
    found = kubectl.json("get", "deployment", "velero", "-n", VELERO)
    kept = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "velero", "namespace": VELERO, "labels": found["metadata"].get("labels", {})},
        "spec": found["spec"],
    }
    kubectl("delete", "deployment", "velero", "-n", VELERO)

    def back() -> None:
        kubectl.apply(kept)

    yield back
    back()


@pytest.fixture
def failed(
    engine: Engine,
    kubectl: Kubectl,
    operations: Operations,
    saved: str,
    velero_deployment: Callable[[], None],
    request: pytest.FixtureRequest,
) -> Json:
    """A Restore that waits for a decision, because pods could not be restored."""
    name = f"restore-{abs(hash(request.node.name)) % 10**6}"
    kubectl("delete", "deployment", "web", "-n", saved, "--ignore-not-found")
    kubectl("wait", "pods", "--all", "-n", saved, "--for=delete", "--timeout=60s")
    kubectl.apply(restore(saved, "nightly", name, parameters={"safetyBackup": False}))
    return operations.await_path(saved, name, "{.status.reason}", "AwaitingDecision")


def mended_and(decide: Callable[[], None], back: Callable[[], None]) -> None:
    back()
    decide()


def ended(operations: Operations, failed: Json) -> Json:
    return operations.await_end(failed["metadata"]["namespace"], failed["metadata"]["name"])


def check_second_attempt(status: Json) -> None:
    assert status["phase"] == "Succeeded", status["message"]
    assert status["attempt"] == 2
    told = [(a["cause"], a["outcome"], a["reason"]) for a in status["attempts"]]
    assert told == [
        ("Initial", "Failed", "VeleroRestorePartiallyFailed"),
        ("Human", "Succeeded", "VeleroRestoreCompleted"),
    ]
    assert (status["decision"]["attempt"], status["decision"]["verb"]) == (1, "retry")


def vop(cluster: LocalCluster, engine: Engine, *args: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **cluster.env()}
    return subprocess.run([VOP, *args], env=env, capture_output=True, text=True, timeout=60, check=False)


def test_the_failure_is_told_everywhere_in_velero_s_own_words(
    failed: Json, kubectl: Kubectl, operations: Operations, temporal: Temporal
) -> None:
    status, meta = failed["status"], failed["metadata"]
    assert status["phase"] == "Running"
    assert "Attempt 1 failed (VeleroRestorePartiallyFailed)" in status["message"]
    assert WHY in status["message"]
    found = conditions(status)
    assert found.items() >= {"Blocked": "True", "Succeeded": "Unknown", "Ready": "False", "Failed": "False"}.items()
    events = operations.events(meta["namespace"], meta["uid"])
    blocked = next(event for event in events if event["reason"] == "OperationBlocked")
    assert blocked["type"] == "Warning"
    assert WHY in blocked["note"]
    run = temporal.run(workflow_id(failed))
    assert run is not None
    assert run.status == "Running"
    kubectl("wait", f"operation/{meta['name']}", "-n", meta["namespace"], "--for=condition=Blocked", "--timeout=5s")


def test_kubectl_annotate_retries_it(
    failed: Json, velero_deployment: Callable[[], None], kubectl: Kubectl, operations: Operations
) -> None:
    meta = failed["metadata"]
    command = failed["status"]["message"].partition("then: ")[2].partition(" (or")[0].split()
    assert command[:3] == ["kubectl", "annotate", "operation"]
    velero_deployment()
    kubectl(*command[1:])
    status = ended(operations, failed)["status"]
    check_second_attempt(status)
    assert status["decision"]["by"] == "unverified:kubectl annotate"
    pods = kubectl.json("get", "pods", "-n", meta["namespace"])["items"]
    assert [pod["status"]["phase"] for pod in pods] == ["Running"]


def test_a_stale_annotation_decides_nothing(
    failed: Json, kubectl: Kubectl, operations: Operations, temporal: Temporal
) -> None:
    meta = failed["metadata"]
    history = History(kubectl, meta["namespace"])
    name = ("operation", meta["name"], "-n", meta["namespace"])
    kubectl("annotate", *name, "ops.vworkspace.io/retry=7", "--overwrite")
    kubectl("annotate", *name, "ops.vworkspace.io/retry=1", "--overwrite")
    operations.await_path(meta["namespace"], meta["name"], "{.status.attempt}", "2")
    operations.await_path(meta["namespace"], meta["name"], "{.status.reason}", "AwaitingDecision")
    assert operations.get(meta["namespace"], meta["name"])["status"]["attempt"] == 2
    kubectl("annotate", *name, "ops.vworkspace.io/abort=2", "--overwrite")
    status = ended(operations, failed)["status"]
    assert (status["phase"], status["reason"], status["attempt"]) == ("Failed", "AbortedByUser", 2)
    attempts = {seen["attempt"] for seen in history.statuses(meta["name"])}
    assert attempts == {1, 2}


def test_the_temporal_command_line_retries_it(
    failed: Json, velero_deployment: Callable[[], None], operations: Operations, temporal: Temporal
) -> None:
    refused = temporal.update(workflow_id(failed), "retry", {"attempt": 9})
    assert "Attempt 9 does not wait for a decision: attempt 1 does" in refused
    velero_deployment()
    assert "It is tried again." in temporal.update(workflow_id(failed), "retry", {"attempt": 1, "by": "ann"})
    status = ended(operations, failed)["status"]
    check_second_attempt(status)
    assert status["decision"]["by"] == "unverified:ann"


def test_a_signal_of_the_temporal_command_line_aborts_it(
    failed: Json, operations: Operations, temporal: Temporal
) -> None:
    temporal.signal(workflow_id(failed), "abort", {"attempt": 1})
    operation = ended(operations, failed)
    assert (operation["status"]["phase"], operation["status"]["reason"]) == ("Failed", "AbortedByUser")
    failure = temporal.failure(workflow_id(operation))
    assert failure is not None
    assert failure.type == "AbortedByUser"


def test_vop_retry_and_vop_abort_decide(
    failed: Json,
    velero_deployment: Callable[[], None],
    cluster: LocalCluster,
    engine: Engine,
    operations: Operations,
) -> None:
    name = f"{failed['metadata']['namespace']}/{failed['metadata']['name']}"
    again = vop(cluster, engine, "retry", name)
    assert again.returncode == 0, again.stderr
    assert "attempt 1" in again.stdout
    operations.await_path(failed["metadata"]["namespace"], failed["metadata"]["name"], "{.status.attempt}", "2")
    operations.await_path(
        failed["metadata"]["namespace"], failed["metadata"]["name"], "{.status.reason}", "AwaitingDecision"
    )
    done = vop(cluster, engine, "abort", name)
    assert done.returncode == 0, done.stderr
    status = ended(operations, failed)["status"]
    assert (status["reason"], status["decision"]["verb"]) == ("AbortedByUser", "abort")
    assert status["decision"]["by"].startswith("unverified:")
    late = vop(cluster, engine, "retry", name)
    assert late.returncode == 1
    assert "does not wait for a decision: it is Failed" in late.stderr
    nowhere = vop(cluster, engine, "retry", "nowhere/none")
    assert nowhere.returncode == 1
    assert "no Operation" in nowhere.stderr

"""Whatever is killed or goes away while a Restore is at any of its steps, one Restore an attempt comes of it."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.engine import Engine
from support.kube import Kubectl, Operations, backup, restore
from support.world import (
    VELERO,
    VeleroBackups,
    VeleroRestores,
    config_map,
    deployment,
    fresh_namespace,
    taken_up,
)

from local_cluster.cluster import LocalCluster

Json = dict[str, Any]
LOCATION = ("backupstoragelocations.velero.io/default", "-n", VELERO)
AT_ONCE = {"decisionTimeout": "0s"}
QUICK = {"safetyBackup": False}
RECOVERED_WITHIN = timedelta(seconds=90)
"""A short call that was lost is noticed after 45 s, a wait after 30 s; then the work goes on."""


@pytest.fixture(scope="module")
def restores(kubectl: Kubectl) -> VeleroRestores:
    return VeleroRestores(kubectl)


@pytest.fixture
def location(kubectl: Kubectl) -> Iterator[Callable[[Json], None]]:
    """Change the storage location; afterwards it is as it was."""

    def patch(change: Json) -> None:
        kubectl("patch", *LOCATION, "--type=merge", "-p", json.dumps(change))

    before = kubectl.json("get", *LOCATION)["spec"]
    yield patch
    patch({"spec": {"accessMode": None} | before})  # what it did not have a merge would leave
    kubectl("wait", *LOCATION, "--for=jsonpath={.status.phase}=Available", "--timeout=60s")


def lose_settings(kubectl: Kubectl, operations: Operations, *namespaces: str) -> None:
    """Each namespace has a backup `nightly`, and has lost its ConfigMap `settings`."""
    for namespace in namespaces:
        kubectl.apply(config_map(namespace, "settings"), backup(namespace, "nightly"))
    for namespace in namespaces:
        status = operations.await_end(namespace, "nightly")["status"]
        assert status["phase"] == "Succeeded", status["message"]
        kubectl("delete", "configmap", "settings", "-n", namespace)


# Where nothing is waited for, the step may be over when the kill comes: then the next one is struck.
KILLED_AT = (
    "Admit",
    "FindBackup",
    "CheckConsent",
    "AwaitApproval",
    "SuspendReleases",
    "SafetyBackup",
    "ReplaceVolumes",
    "CreateRestore",
    "FollowRestore",
    "VerifyContents",
    "VerifyWorkloads",
)


@dataclass
class Killed:
    """Restores that were each at another step when the worker was killed."""

    ended: dict[str, Json] = field(default_factory=dict)
    last_kill: datetime | None = None


@pytest.fixture(scope="module")
def killed(running_engine: Engine, kubectl: Kubectl, operations: Operations) -> Iterator[Killed]:
    with ExitStack() as stack:
        namespaces = {step: stack.enter_context(fresh_namespace(kubectl)) for step in KILLED_AT}
        for namespace in namespaces.values():
            kubectl.apply(deployment(namespace, "web"), config_map(namespace, "stays"))
        lose_settings(kubectl, operations, *namespaces.values())
        found = Killed()
        for step, namespace in namespaces.items():
            kubectl.apply(restore(namespace, "nightly", policy=AT_ONCE))
            operations.await_path(namespace, "restore", f'{{.status.steps[?(@.name=="{step}")].startedAt}}')
            running_engine.kill("worker")
            found.last_kill = datetime.now(UTC)
            running_engine.start("worker", "worker")
        for step, namespace in namespaces.items():
            found.ended[step] = operations.await_end(namespace, "restore", within_s=150)
        yield found


@pytest.mark.parametrize("step", KILLED_AT)
def test_a_worker_that_is_killed_at_a_step_makes_no_second_restore(
    killed: Killed, restores: VeleroRestores, backups: VeleroBackups, step: str
) -> None:
    operation = killed.ended[step]
    status = operation["status"]
    assert status["phase"] == "Succeeded", status["message"]
    assert len(restores.of(operation)) == len(status["attempts"])
    assert len(taken_up(operation)) == 1
    assert len(backups.of(operation)) == 1, "one safety backup"


def test_after_a_kill_all_goes_on_as_soon_as_the_lost_calls_are_noticed(killed: Killed) -> None:
    last = max(datetime.fromisoformat(operation["status"]["finishedAt"]) for operation in killed.ended.values())
    assert killed.last_kill is not None
    assert last - killed.last_kill < RECOVERED_WITHIN


def test_a_location_that_is_read_only_can_be_restored_from(
    engine: Engine, kubectl: Kubectl, operations: Operations, namespace: str, location: Callable[[Json], None]
) -> None:
    lose_settings(kubectl, operations, namespace)
    location({"spec": {"accessMode": "ReadOnly"}})
    kubectl.apply(restore(namespace, "nightly", parameters=QUICK, policy=AT_ONCE))
    status = operations.await_end(namespace, "restore")["status"]
    assert status["phase"] == "Succeeded", status["message"]
    assert kubectl.json("get", "configmap", "settings", "-n", namespace)["data"] == {"name": "settings"}
    kubectl.apply(restore(namespace, "nightly", "guarded", parameters={"safetyBackup": True}, policy=AT_ONCE))
    status = operations.await_end(namespace, "guarded")["status"]
    assert status["reason"] == "SafetyBackupFailed", "a location that takes nothing can hold no safety backup"
    assert "ReadOnly" in status["message"]


def test_a_location_that_is_unavailable_is_waited_for_before_anything_is_done(
    engine: Engine,
    cluster: LocalCluster,
    kubectl: Kubectl,
    operations: Operations,
    restores: VeleroRestores,
    namespace: str,
    stopped: Callable[[str], None],
) -> None:
    lose_settings(kubectl, operations, namespace)
    stopped("seaweedfs")
    kubectl("wait", *LOCATION, "--for=jsonpath={.status.phase}=Unavailable", "--timeout=60s")
    kubectl.apply(restore(namespace, "nightly", parameters=QUICK, policy=AT_ONCE))
    waiting = operations.await_path(namespace, "restore", "{.status.reason}", "StorageLocationUnavailable")
    assert waiting["status"]["phase"] == "Pending"
    assert "Waiting until Velero finds it Available." in waiting["status"]["message"]
    assert not restores.of(waiting)
    cluster.start("seaweedfs")
    operation = operations.await_end(namespace, "restore")
    assert operation["status"]["phase"] == "Succeeded", operation["status"]["message"]
    assert len(taken_up(operation)) == 1

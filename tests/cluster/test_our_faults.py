"""The engine's own processes killed at the worst moments: every Operation ends as if nothing had been."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from support.engine import SERVICE_ACCOUNT, Engine
from support.history import History, expected_events
from support.kube import Kubectl, Operations, backup
from support.temporal import Temporal, workflow_id
from support.world import VELERO, VeleroBackups, config_map, fresh_namespace, taken_up

from local_cluster.cluster import LocalCluster

ROLE = ("role", "vworkspace-operation-engine", "-n", VELERO)
# A worker that is gone is missed after its heartbeat timeout (30 s), in a short call after 45 s.
RECOVERED_WITHIN_S = 90


@pytest.fixture
def namespaces(kubectl: Kubectl) -> Iterator[list[str]]:
    """Ten of them: Velero lets Backups of one namespace wait for each other."""
    with ExitStack() as stack:
        names = [stack.enter_context(fresh_namespace(kubectl)) for _ in range(10)]
        kubectl.apply(*(config_map(name, "settings") for name in names))
        yield names


def succeeded_once(operations: Operations, velero: VeleroBackups, namespace: str, within_s: int) -> dict[str, Any]:
    """The Operation, which has succeeded with one attempt and one Velero Backup."""
    operation = operations.await_end(namespace, within_s=within_s)
    status = operation["status"]
    assert status["phase"] == "Succeeded", status["message"]
    assert len(taken_up(operation)) == 1
    assert velero.names(operation) == sorted(attempt["veleroName"] for attempt in status["attempts"])
    return operation


def one_run(temporal: Temporal, operation: dict[str, Any]) -> None:
    run = temporal.run(workflow_id(operation))
    assert run is not None
    assert run.run_id == run.first_run_id == operation["status"]["workflow"]["runId"]


@contextmanager
def no_right_to_create_backups(kubectl: Kubectl) -> Iterator[None]:
    """What a worker wants to create it then tries again and again, for some seconds."""
    user = f"system:serviceaccount:{SERVICE_ACCOUNT.replace('/', ':')}"

    def may(expected: str) -> None:
        ask = ("auth", "can-i", "create", "backups.velero.io", "-n", VELERO)
        while kubectl(*ask, as_user=user, check=False).stdout.strip() != expected:
            time.sleep(0.05)

    rules = kubectl.json("get", *ROLE)["rules"]
    at = next(i for i, rule in enumerate(rules) if "backups" in rule["resources"])

    def grant(verbs: list[str]) -> None:
        patch = [{"op": "replace", "path": f"/rules/{at}/verbs", "value": verbs}]
        kubectl("patch", *ROLE, "--type=json", "-p", json.dumps(patch))

    grant(["get", "list", "watch"])
    try:
        may("no")
        yield
    finally:
        grant(rules[at]["verbs"])
        may("yes")


def test_a_worker_that_is_killed_is_missed_and_its_work_goes_on_once(
    engine: Engine,
    cluster: LocalCluster,
    kubectl: Kubectl,
    operations: Operations,
    temporal: Temporal,
    backups: VeleroBackups,
    namespaces: list[str],
) -> None:
    """Killed while it follows one Backup, and between the intent and the making of another."""
    following, intending = namespaces[:2]
    histories = {name: History(kubectl, name) for name in (following, intending)}
    cluster.stop("velero")
    try:
        kubectl.apply(backup(following))
        operations.await_path(following, "backup", "{.status.engineRef.name}")
        with no_right_to_create_backups(kubectl):
            kubectl.apply(backup(intending))
            seen = operations.await_path(intending, "backup", "{.status.attempt}", "1")
            engine.kill("worker")
            assert seen["status"]["phase"] == "Running", seen["status"]["message"]
            assert not backups.of(seen)
    finally:
        cluster.start("velero")
    killed_at = time.monotonic()
    engine.start("worker", "worker")

    for namespace in (following, intending):
        operation = succeeded_once(operations, backups, namespace, RECOVERED_WITHIN_S)
        one_run(temporal, operation)
        temporal.await_end(workflow_id(operation))
        told = operations.events(namespace, operation["metadata"]["uid"])
        assert len(told) == sum(expected_events(histories[namespace].statuses("backup")).values())
    assert time.monotonic() - killed_at < RECOVERED_WITHIN_S


def test_workers_killed_again_and_again_under_many_operations_lose_and_double_nothing(
    engine: Engine, kubectl: Kubectl, operations: Operations, backups: VeleroBackups, namespaces: list[str]
) -> None:
    moments = ("{.status.startedAt}", "{.status.engineRef.name}", "{.status.finishedAt}")
    kubectl.apply(*(backup(name) for name in namespaces))
    for namespace, moment in zip(namespaces, moments, strict=False):
        operations.await_path(namespace, "backup", moment, within_s=RECOVERED_WITHIN_S)
        engine.kill("worker")
        engine.start("worker", "worker")
    for namespace in namespaces:
        succeeded_once(operations, backups, namespace, 110)


def test_a_controller_killed_before_the_first_status_starts_nothing_twice(
    engine: Engine,
    kubectl: Kubectl,
    operations: Operations,
    temporal: Temporal,
    backups: VeleroBackups,
    app: str,
) -> None:
    engine.stop("worker")
    kubectl.apply(backup(app))
    operation = operations.get(app)
    while (run := temporal.run(workflow_id(operation))) is None:
        time.sleep(0.1)
    engine.kill("controller")
    assert operations.get(app)["status"] == {"observedGeneration": -1, "phase": "Pending"}
    engine.start("controller", "controller")
    engine.start("worker", "worker")

    ended = succeeded_once(operations, backups, app, 60)
    one_run(temporal, ended)
    assert ended["status"]["workflow"]["runId"] == run.run_id


def test_an_operation_applied_while_no_controller_runs_is_taken_up_later(
    engine: Engine, kubectl: Kubectl, operations: Operations, backups: VeleroBackups, app: str
) -> None:
    engine.stop("controller")
    kubectl.apply(backup(app))
    engine.start("controller", "controller")
    succeeded_once(operations, backups, app, 60)


def test_two_controllers_and_two_workers_run_each_operation_once(
    engine: Engine,
    kubectl: Kubectl,
    operations: Operations,
    temporal: Temporal,
    backups: VeleroBackups,
    namespaces: list[str],
) -> None:
    histories = {name: History(kubectl, name) for name in namespaces}
    try:
        engine.start("worker-2", "worker")
        engine.start("controller-2", "controller")
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda name: kubectl.apply(backup(name)), namespaces))
        for namespace in namespaces:
            operation = succeeded_once(operations, backups, namespace, RECOVERED_WITHIN_S)
            one_run(temporal, operation)
            temporal.await_end(workflow_id(operation))
            told = operations.events(namespace, operation["metadata"]["uid"])
            assert len(told) == sum(expected_events(histories[namespace].statuses("backup")).values())
            seqs = [status["seq"] for status in histories[namespace].statuses("backup")]
            assert seqs == sorted(seqs)
    finally:
        engine.stop("worker-2")
        engine.stop("controller-2")

"""What becomes of Restores whose backup is not good, when Velero is stopped or restarted, or a worker dies.

Velero is stopped once for all that is told of Restores by hand; what is left to Velero happens when it is back.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.bucket import Bucket
from support.engine import Engine
from support.kube import Kubectl, Operations, backup, restore
from support.movers import DATA_DOWNLOAD, DataMovers
from support.temporal import Temporal, workflow_id
from support.velero import newer_velero
from support.world import VELERO, VeleroRestores, config_map, fresh_namespace, taken_up

from local_cluster.cluster import LocalCluster

Json = dict[str, Any]
AT_ONCE = {"decisionTimeout": "0s"}
ENDED = ("Completed", "PartiallyFailed", "Failed", "FailedValidation")


def in_an_hour() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture(scope="module")
def restores(kubectl: Kubectl) -> VeleroRestores:
    return VeleroRestores(kubectl)


def saved(kubectl: Kubectl, operations: Operations, namespace: str) -> Json:
    """The namespace has a backup `nightly`, and has lost what is in it."""
    kubectl.apply(config_map(namespace, "settings"), backup(namespace, "nightly"))
    operation = operations.await_end(namespace, "nightly")
    assert operation["status"]["phase"] == "Succeeded"
    kubectl("delete", "configmap", "settings", "-n", namespace)
    return operation


@dataclass(frozen=True)
class Said:
    """What Velero says of a Restore, and what the Operation then says."""

    status: Json
    reason: str
    words: str


SAID: dict[str, Said] = {
    "failed": Said({"phase": "Failed", "failureReason": "disk full"}, "VeleroRestoreFailed", "failed: disk full"),
    "invalid": Said(
        {"phase": "FailedValidation", "validationErrors": ["no such backup"]},
        "VeleroRestoreValidationFailed",
        "no such backup",
    ),
    "partial": Said(
        {"phase": "PartiallyFailed", "errors": 2}, "VeleroRestorePartiallyFailed", "PartiallyFailed with 2 errors"
    ),
    "with-errors": Said(
        {"phase": "Completed", "errors": 1}, "VeleroRestoreFailed", "says Completed and also: 1 errors"
    ),
    "unreadable": Said({"phase": "Completed"}, "VerificationFailed", "cannot be read"),
}
BY_HAND = [*SAID, "deleted", "counted", "restarted", "waiting", "unknown", "finalizing"]
NEW_PHASE = "This phase is new to the engine; it is taken for work under way."


@dataclass
class Story:
    ended: dict[str, Json] = field(default_factory=dict)
    seen: dict[str, Json] = field(default_factory=dict)


@pytest.fixture(scope="module")
def story(
    running_engine: Engine,
    cluster: LocalCluster,
    kubectl: Kubectl,
    operations: Operations,
    restores: VeleroRestores,
) -> Iterator[Story]:
    told = Story()
    with ExitStack() as stack:
        namespaces = {name: stack.enter_context(fresh_namespace(kubectl)) for name in BY_HAND}
        for namespace in namespaces.values():
            kubectl.apply(config_map(namespace, "settings"), backup(namespace, "nightly"))
        for namespace in namespaces.values():
            assert operations.await_end(namespace, "nightly")["status"]["phase"] == "Succeeded"
            kubectl("delete", "configmap", "settings", "-n", namespace)
        cluster.stop("velero")
        try:
            with newer_velero(kubectl, "restores.velero.io"):
                _tell(told, namespaces, kubectl, operations, restores)
            names = {name: seen["status"]["engineRef"]["name"] for name, seen in told.seen.items()}
            _done_but_for_the_end(Bucket(cluster.env()), names["finalizing"], namespaces["finalizing"])
        finally:
            cluster.start("velero")
        for name, namespace in namespaces.items():
            told.ended[name] = operations.await_end(namespace, "restore", within_s=110)
        yield told


def _tell(
    told: Story, namespaces: dict[str, str], kubectl: Kubectl, operations: Operations, restores: VeleroRestores
) -> None:
    movers = DataMovers(kubectl)
    names: dict[str, str] = {}
    for namespace in namespaces.values():
        # The safety backup would wait for Velero.
        kubectl.apply(restore(namespace, "nightly", parameters={"safetyBackup": False}, policy=AT_ONCE))
    for name, namespace in namespaces.items():
        told.seen[name] = operations.await_path(namespace, "restore", "{.status.engineRef.name}")
        names[name] = told.seen[name]["status"]["engineRef"]["name"]
    restores.say(names["counted"], phase="InProgress", progress={"itemsRestored": 5, "totalItems": 10})
    (counted,) = restores.of(operations.get(namespaces["counted"], "restore"))
    mover = movers.make(DATA_DOWNLOAD, names["counted"], counted)
    movers.say(mover, "InProgress", 50, 100)
    path = ("{.status.progress.bytesDone}", "50")
    told.seen["counted"] = operations.await_path(namespaces["counted"], "restore", *path)
    movers.delete(mover)
    behind = f"Velero Restore {names['waiting']} is New. Velero works on Restore {names['counted']} first."
    told.seen["waiting"] = operations.await_path(namespaces["waiting"], "restore", "{.status.message}", behind)
    restores.say(names["counted"], phase="Failed", failureReason="just before the end")
    for name, phase, more in (("unknown", "Pondering", f" {NEW_PHASE}"), ("finalizing", "Finalizing", "")):
        restores.say(names[name], phase=phase)
        message = f"Velero Restore {names[name]} is {phase}.{more}"
        told.seen[name] = operations.await_path(namespaces[name], "restore", "{.status.message}", message)
    restores.say(names["unknown"], phase="Failed", failureReason="enough pondered")
    for name, said in SAID.items():
        restores.say(names[name], **said.status)
    restores.delete(names["deleted"])
    restores.say(names["restarted"], phase="InProgress")
    # The others wait for Velero: its own words lie in the bucket.
    for name in ("failed", "invalid", "deleted", "counted", "unknown"):
        operations.await_path(namespaces[name], "restore", "{.status.phase}", "Failed")


def _done_but_for_the_end(bucket: Bucket, name: str, namespace: str) -> None:
    """What Velero has written of a Restore when it begins to finalize it."""
    bucket.put_restore(name, "resource-list.json.gz", {"v1/ConfigMap": [f"{namespace}/settings(created)"]})
    bucket.put_restore(name, "results.gz", {"warnings": {}, "errors": {}})


@pytest.mark.parametrize("name", SAID)
def test_what_velero_says_decides_how_the_restore_ends(story: Story, temporal: Temporal, name: str) -> None:
    said, operation = SAID[name], story.ended[name]
    status = operation["status"]
    assert (status["phase"], status["reason"]) == ("Failed", said.reason), status["message"]
    assert said.words in status["message"]
    failure = temporal.failure(workflow_id(operation))
    assert failure is not None
    assert failure.type == said.reason


def test_a_velero_restore_that_is_deleted_under_it_ends_the_operation(story: Story, restores: VeleroRestores) -> None:
    status = story.ended["deleted"]["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "ExternalDeletion")
    assert not restores.of(story.ended["deleted"]), "it is not made again"


def test_progress_is_told_and_who_waits_behind_it_says_so(story: Story) -> None:
    progress = {"percent": 49, "itemsDone": 5, "itemsTotal": 10, "bytesDone": 50, "bytesTotal": 100}
    assert story.seen["counted"]["status"]["progress"] == progress, "half the items, and half the data"
    assert story.seen["waiting"]["status"]["phase"] == "Running"
    status = story.ended["waiting"]["status"]
    assert status["phase"] == "Succeeded", status["message"]
    assert len(taken_up(story.ended["waiting"])) == 1


def test_a_restore_that_veleros_restart_ended_is_tried_again_by_itself(story: Story, restores: VeleroRestores) -> None:
    operation = story.ended["restarted"]
    status = operation["status"]
    assert status["phase"] == "Succeeded", status["message"]
    assert [(a["cause"], a["outcome"], a["reason"]) for a in taken_up(operation)] == [
        ("Initial", "Failed", "VeleroRestoreFailed"),
        ("Automatic", "Succeeded", "VeleroRestoreCompleted"),
    ]
    first = next(r for r in restores.of(operation) if r["metadata"]["name"] == status["attempts"][0]["veleroName"])
    assert "during the server starting" in first["status"]["failureReason"]
    assert len(restores.of(operation)) == len(status["attempts"])


def test_a_phase_that_is_new_to_the_engine_is_work_under_way(story: Story) -> None:
    assert story.seen["unknown"]["status"]["phase"] == "Running"
    assert story.ended["unknown"]["status"]["reason"] == "VeleroRestoreFailed"


def test_a_velero_that_restarts_while_it_finalizes_ends_the_same_attempt(
    story: Story, restores: VeleroRestores
) -> None:
    operation = story.ended["finalizing"]
    status = operation["status"]
    assert status["phase"] == "Succeeded", status["message"]
    assert [attempt["outcome"] for attempt in status["attempts"]] == ["Succeeded"]
    assert len(restores.of(operation)) == 1


class TestTheBackup:
    """What is wrong with the backup is told at once, and nothing is done."""

    @pytest.fixture(scope="class")
    @classmethod
    def namespace(cls, running_engine: Engine, kubectl: Kubectl, operations: Operations) -> Iterator[str]:
        with fresh_namespace(kubectl) as name:
            saved(kubectl, operations, name)
            yield name

    def ended(self, kubectl: Kubectl, operations: Operations, namespace: str, name: str, backup_name: str) -> Json:
        kubectl.apply(restore(namespace, backup_name, name, policy=AT_ONCE))
        return dict(operations.await_end(namespace, name)["status"])

    @pytest.fixture
    def made(self, kubectl: Kubectl, namespace: str) -> Iterator[Any]:
        """Velero Backups as a test says they are; gone after it."""
        names: list[str] = []

        def make(name: str, **status: Any) -> str:
            full = f"{name}-{namespace}"
            names.append(full)
            spec = {"storageLocation": "default", "includedNamespaces": [namespace]}
            metadata = {"name": full, "namespace": VELERO}
            manifest = {"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": metadata, "spec": spec}
            kubectl.apply({**manifest, "status": status})
            return full

        yield make
        for name in names:
            kubectl("delete", "backups.velero.io", name, "-n", VELERO, "--ignore-not-found")

    @pytest.mark.parametrize("name", ["nowhere", "../nightly", "night,ly", "Nightly"])
    def test_that_is_missing(self, kubectl: Kubectl, operations: Operations, namespace: str, name: str) -> None:
        own = f"missing-{abs(hash(name)) % 10**6}"
        status = self.ended(kubectl, operations, namespace, own, name)
        assert (status["phase"], status["reason"]) == ("Failed", "BackupNotFound"), status["message"]
        assert f"there is no Velero Backup {name}" in status["message"]
        assert "attempts" not in status

    @pytest.mark.parametrize(
        ("name", "says", "parts"),
        [
            ("failed", "is Failed, not Completed: disk full", {"phase": "Failed", "failureReason": "disk full"}),
            ("partial", "is PartiallyFailed with 1 errors", {"phase": "PartiallyFailed", "errors": 1}),
            ("deleting", "is Deleting, not Completed", {"phase": "Deleting"}),
            # An attempt may take four hours.
            ("expiring", "expires at 2", {"phase": "Completed", "expiration": in_an_hour()}),
        ],
    )
    def test_that_cannot_be_relied_on(
        self, kubectl: Kubectl, operations: Operations, namespace: str, made: Any, name: str, says: str, parts: Json
    ) -> None:
        status = self.ended(kubectl, operations, namespace, f"r-{name}", made(name, **parts))
        assert (status["phase"], status["reason"]) == ("Failed", "BackupNotUsable"), status["message"]
        assert says in status["message"]

    def test_whose_operation_is_gone_is_found_all_the_same(
        self, kubectl: Kubectl, operations: Operations, namespace: str
    ) -> None:
        kubectl("delete", "operation", "nightly", "-n", namespace)
        status = self.ended(kubectl, operations, namespace, "r-gone", "nightly")
        assert status["phase"] == "Succeeded", status["message"]


def test_a_retry_first_withdraws_what_velero_has_not_begun(
    engine: Engine,
    cluster: LocalCluster,
    kubectl: Kubectl,
    operations: Operations,
    restores: VeleroRestores,
    namespace: str,
) -> None:
    saved(kubectl, operations, namespace)
    cluster.stop("velero")
    try:
        policy = {"waitTimeout": "3s"}
        kubectl.apply(restore(namespace, "nightly", parameters={"safetyBackup": False}, policy=policy))
        operations.await_path(namespace, "restore", "{.status.reason}", "AwaitingDecision")
        (first,) = restores.of(operations.get(namespace, "restore"))
        kubectl("annotate", "operation", "restore", "-n", namespace, "ops.vworkspace.io/retry=1")
        step = '{.status.steps[?(@.name=="CleanUp")].state}'
        operations.await_path(namespace, "restore", step, "Succeeded")
        names = [found["metadata"]["name"] for found in restores.of(operations.get(namespace, "restore"))]
        assert first["metadata"]["name"] not in names
    finally:
        cluster.start("velero")


def test_a_retry_deletes_what_the_failed_attempt_created_where_that_is_asked_for(
    engine: Engine, kubectl: Kubectl, operations: Operations, namespace: str
) -> None:
    """The claim never gets bound; with it, the attempt created a ConfigMap, and updated another one."""
    claim = {"accessModes": ["ReadWriteOnce"], "storageClassName": "slow"}
    metadata = {"namespace": namespace, "name": "data"}
    kind = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata}
    kubectl.apply(
        {**kind, "spec": {**claim, "resources": {"requests": {"storage": "1Mi"}}}}, config_map(namespace, "stays")
    )
    saved(kubectl, operations, namespace)
    kubectl("delete", "pvc", "data", "-n", namespace)
    kubectl("patch", "configmap", "stays", "-n", namespace, "-p", '{"data":{"name":"changed"}}')
    parameters = {"safetyBackup": False, "cleanup": "DeleteRestored", "existingResourcePolicy": "update"}
    kubectl.apply(restore(namespace, "nightly", parameters={**parameters, "verify": {"timeout": "1s"}}))
    operations.await_path(namespace, "restore", "{.status.reason}", "AwaitingDecision")

    def uids() -> dict[str, str]:
        found = kubectl.json("get", "configmaps,persistentvolumeclaims", "-n", namespace)["items"]
        return {item["metadata"]["name"]: item["metadata"]["uid"] for item in found}

    before = uids()
    kubectl("annotate", "operation", "restore", "-n", namespace, "ops.vworkspace.io/retry=1")
    operations.await_path(namespace, "restore", "{.status.attempt}", "2")
    operations.await_path(namespace, "restore", "{.status.reason}", "AwaitingDecision")
    after = uids()
    assert before["settings"] != after["settings"], "it was created by the first attempt, deleted, and created again"
    assert before["data"] != after["data"]
    assert before["stays"] == after["stays"], "it was there before"
    status = operations.get(namespace, "restore")["status"]
    message = next(s["message"] for s in status["steps"] if s["name"] == "CleanUp")
    assert "ConfigMap settings" in message
    assert "PersistentVolumeClaim data" in message
    assert "stays" not in message
    kubectl("annotate", "operation", "restore", "-n", namespace, "ops.vworkspace.io/abort=2", "--overwrite")
    operations.await_end(namespace, "restore")

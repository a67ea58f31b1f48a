"""What becomes of Backups when Velero is stopped, restarted under them, ends badly, or loses its bucket.

Velero is stopped once for all of them: while it is away a Backup stays as it was made, and whatever Velero could ever
say of it can be written by hand. What is left to Velero itself then happens when it starts again.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.engine import Engine
from support.history import History, conditions, expected_events
from support.kube import Kubectl, Operations, backup
from support.temporal import Temporal, workflow_id
from support.velero import newer_velero
from support.world import VeleroBackups, config_map, fresh_namespace, taken_up

from local_cluster.cluster import LocalCluster


@dataclass(frozen=True)
class Said:
    """What Velero says of a Backup, and what the Operation then says."""

    status: dict[str, Any]
    reason: str
    words: str
    policy: dict[str, Any] = field(default_factory=dict)


SAID: dict[str, Said] = {
    "failed": Said(
        {"phase": "Failed", "failureReason": "the disk is full"}, "VeleroBackupFailed", "failed: the disk is full"
    ),
    "failed-in-silence": Said({"phase": "Failed"}, "VeleroBackupFailed", "no reason given"),
    "invalid": Said(
        {"phase": "FailedValidation", "validationErrors": ["no such thing", "nor that"]},
        "VeleroBackupValidationFailed",
        "no such thing; nor that",
    ),
    "partial": Said(
        {"phase": "PartiallyFailed", "errors": 2}, "VeleroBackupPartiallyFailed", "PartiallyFailed with 2 errors"
    ),
    "hook": Said(
        {"phase": "PartiallyFailed", "errors": 1, "hookStatus": {"hooksAttempted": 1, "hooksFailed": 1}},
        "HookFailed",
        "PartiallyFailed with 1 errors",
    ),
    "partial-but-unreadable": Said(
        {"phase": "PartiallyFailed", "errors": 1}, "VerificationFailed", "cannot be read", {"partialFailure": "Accept"}
    ),
    "completed-with-errors": Said({"phase": "Completed", "errors": 1}, "VeleroBackupPartiallyFailed", "with 1 errors"),
    "completed-and-failed": Said(
        {"phase": "Completed", "failureReason": "half of it"}, "VeleroBackupFailed", "also: half of it"
    ),
    "completed-but-unreadable": Said({"phase": "Completed"}, "VerificationFailed", "cannot be read"),
    "deleting": Said({"phase": "Deleting"}, "ExternalDeletion", "is being deleted"),
}
BY_HAND = [*SAID, "deleted", "unknown", "counted"]
FOR_VELERO = ["waiting", "restarted", "withdrawn", "recreated"]


@dataclass
class Story:
    """What has happened, by the names above."""

    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Operations as they stood in the middle of it."""
    histories: dict[str, History] = field(default_factory=dict)
    first_of_its_name: dict[str, Any] = field(default_factory=dict)

    def statuses(self, name: str) -> list[dict[str, Any]]:
        return self.histories[name].statuses(name)


class _Teller:
    """Makes the story happen."""

    def __init__(self, kubectl: Kubectl, operations: Operations, velero: VeleroBackups, stack: ExitStack) -> None:
        self._kubectl, self._operations, self._velero = kubectl, operations, velero
        self.story = Story()
        shared = stack.enter_context(fresh_namespace(kubectl))
        own = {name: stack.enter_context(fresh_namespace(kubectl)) for name in FOR_VELERO}
        self.namespaces = dict.fromkeys(BY_HAND, shared) | own

    def begin(self) -> None:
        """Every Operation has its Velero Backup, which nobody works on."""
        histories = {namespace: History(self._kubectl, namespace) for namespace in set(self.namespaces.values())}
        manifests = []
        for name, namespace in self.namespaces.items():
            self.story.histories[name] = histories[namespace]
            policy = SAID[name].policy if name in SAID else {}
            manifests += [config_map(namespace, "settings"), backup(namespace, name, policy=policy)]
        self._kubectl.apply(*manifests)
        for name in self.namespaces:
            self.see(name, "{.status.engineRef.name}")

    def see(self, name: str, path: str, value: str | None = None) -> str:
        """Wait until an Operation says so; the name of its Velero Backup."""
        seen = self._operations.await_path(self.namespaces[name], name, path, value)
        self.story.seen[name] = seen
        return str(seen["status"]["engineRef"]["name"])

    def write_statuses(self) -> None:
        """What Velero might say, by hand."""
        names = {name: self.story.seen[name]["status"]["engineRef"]["name"] for name in self.namespaces}
        for name, said in SAID.items():
            self._velero.say(names[name], **said.status)
        self._velero.delete(names["deleted"])
        self._velero.say(names["unknown"], phase="Pondering")
        self._velero.say(names["restarted"], phase="InProgress")
        self.see("unknown", "{.status.message}", f"Velero Backup {names['unknown']} is Pondering. " + NEW_PHASE)
        self._velero.say(names["unknown"], phase="Failed", failureReason="enough pondered")
        self._count(names["counted"])

    def _count(self, name: str) -> None:
        self._velero.say(name, phase="InProgress", progress={"itemsBackedUp": 50, "totalItems": 100})
        self.see("counted", "{.status.progress.percent}", "25")
        self._velero.say(name, progress={"itemsBackedUp": 60, "totalItems": 200})
        self._velero.say(name, phase="Finalizing")
        self.see("counted", "{.status.message}", f"Velero Backup {name} is Finalizing.")
        self._velero.say(name, progress={"itemsBackedUp": 200, "totalItems": 200})
        self.see("counted", "{.status.progress.percent}", "50")
        self._velero.say(name, phase="Failed", failureReason="just before the end")
        self.see("deleting", "{.status.phase}", "Failed")

    def withdraw(self) -> None:
        """Operations are deleted while their backups are under way; one of them comes again."""
        for name in ("withdrawn", "recreated"):
            namespace = self.namespaces[name]
            first = self.story.first_of_its_name[name] = self._operations.get(namespace, name)
            self._kubectl("delete", "operation", name, "-n", namespace)
            self._velero.say(first["status"]["engineRef"]["name"], phase="Completed")
        self._kubectl.apply(backup(self.namespaces["recreated"], "recreated"))
        self.see("recreated", "{.status.engineRef.name}")

    def leave_nothing_behind(self) -> None:
        """What nobody ever works on would stand in Velero's queue for minutes."""
        for backup_ in self._velero.all(self.namespaces[BY_HAND[0]]):
            if backup_.get("status", {}).get("phase") not in ENDED:
                self._velero.say(backup_["metadata"]["name"], phase="Failed", failureReason="a test gave up")

    def end(self) -> None:
        for name, namespace in self.namespaces.items():
            if name != "withdrawn":
                self.story.ended[name] = self._operations.await_end(namespace, name, within_s=110)


ENDED = ("Completed", "PartiallyFailed", "Failed", "FailedValidation")
NEW_PHASE = "This phase is new to the engine; it is taken for work under way."


@pytest.fixture(scope="module")
def story(
    running_engine: Engine, cluster: LocalCluster, kubectl: Kubectl, operations: Operations, backups: VeleroBackups
) -> Iterator[Story]:
    with ExitStack() as stack:
        teller = _Teller(kubectl, operations, backups, stack)
        cluster.stop("velero")
        try:
            with newer_velero(kubectl, "backups.velero.io"):
                teller.begin()
                teller.write_statuses()
                teller.withdraw()
        finally:
            teller.leave_nothing_behind()
            cluster.start("velero")
        teller.end()
        yield teller.story


@pytest.mark.parametrize("name", SAID)
def test_what_velero_says_decides_how_the_operation_ends(
    story: Story, operations: Operations, temporal: Temporal, name: str
) -> None:
    said, operation = SAID[name], story.ended[name]
    status = operation["status"]
    assert (status["phase"], status["reason"]) == ("Failed", said.reason), status["message"]
    assert said.words in status["message"]
    assert conditions(status).items() >= {"Accepted": "True", "Failed": "True", "Stalled": "True"}.items()
    (attempt,) = status["attempts"]
    assert (attempt["outcome"], attempt["reason"]) == ("Failed", said.reason)
    assert status.get("progress", {}).get("percent", 0) < 100
    failure = temporal.failure(workflow_id(operation))
    assert failure is not None
    assert failure.type == said.reason


def test_a_velero_backup_that_is_deleted_under_it_ends_the_operation(story: Story, backups: VeleroBackups) -> None:
    status = story.ended["deleted"]["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "ExternalDeletion")
    assert "was deleted while it was followed" in status["message"]
    assert not backups.of(story.ended["deleted"]), "it is not made again"


def test_a_phase_that_is_new_to_the_engine_is_work_under_way(story: Story) -> None:
    seen = story.seen["unknown"]["status"]
    assert seen["phase"] == "Running"
    assert conditions(seen)["Running"] == "True"
    assert story.ended["unknown"]["status"]["reason"] == "VeleroBackupFailed"


def test_progress_is_told_and_never_goes_back_nor_to_the_end_before_it(story: Story) -> None:
    percents = [status["progress"]["percent"] for status in story.statuses("counted") if "progress" in status]
    assert percents == sorted(percents)
    assert set(percents) == {25, 50}


def test_events_of_a_failed_backup_are_one_for_each_transition(
    story: Story, operations: Operations, temporal: Temporal
) -> None:
    operation = story.ended["counted"]
    temporal.await_end(workflow_id(operation))
    told = operations.events(operation["metadata"]["namespace"], operation["metadata"]["uid"])
    wanted = expected_events(story.statuses("counted"))
    assert sum(wanted.values()) == len(told)
    assert {(event["reason"], event["action"]) for event in told} == set(wanted)


def test_an_operation_waits_for_velero_to_come_back(story: Story, backups: VeleroBackups) -> None:
    seen, status = story.seen["waiting"]["status"], story.ended["waiting"]["status"]
    assert (seen["phase"], seen["step"]) == ("Running", "FollowBackup")
    assert status["phase"] == "Succeeded", status["message"]
    assert len(taken_up(story.ended["waiting"])) == 1
    assert backups.names(story.ended["waiting"]) == sorted(attempt["veleroName"] for attempt in status["attempts"])


def test_a_backup_that_veleros_restart_ended_is_tried_again_by_itself(story: Story, backups: VeleroBackups) -> None:
    operation = story.ended["restarted"]
    status = operation["status"]
    assert status["phase"] == "Succeeded", status["message"]
    attempts = taken_up(operation)
    assert [(attempt["cause"], attempt["outcome"], attempt["reason"]) for attempt in attempts] == [
        ("Initial", "Failed", "VeleroBackupFailed"),
        ("Automatic", "Succeeded", "VeleroBackupSucceeded"),
    ]
    first, second = (backups.get(attempt["veleroName"]) for attempt in attempts)
    assert "during the server starting" in first["status"]["failureReason"]
    assert second["status"]["phase"] == "Completed"
    assert backups.names(operation) == sorted(attempt["veleroName"] for attempt in status["attempts"])
    assert status["outputs"]["backupName"] == status["engineRef"]["name"] == second["metadata"]["name"]
    assert [step["state"] for step in status["steps"]] == ["Succeeded"] * 5


def test_events_of_a_second_attempt_are_complete(story: Story, operations: Operations, temporal: Temporal) -> None:
    operation = story.ended["restarted"]
    temporal.await_end(workflow_id(operation))
    told = operations.events(operation["metadata"]["namespace"], operation["metadata"]["uid"])
    assert sum(expected_events(story.statuses("restarted")).values()) == len(told)


def test_the_workflow_of_a_deleted_operation_ends_and_writes_nothing(story: Story, temporal: Temporal) -> None:
    gone = story.first_of_its_name["withdrawn"]
    failure = temporal.failure(workflow_id(gone))
    assert failure is not None
    assert failure.type == "Fenced"
    run = temporal.run(workflow_id(gone))
    assert run is not None
    assert run.history_length < 80, "it does not turn in circles"
    changes = [change["type"] for change in story.histories["withdrawn"].changes("withdrawn")]
    assert changes.count("DELETED") == 1
    assert changes[-1] == "DELETED"


def test_a_namesake_of_a_deleted_operation_has_a_run_of_its_own(
    story: Story, temporal: Temporal, backups: VeleroBackups
) -> None:
    first, second = story.first_of_its_name["recreated"], story.ended["recreated"]
    assert second["status"]["phase"] == "Succeeded", second["status"]["message"]
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert second["status"]["workflow"]["id"] == workflow_id(second)
    assert len(taken_up(second)) == 1
    assert backups.names(second) == sorted(attempt["veleroName"] for attempt in second["status"]["attempts"])
    failure = temporal.failure(workflow_id(first))
    assert failure is not None
    assert failure.type == "Fenced"


def test_an_unavailable_bucket_blocks_the_backup_until_it_is_back(
    engine: Engine,
    cluster: LocalCluster,
    kubectl: Kubectl,
    operations: Operations,
    app: str,
    stopped: Callable[[str], None],
) -> None:
    location = ("backupstoragelocations.velero.io/default", "-n", "velero")
    stopped("seaweedfs")
    kubectl("wait", *location, "--for=jsonpath={.status.phase}=Unavailable", "--timeout=60s")
    history = History(kubectl, app)
    kubectl.apply(backup(app))

    blocked = operations.await_path(app, "backup", "{.status.reason}", "StorageLocationUnavailable")
    assert blocked["status"]["phase"] == "Pending"
    assert conditions(blocked["status"]).items() >= {"Blocked": "True", "Accepted": "True", "Ready": "False"}.items()
    velero_says = kubectl.json("get", *location)["status"]["message"]
    assert velero_says[:60] in blocked["status"]["message"]

    cluster.start("seaweedfs")
    status = operations.await_end(app)["status"]
    assert status["phase"] == "Succeeded", status["message"]
    waited = [conditions(seen)["Blocked"] for seen in history.statuses("backup")]
    assert "True" in waited
    assert waited[-1] == "False"

"""Volumes and hooks with the real Velero: what it says in each case, and what the Operation makes of it.

The node runs no containers, so volumes' data is moved by hand (support/movers.py) and no hook ever reaches a container;
everything that Velero and the engine do is real.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.engine import Engine
from support.history import History, conditions
from support.kube import Kubectl, Operations, backup
from support.movers import DataMovers
from support.world import VeleroBackups, claim_and_volume, fresh_namespace, pod_with_claim

FS: dict[str, Any] = {"defaultVolumesToFsBackup": True}
OPT_IN, OPT_OUT = "backup.velero.io/backup-volumes", "backup.velero.io/backup-volumes-excludes"
CONTINUE = {"pre.hook.backup.velero.io/on-error": "Continue"}
FAIL = {"pre.hook.backup.velero.io/on-error": "Fail"}
HOOK = {"pre.hook.backup.velero.io/command": '["/bin/false"]', "pre.hook.backup.velero.io/container": "main"}
POST = {"post.hook.backup.velero.io/command": '["/bin/false"]', "post.hook.backup.velero.io/container": "nowhere"}
NOWHERE = {"nodeSelector": {"kubernetes.io/hostname": "nowhere"}}


@dataclass(frozen=True)
class Case:
    """An application with a volume, its backup, and how it ends."""

    reason: str
    says: str
    parameters: dict[str, Any] = field(default_factory=lambda: dict(FS))
    annotations: dict[str, str] = field(default_factory=dict)
    pod: dict[str, Any] | None = field(default_factory=dict)
    """More of the pod's spec; None = no pod mounts the claim."""
    template: dict[str, str] | None = None
    """Annotations of a Deployment's pods, of which none runs."""
    label: dict[str, str] = field(default_factory=dict)
    """Of the claim."""
    source: str = "local"
    upload: str = "Completed"
    policy: dict[str, Any] = field(default_factory=dict)

    @property
    def succeeds(self) -> bool:
        return self.reason in ("VeleroBackupSucceeded", "PartialFailure")


CASES: dict[str, Case] = {
    "taken": Case("VeleroBackupSucceeded", "volumes taken: 1 (2000 bytes)"),
    "opted-in": Case("VeleroBackupSucceeded", "volumes taken: 1 (2000 bytes)", {}, {OPT_IN: "files"}),
    "opted-out": Case("VeleroBackupSucceeded", "claims without their data", annotations={OPT_OUT: "files"}),
    "nobody-asked": Case("VeleroBackupSucceeded", "claims without their data", {}),
    "upload-failed": Case("VolumeNotBackedUp", "data (its PodVolumeBackup did not succeed)", upload="Failed"),
    "upload-canceled": Case("VolumeNotBackedUp", "data (its PodVolumeBackup did not succeed)", upload="Canceled"),
    "failed-accepted": Case(
        "VolumeNotBackedUp", "its PodVolumeBackup did", upload="Failed", policy={"partialFailure": "Accept"}
    ),
    "not-running": Case("VolumeNotBackedUp", "pod is not scheduled", pod=NOWHERE),
    "opted-in-not-running": Case("VolumeNotBackedUp", "pod is not scheduled", {}, {OPT_IN: "files"}, NOWHERE),
    "unmounted": Case("VolumeNotBackedUp", "data (no pod in the backup mounts it", pod=None),
    "host-path": Case("VolumeNotBackedUp", "data (it is a hostPath volume, which Velero cannot", source="hostPath"),
    "no-snapshotter": Case("VolumeNotBackedUp", "no applicable volumesnapshotter", {"snapshotVolumes": True}),
    "opted-out-snapshot": Case(
        "VolumeNotBackedUp", "no applicable volumesnapshotter", FS | {"snapshotVolumes": True}, {OPT_OUT: "files"}
    ),
    "hook": Case("HookFailed", "pre hook in container main failed: ", {}, HOOK),
    "hook-continue": Case(
        "HookFailed",
        "pre hook in container main failed: ",
        {},
        HOOK | CONTINUE,
    ),
    "hook-no-container": Case("HookFailed", 'post hook failed: no such container: "nowhere"', {}, POST),
    "hook-accepted": Case(
        "PartialFailure",
        "pre hook in container main failed: ",
        {},
        HOOK | FAIL,
        policy={"partialFailure": "Accept"},
        label={"velero.io/exclude-from-backup": "true"},
    ),
    "opted-in-hook-accepted": Case(
        "VolumeNotBackedUp",
        "data (it was left out with pod ",
        {},
        HOOK | FAIL | {OPT_IN: "files"},
        policy={"partialFailure": "Accept"},
    ),
    "opted-in-hook": Case("HookFailed", "data (it was left out with pod ", {}, HOOK | FAIL | {OPT_IN: "files"}),
    "opted-in-template": Case(
        "VolumeNotBackedUp",
        "/app asks for it, and no pod in the backup mounts it",
        {},
        pod=None,
        template={OPT_IN: "files"},
    ),
}


@dataclass
class Story:
    """Operations that have ended, by the names above."""

    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    shown: list[dict[str, Any]] = field(default_factory=list)
    """Every status of the one whose volume takes its time."""

    def status(self, name: str) -> dict[str, Any]:
        return dict(self.ended[name]["status"])

    def warnings(self, name: str) -> str:
        return "\n".join(self.status(name)["outputs"].get("warnings", []))


def upload(movers: DataMovers, phase: str) -> Callable[[str], None]:
    """A node-agent's way with one volume, at once."""
    return lambda mover: movers.say(mover, phase, 2000, 2000, snapshotID="by-hand", message=f"{phase} by hand")


def slow_upload(movers: DataMovers, operations: Operations, namespace: str) -> Callable[[str], None]:
    """The same in steps, each only after the Operation has told the one before."""

    def go(mover: str) -> None:
        for done, total in ((0, 1000), (500, 2000)):
            movers.say(mover, "InProgress", done, total)
            operations.await_path(namespace, "backup", "{.status.progress.bytesTotal}", str(total), within_s=30)
        upload(movers, "Completed")(mover)

    return go


def idle_deployment(namespace: str, annotations: dict[str, str]) -> dict[str, Any]:
    """Its pods would mount the claim; it is scaled to nothing."""
    pod = pod_with_claim(namespace, "app", "data", annotations)
    template = {"metadata": {"labels": {"app": "app"}, "annotations": annotations}, "spec": pod["spec"]}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "app"}}, "template": template}
    metadata = {"name": "app", "namespace": namespace}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def install(kubectl: Kubectl, namespaces: dict[str, str]) -> None:
    """Every application, its claim bound and its pod running, where it can."""
    manifests: list[dict[str, Any]] = []
    for name, case in CASES.items():
        volume, claim = claim_and_volume(namespaces[name], "data", case.source)
        claim["metadata"]["labels"] |= case.label
        manifests += [volume, claim]
        if case.template is not None:
            manifests.append(idle_deployment(namespaces[name], case.template))
        if case.pod is not None:
            manifests.append(pod_with_claim(namespaces[name], "main-0", "data", case.annotations, **case.pod))
    kubectl.apply(*manifests)
    story = ("-A", "-l", f"case in ({','.join(namespaces.values())})", "--timeout=60s")
    kubectl("wait", "pvc", *story, "--for=jsonpath={.status.phase}=Bound")
    kubectl("wait", "pod", *story, "--for=condition=Ready", "--field-selector=spec.nodeName!=")


@pytest.fixture(scope="module")
def story(running_engine: Engine, kubectl: Kubectl, operations: Operations) -> Iterator[Story]:
    movers, told = DataMovers(kubectl), Story()
    with ExitStack() as stack:
        namespaces = {name: stack.enter_context(fresh_namespace(kubectl)) for name in CASES}
        history = History(kubectl, namespaces["taken"])
        stack.enter_context(movers.node_agent())
        install(kubectl, namespaces)
        ways = {namespace: upload(movers, CASES[name].upload) for name, namespace in namespaces.items()}
        ways[namespaces["taken"]] = slow_upload(movers, operations, namespaces["taken"])
        with movers.working(ways):
            kubectl.apply(
                *(backup(namespaces[name], parameters=c.parameters, policy=c.policy) for name, c in CASES.items())
            )
            for name, namespace in namespaces.items():
                told.ended[name] = operations.await_end(namespace, within_s=110)
        told.shown = history.statuses("backup")
        yield told


@pytest.mark.parametrize("name", CASES)
def test_each_backup_ends_as_its_volume_and_its_hooks_say(story: Story, name: str) -> None:
    case, status = CASES[name], story.status(name)
    assert (status["phase"], status["reason"]) == ("Succeeded" if case.succeeds else "Failed", case.reason), status
    assert case.says in status["message"]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.reason == "VolumeNotBackedUp"])
def test_a_missing_volume_is_named_with_what_to_do(story: Story, name: str) -> None:
    status = story.status(name)
    namespace = story.ended[name]["metadata"]["namespace"]
    assert f"{namespace}/data (" in status["message"]
    assert "velero.io/exclude-from-backup=true" in status["message"]
    assert status.get("progress", {}).get("percent", 0) < 100
    assert "volumeCount" not in status["outputs"]


@pytest.mark.parametrize("name", ["taken", "opted-in"])
def test_what_was_taken_is_counted(story: Story, name: str) -> None:
    status = story.status(name)
    assert (status["outputs"]["volumeCount"], status["outputs"]["volumeBytes"]) == ("1", "2000")
    progress = status["progress"]
    assert (progress["percent"], progress["bytesDone"], progress["bytesTotal"]) == (100, 2000, 2000)


def test_progress_moves_with_the_bytes(story: Story) -> None:
    shown = [status["progress"] for status in story.shown if "progress" in status]
    for number in ("percent", "bytesDone", "bytesTotal"):
        values = [progress.get(number, 0) for progress in shown]
        assert values == sorted(values)
    assert {1000, 2000} <= {progress.get("bytesTotal") for progress in shown}
    ended = [status["phase"] == "Succeeded" for status in story.shown if "progress" in status]
    assert [progress["percent"] == 100 for progress in shown] == ended
    halfway = next(progress for progress in shown if progress.get("bytesDone") == 500)
    assert 20 <= halfway["percent"] <= 40, "all items and a quarter of the bytes"


def test_a_volume_that_velero_failed_to_take_is_explained_in_velero_s_words(story: Story) -> None:
    assert "pod volume backup failed: Failed by hand" in story.status("upload-failed")["message"]
    assert "pod volume backup canceled: Canceled by hand" in story.status("upload-canceled")["message"]


def test_data_that_nobody_asked_for_is_warned_of(story: Story) -> None:
    assert "opts it out" in story.warnings("opted-out")
    assert "parameters.defaultVolumesToFsBackup would" in story.warnings("nobody-asked")
    assert story.status("nobody-asked")["outputs"]["volumeCount"] == "0"
    assert story.warnings("taken") == ""


def test_the_pod_of_a_failed_hook_is_in_the_backup_only_where_its_on_error_is_not_fail(story: Story) -> None:
    """An on-error that is left out is Fail in Velero's documents and log; its backup goes on all the same (1.18)."""
    accepted = story.status("hook-accepted")
    assert conditions(accepted)["Degraded"] == "True"
    assert "is listed and not in the backup: its hook failed" in story.warnings("hook-accepted")
    assert "pre hook in container main failed" in story.warnings("hook-accepted")
    for name in ("hook", "hook-continue"):
        assert "with 1 errors" in story.status(name)["message"]
    assert "with 2 errors" in accepted["message"]


def test_velero_says_of_each_what_this_was_written_for(story: Story, backups: VeleroBackups) -> None:
    """Completed in spite of a volume that was asked for and skipped; PartiallyFailed in spite of Continue."""

    def phase(name: str) -> str:
        (found,) = backups.of(story.ended[name])
        return str(found["status"]["phase"])

    skipped = ["not-running", "opted-in-not-running", "unmounted", "host-path", "no-snapshotter", "opted-out-snapshot"]
    skipped.append("opted-in-template")
    assert {name: phase(name) for name in skipped} == dict.fromkeys(skipped, "Completed")
    assert phase("hook-continue") == "PartiallyFailed"

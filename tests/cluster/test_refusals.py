"""What the engine refuses: each with a reason, a sentence that names the field or the command, and a history."""

import json
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.engine import Engine
from support.history import History, conditions
from support.kube import Kubectl, Operations, backup
from support.temporal import Temporal, workflow_id
from support.world import VeleroBackups, application_instance, config_map, fresh_namespace

SAMPLES = Path(__file__).parents[2] / "deploy/samples"
APPLICATION = {"apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance"}


@dataclass(frozen=True)
class Refused:
    """A spec, the reason it ends with, and what the message must say."""

    reason: str
    says: tuple[str, ...]
    spec: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)


def wrong(*says: str, **parameters: Any) -> Refused:
    return Refused("ValidationFailed", says, {"parameters": parameters})


def unsupported(*says: str, **spec: Any) -> Refused:
    return Refused("UnsupportedOperation", says, spec)


REFUSED: dict[str, Refused] = {
    "unknown-parameter": wrong("spec.parameters.storageLokation", "did you mean storageLocation?", storageLokation="x"),
    "unlike-any-parameter": wrong("spec.parameters.xyzzy is not a parameter of a Backup", xyzzy=1),
    "restores-parameter": wrong("spec.parameters.backupName is not a parameter of a Backup", backupName="x"),
    "ttl-and-retention": wrong("both ttl and its alias retention", "remove retention", ttl="1h", retention="1h"),
    "both-snapshot-classes": wrong(
        "csiSnapshotClassName and its alias snapshotClassName", csiSnapshotClassName="a", snapshotClassName="a"
    ),
    "closed-location": wrong(
        "spec.parameters.storageLocation elsewhere", "open to it: default", storageLocation="elsewhere"
    ),
    "no-ttl": wrong("spec.parameters.ttl is 0s", ttl="0s"),
    "no-timeout": Refused("ValidationFailed", ("spec.policy.timeout is 0s",), {"policy": {"timeout": "0s"}}),
    "no-wait": Refused("ValidationFailed", ("spec.policy.waitTimeout is 0h",), {"policy": {"waitTimeout": "0h"}}),
    "migration": unsupported("spec.type Migration is not built yet", type="Migration"),
    "run-command": unsupported("spec.type RunCommand is not built yet", type="RunCommand"),
    "runbook": unsupported("spec.type Runbook is not built yet", type="Runbook"),
    "volsync": unsupported("spec.engine volsync cannot run a Backup", "velero", engine="volsync"),
    "job": unsupported("spec.engine job cannot run a Backup", engine="job"),
    "require-ready": unsupported("spec.policy.requireReady", policy={"requireReady": True}),
    "ttl-after-finished": unsupported("spec.policy.ttlAfterFinished", policy={"ttlAfterFinished": "1d"}),
    "other-namespace": Refused(
        "ValidationFailed",
        ("spec.targetRef.name is kube-system", "reaches only its own namespace"),
        {"targetRef": {"apiVersion": "v1", "kind": "Namespace", "name": "kube-system"}},
    ),
    "releases-elsewhere": Refused(
        "ValidationFailed",
        ("ApplicationInstance elsewhere releases into namespace kube-system",),
        {"targetRef": APPLICATION | {"name": "elsewhere"}},
    ),
    "no-such-target": Refused(
        "TargetNotFound",
        ("spec.targetRef: there is no ApplicationInstance missing", "Create it, or name another"),
        {"targetRef": APPLICATION | {"name": "missing"}},
    ),
    "copy": Refused(
        "RestoredCopy",
        ("brought this Operation back with restore yesterday", "Create a new Operation"),
        labels={"velero.io/restore-name": "yesterday"},
    ),
}
NOTHING = {"labelSelector": {"matchLabels": {"nobody": "has-this"}}}


@dataclass(frozen=True)
class World:
    """Where the refusals below have happened."""

    namespace: str
    history: History


@pytest.fixture(scope="module")
def world(running_engine: Engine, kubectl: Kubectl, operations: Operations, shared_namespace: str) -> World:
    """All of them at once: each is its own workflow, and the slow one waits for its target meanwhile."""
    kubectl.apply(
        application_instance(shared_namespace, "elsewhere", release_namespace="kube-system"),
        config_map(shared_namespace, "settings"),
    )
    history = History(kubectl, shared_namespace)
    manifests = []
    for name, refused in REFUSED.items():
        manifest = backup(shared_namespace, name, **refused.spec)
        manifest["metadata"]["labels"] = refused.labels
        manifests.append(manifest)
    late = backup(shared_namespace, "late", targetRef=APPLICATION | {"name": "late"})
    kubectl.apply(*manifests, late, backup(shared_namespace, "nothing", parameters=NOTHING))
    operations.await_path(shared_namespace, "late", "{.status.reason}", "TargetNotFound")
    kubectl.apply(application_instance(shared_namespace, "late"))
    for name in [*REFUSED, "late", "nothing"]:
        operations.await_end(shared_namespace, name)
    return World(shared_namespace, history)


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_a_reason_and_a_sentence_that_helps(
    world: World, operations: Operations, temporal: Temporal, backups: VeleroBackups, name: str
) -> None:
    refused = REFUSED[name]
    operation = operations.get(world.namespace, name)
    status = operation["status"]
    assert (status["phase"], status["reason"]) == ("Failed", refused.reason), status["message"]
    for words in refused.says:
        assert words in status["message"]

    failed = operations.condition(operation, "Failed")
    accepted = operations.condition(operation, "Accepted")
    assert failed is not None
    assert accepted is not None
    assert (failed["status"], failed["reason"], failed["message"]) == ("True", refused.reason, status["message"])
    assert accepted["status"] == "False"
    assert conditions(status).items() >= {"Stalled": "True", "Ready": "False", "Succeeded": "False"}.items()
    assert "Reconciling" not in conditions(status)

    failure = temporal.failure(workflow_id(operation))
    assert failure is not None
    assert (failure.type, failure.message) == (refused.reason, status["message"])
    (event,) = (
        e for e in operations.events(world.namespace, operation["metadata"]["uid"]) if e["reason"] == "OperationFailed"
    )
    assert event["type"] == "Warning"
    assert event["note"] == status["message"]
    assert not status.get("attempts")
    assert not backups.of(operation), "nothing was done"


def test_kubectl_wait_for_succeeded_false_sees_the_refusal(world: World, kubectl: Kubectl) -> None:
    name = ("-n", world.namespace, "operation/migration")
    kubectl("wait", *name, "--for=condition=Succeeded=False", "--timeout=5s")
    kubectl("wait", *name, "--for=condition=Failed", "--timeout=5s")


def test_steps_after_the_refused_one_are_skipped(world: World, operations: Operations) -> None:
    steps = operations.get(world.namespace, "unknown-parameter")["status"]["steps"]
    assert [step["state"] for step in steps] == ["Failed", "Skipped", "Skipped", "Skipped", "Skipped"]


def test_a_missing_target_is_waited_for_half_a_minute(world: World, operations: Operations) -> None:
    statuses = world.history.statuses("no-such-target")
    blocked = [status for status in statuses if conditions(status)["Blocked"] == "True"]
    assert blocked
    assert {(status["phase"], status["reason"]) for status in blocked} == {("Pending", "TargetNotFound")}
    assert conditions(blocked[0]).items() >= {"Ready": "False", "Reconciling": "True", "Succeeded": "Unknown"}.items()
    assert len(blocked) == 1, "a wait is told once"
    operation = operations.get(world.namespace, "no-such-target")
    told = [e["reason"] for e in operations.events(world.namespace, operation["metadata"]["uid"])]
    assert told.count("OperationBlocked") == 1


def test_a_target_that_appears_in_time_is_backed_up(world: World, operations: Operations) -> None:
    status = operations.get(world.namespace, "late")["status"]
    assert status["phase"] == "Succeeded", status["message"]
    assert conditions(status)["Blocked"] == "False"


def test_a_backup_of_nothing_is_not_a_success(world: World, operations: Operations, temporal: Temporal) -> None:
    operation = operations.get(world.namespace, "nothing")
    status = operation["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "VerificationFailed")
    assert "holds nothing. Check labelSelector" in status["message"]
    verified = operations.condition(operation, "Verified")
    assert verified is not None
    assert (verified["status"], verified["reason"]) == ("False", "VerificationFailed")
    assert conditions(status)["Accepted"] == "True", "it was in order; the work was not"
    assert status["attempts"][0]["outcome"] == "Failed"
    assert [step["state"] for step in status["steps"]] == [*["Succeeded"] * 4, "Failed"]
    assert status.get("progress", {}).get("percent", 0) < 100
    failure = temporal.failure(workflow_id(operation))
    assert failure is not None
    assert failure.type == "VerificationFailed"


@pytest.mark.parametrize("duration", ["soon", "-1h", "1w"])
def test_what_is_no_duration_is_refused_by_the_api_server(kubectl: Kubectl, namespace: str, duration: str) -> None:
    manifest = json.dumps(backup(namespace, parameters={"ttl": duration}))
    refused = kubectl("create", "-f", "-", input=manifest, check=False)
    assert "spec.parameters.ttl" in refused.stderr


@pytest.mark.parametrize("label", ["app.vworkspace.io/managed-by", "managed-by"])
def test_a_namespace_that_is_not_served_is_told_the_command_that_changes_it(
    engine: Engine, kubectl: Kubectl, operations: Operations, label: str
) -> None:
    with ExitStack() as stack:
        namespace = stack.enter_context(fresh_namespace(kubectl, {"app.vworkspace.io/managed-by": "somebody-else"}))
        kubectl.apply(backup(namespace))
        status = operations.await_end(namespace)["status"]
        assert (status["phase"], status["reason"]) == ("Failed", "NamespaceNotManaged")
        command = f"kubectl label namespace {namespace} app.vworkspace.io/managed-by=vworkspace"
        assert command in status["message"]
        kubectl("label", "namespace", namespace, "--overwrite", f"{label}=vworkspace")
        kubectl.apply(backup(namespace, "again"))
        assert operations.await_end(namespace, "again")["status"]["phase"] == "Succeeded"


def test_every_sample_applies_unchanged_and_succeeds(engine: Engine, kubectl: Kubectl, operations: Operations) -> None:
    kubectl("delete", "namespace", "shop", "--ignore-not-found")
    try:
        kubectl("apply", "-f", str(SAMPLES / "shop.yaml"))
        kubectl("apply", "-f", str(SAMPLES))
        for name in ("backup-shop", "backup-shop-application"):
            status = operations.await_end("shop", name)["status"]
            assert status["phase"] == "Succeeded", status["message"]
    finally:
        kubectl("delete", "namespace", "shop", "--wait=false", "--ignore-not-found")

"""What may be changed in an Operation that exists, and what the API server says to the rest."""

import json
from subprocess import CompletedProcess
from typing import Any

import pytest
from support.kube import Kubectl, backup

from local_cluster.cluster import LocalCluster

APPLICATION = {"apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance", "name": "shop"}
UPGRADE = {"type": "Upgrade", "targetRef": APPLICATION}


@pytest.fixture(autouse=True)
def nobody_watches(cluster: LocalCluster) -> None:
    """Statuses are written by hand here; an engine that a test before has started would answer with its own."""
    for name in ("controller", "worker"):
        if cluster.pid(name) is not None:
            cluster.stop(name)


def create(kubectl: Kubectl, namespace: str, spec: dict[str, Any]) -> None:
    kubectl("create", "-f", "-", input=json.dumps(backup(namespace, "changed", **spec)))


def changed(kubectl: Kubectl, namespace: str, spec: dict[str, Any], *, keep: bool = False) -> CompletedProcess[str]:
    """What the API server says to the same Operation with another spec."""
    dry_run = [] if keep else ["--dry-run=server"]
    return kubectl("replace", *dry_run, "-f", "-", input=json.dumps(backup(namespace, "changed", **spec)), check=False)


def write_status(kubectl: Kubectl, namespace: str, **status: Any) -> CompletedProcess[str]:
    return patch(kubectl, namespace, {"status": status}, "--subresource=status")


def patch(kubectl: Kubectl, namespace: str, body: dict[str, Any], *options: str) -> CompletedProcess[str]:
    name = ("operation", "changed", "-n", namespace)
    return kubectl("patch", *name, "--type=merge", "-p", json.dumps(body), *options, check=False)


def forbidden(path: str) -> str:
    return f"spec.{path}: Forbidden: spec.{path} cannot be changed: create a new Operation instead"


def parameters(**keys: Any) -> dict[str, Any]:
    return {"parameters": keys}


def patched_values(**values: Any) -> dict[str, Any]:
    return UPGRADE | parameters(targetVersion="1.0.0", valuesPatch=values)


def policy(**parts: Any) -> dict[str, Any]:
    return {"policy": parts}


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "another target": ({"targetRef": APPLICATION}, {"targetRef": APPLICATION | {"name": "x"}}, forbidden("targetRef")),
    "another type": ({}, {"type": "Migration"}, forbidden("type")),
    "another engine": ({"engine": "velero"}, {"engine": "volsync"}, forbidden("engine")),
    "an engine where there was none": ({}, {"engine": "velero"}, forbidden("engine")),
    "no engine where there was one": ({"engine": "velero"}, {}, forbidden("engine")),
    "another parameter's value": (parameters(ttl="1h"), parameters(ttl="2h"), forbidden("parameters")),
    "one parameter more": (parameters(ttl="1h"), parameters(ttl="1h", storageLocation="x"), forbidden("parameters")),
    "one parameter less": (parameters(ttl="1h", storageLocation="x"), parameters(ttl="1h"), forbidden("parameters")),
    "parameters where there were none": ({}, parameters(ttl="1h"), forbidden("parameters")),
    "no parameters where there were some": (parameters(ttl="1h"), {}, forbidden("parameters")),
    "a known parameter for another": (parameters(ttl="1h"), parameters(retention="1h"), forbidden("parameters")),
    "a known parameter for an unknown one": (parameters(ttl="1h"), parameters(tll="1h"), forbidden("parameters")),
    "an unknown parameter for a known one": (parameters(tll="1h"), parameters(ttl="1h"), forbidden("parameters")),
    "an unknown parameter's value": (parameters(tll="1h"), parameters(tll="2h"), forbidden("parameters")),
    "an unknown parameter more": (parameters(ttl="1h"), parameters(ttl="1h", x=1), forbidden("parameters")),
    "another value in the patch": (patched_values(a=1), patched_values(a=2), forbidden("parameters")),
    "another key in the patch": (patched_values(a=1), patched_values(b=1), forbidden("parameters")),
    "swapped keys in the patch": (patched_values(a=1, b=2), patched_values(a=1, c=2), forbidden("parameters")),
    "another key deep in the patch": (
        patched_values(web={"tags": [{"a": 1}]}),
        patched_values(web={"tags": [{"b": 1}]}),
        forbidden("parameters"),
    ),
    "null in the patch for a value": (patched_values(a=1), patched_values(a=None), forbidden("parameters")),
    "null in the patch for a key": (patched_values(a=None), patched_values(b=None), forbidden("parameters")),
    "another order of a list": (
        parameters(includedResources=["a", "b"]),
        parameters(includedResources=["b", "a"]),
        forbidden("parameters"),
    ),
    "swapped keys of a map": (
        parameters(labelSelector={"matchLabels": {"a": "1"}}),
        parameters(labelSelector={"matchLabels": {"b": "1"}}),
        forbidden("parameters"),
    ),
    "readiness": (policy(requireReady=True), policy(requireReady=False), forbidden("policy.requireReady")),
    "a time limit": (policy(timeout="1h"), policy(timeout="2h"), forbidden("policy.timeout")),
    "a policy with a time limit where there was none": ({}, policy(timeout="2h"), forbidden("policy.timeout")),
    "no policy where it had a time limit": (policy(timeout="1h"), {}, forbidden("policy.timeout")),
    "a wait": (policy(waitTimeout="1h"), policy(), forbidden("policy.waitTimeout")),
    "a decision's wait": (policy(), policy(decisionTimeout="1h"), forbidden("policy.decisionTimeout")),
    "a dry run made real": (policy(dryRun=True), policy(dryRun=False), forbidden("policy.dryRun")),
    "partial failure accepted afterwards": (
        policy(partialFailure="Fail"),
        policy(partialFailure="Accept"),
        forbidden("policy.partialFailure"),
    ),
    "a cancel taken back": ({"cancel": True}, {"cancel": False}, "spec.cancel: Forbidden: spec.cancel cannot be taken"),
    "a cancel removed": ({"cancel": True}, {}, "spec.cancel: Forbidden: spec.cancel cannot be taken back"),
}


@pytest.mark.parametrize(("before", "after", "said"), REFUSED.values(), ids=REFUSED)
def test_what_work_was_based_on_cannot_change(
    kubectl: Kubectl, namespace: str, before: dict[str, Any], after: dict[str, Any], said: str
) -> None:
    create(kubectl, namespace, before)
    answer = changed(kubectl, namespace, after)
    assert answer.returncode != 0
    assert said in answer.stderr


ALLOWED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing": (patched_values(a=None, b={"c": [1]}), patched_values(b={"c": [1]}, a=None)),
    "a cancel": ({}, {"cancel": True}),
    "a cancel once more": ({"cancel": True}, {"cancel": True}),
    "a cancel where false stood": ({"cancel": False}, {"cancel": True}),
    "an approval": ({}, {"approvals": {"approvedBy": "anna"}}),
    "no approval any more": ({"approvals": {"required": True}}, {}),
    "a time to live": (policy(timeout="1h"), policy(timeout="1h", ttlAfterFinished="1d")),
    "a policy with a time to live alone": ({}, policy(ttlAfterFinished="1d")),
    "another time to live": (policy(ttlAfterFinished="1d"), policy(ttlAfterFinished="2d")),
    "no policy where it had a time to live alone": (policy(ttlAfterFinished="1d"), {}),
}


@pytest.mark.parametrize(("before", "after"), ALLOWED.values(), ids=ALLOWED)
def test_cancel_approvals_and_time_to_live_can_change(
    kubectl: Kubectl, namespace: str, before: dict[str, Any], after: dict[str, Any]
) -> None:
    create(kubectl, namespace, before)
    answer = changed(kubectl, namespace, after)
    assert answer.returncode == 0, answer.stderr


ENDED = pytest.mark.parametrize("phase", ["Succeeded", "Failed", "Cancelled"])


@ENDED
@pytest.mark.parametrize("after", [{"cancel": True}, {"approvals": {"required": True}}, policy(ttlAfterFinished="1d")])
def test_the_spec_of_an_ended_operation_cannot_change(
    kubectl: Kubectl, namespace: str, phase: str, after: dict[str, Any]
) -> None:
    create(kubectl, namespace, {})
    assert write_status(kubectl, namespace, phase=phase).returncode == 0
    answer = changed(kubectl, namespace, after)
    assert "spec: Forbidden: spec of an Operation that has ended cannot be changed" in answer.stderr


@ENDED
def test_an_ended_operation_can_be_labelled_reported_reopened_and_deleted(
    kubectl: Kubectl, namespace: str, phase: str
) -> None:
    create(kubectl, namespace, patched_values(a=None, b=1))
    write_status(kubectl, namespace, phase=phase)
    metadata = {"labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["ops.vworkspace.io/operation"]}
    assert patch(kubectl, namespace, {"metadata": metadata}).returncode == 0
    assert write_status(kubectl, namespace, phase=phase, message="more is known").returncode == 0
    assert write_status(kubectl, namespace, phase="Running").returncode == 0
    assert write_status(kubectl, namespace, phase=phase).returncode == 0
    kubectl("delete", "operation", "changed", "-n", namespace, "--wait=false")
    assert patch(kubectl, namespace, {"metadata": {"finalizers": None}}).returncode == 0
    assert kubectl("get", "operation", "changed", "-n", namespace, check=False).returncode != 0


@pytest.mark.parametrize("phase", ["Pending", "Running"])
def test_an_operation_at_work_can_be_cancelled(kubectl: Kubectl, namespace: str, phase: str) -> None:
    create(kubectl, namespace, {})
    write_status(kubectl, namespace, phase=phase)
    assert changed(kubectl, namespace, {"cancel": True}, keep=True).returncode == 0


def test_a_write_of_the_spec_leaves_the_status_alone_and_the_other_way_round(kubectl: Kubectl, namespace: str) -> None:
    create(kubectl, namespace, {})
    patch(kubectl, namespace, {"status": {"phase": "Succeeded"}})
    patch(kubectl, namespace, {"spec": {"cancel": True}}, "--subresource=status")
    live = json.loads(kubectl("get", "operation", "changed", "-n", namespace, "-o", "json").stdout)
    assert live["status"] == {"observedGeneration": -1, "phase": "Pending"}
    assert "cancel" not in live["spec"]
    assert live["metadata"]["generation"] == 1


STATUS_REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown phase": ({"phase": "Done"}, "status.phase: Unsupported value"),
    "a condition without a reason": (
        {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        "status.conditions[0].reason: Required value",
    ),
    "the same step twice": ({"steps": [{"name": "a"}, {"name": "a"}]}, "status.steps[1]: Duplicate value"),
    "more than all of it": ({"progress": {"percent": 101}}, "status.progress.percent: Invalid value"),
    "a message without bound": ({"message": "x" * 1025}, "status.message: Too long"),
    "a time that is none": ({"startedAt": "yesterday"}, "status.startedAt: Invalid value"),
}


@pytest.mark.parametrize(("status", "said"), STATUS_REFUSED.values(), ids=STATUS_REFUSED)
def test_a_wrong_status_is_refused(kubectl: Kubectl, namespace: str, status: dict[str, Any], said: str) -> None:
    create(kubectl, namespace, {})
    assert said in write_status(kubectl, namespace, **status).stderr

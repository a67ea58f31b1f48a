"""Operations and their neighbours as a person meets them in kubectl."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.kube import Kubectl, backup

from local_cluster.cluster import LocalCluster

SAMPLES = Path(__file__).parents[2] / "deploy" / "samples"


@pytest.fixture(autouse=True)
def nobody_watches(cluster: LocalCluster) -> None:
    """Statuses are written by hand here; an engine that a test before has started would answer with its own."""
    for name in ("controller", "worker"):
        if cluster.pid(name) is not None:
            cluster.stop(name)


def create(kubectl: Kubectl, namespace: str, name: str = "backup", **spec: Any) -> None:
    kubectl("create", "-f", "-", input=json.dumps(backup(namespace, name, **spec)))


def write_status(kubectl: Kubectl, namespace: str, name: str = "backup", **status: Any) -> None:
    body = json.dumps({"status": status})
    kubectl("patch", "operation", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", body)


def condition(type_: str, status: str, reason: str = "Tried", generation: int = 1) -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": f"{type_} is {status}",
        "observedGeneration": generation,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


def table(text: str) -> list[dict[str, str]]:
    """The rows of a kubectl table, by column; cells start where their heading starts."""
    head, *rows = text.splitlines()
    names = head.split()
    starts = [head.index(name) for name in names]
    ends = [*starts[1:], None]
    return [{n: row[a:b].strip() for n, a, b in zip(names, starts, ends, strict=True)} for row in rows]


def test_the_columns_tell_what_is_done_to_what_and_how_far_it_is(kubectl: Kubectl, namespace: str) -> None:
    create(kubectl, namespace)
    write_status(kubectl, namespace, phase="Running", reason="VeleroBackupInProgress", progress={"percent": 40})
    (row,) = table(kubectl("get", "operations", "-n", namespace).stdout)
    assert list(row) == ["NAME", "TYPE", "TARGET", "PHASE", "REASON", "PROGRESS", "AGE"]
    assert list(row.values())[:6] == ["backup", "Backup", namespace, "Running", "VeleroBackupInProgress", "40"]


def test_the_wide_columns_lead_to_the_workflow(kubectl: Kubectl, namespace: str) -> None:
    create(kubectl, namespace)
    write_status(
        kubectl,
        namespace,
        step="verify",
        attempt=2,
        startedAt="2026-01-01T00:00:00.000Z",
        finishedAt="2026-01-01T00:00:00.000Z",
        workflow={"id": "operation/shop/backup/u1", "runId": "r1"},
    )
    (row,) = table(kubectl("get", "operations", "-n", namespace, "-o", "wide").stdout)
    assert list(row)[6:] == ["AGE", "STEP", "ATTEMPT", "STARTED", "FINISHED", "WORKFLOW"]
    assert (row["STEP"], row["ATTEMPT"], row["WORKFLOW"]) == ("verify", "2", "operation/shop/backup/u1")
    assert row["STARTED"]
    assert row["FINISHED"]


@pytest.mark.parametrize("name", ["operation", "operations", "vop", "op", "vworkspace"])
def test_operations_are_found_under_their_short_names_and_their_category(
    kubectl: Kubectl, namespace: str, name: str
) -> None:
    create(kubectl, namespace)
    assert kubectl("get", name, "-n", namespace, "-o", "name").stdout.strip() == "operation.ops.vworkspace.io/backup"


def test_operations_are_selected_by_type_and_phase(kubectl: Kubectl, namespace: str) -> None:
    create(kubectl, namespace, "failed")
    create(kubectl, namespace, "fresh")
    create(kubectl, namespace, "restored", type="Restore", parameters={"backupName": "old"})
    for name in ("failed", "restored"):
        write_status(kubectl, namespace, name, phase="Failed")

    def selected(fields: str) -> set[str]:
        found = kubectl("get", "vop", "-n", namespace, "-o", "name", "--field-selector", fields).stdout.split()
        return {name.rpartition("/")[2] for name in found}

    assert selected("status.phase=Failed") == {"failed", "restored"}
    assert selected("status.phase=Pending") == {"fresh"}
    assert selected("spec.type=Restore") == {"restored"}
    assert selected("spec.type=Backup,status.phase!=Failed") == {"fresh"}


def test_an_operation_nobody_has_seen_is_in_progress_for_whoever_waits(kubectl: Kubectl, namespace: str) -> None:
    create(kubectl, namespace)
    assert kubectl.json("get", "operation", "backup", "-n", namespace)["status"] == {
        "observedGeneration": -1,
        "phase": "Pending",
    }


@pytest.mark.parametrize(
    ("written", "waited_for"),
    [
        ({"conditions": [condition("Succeeded", "True")]}, "condition=Succeeded"),
        ({"conditions": [condition("Succeeded", "False")]}, "condition=Succeeded=False"),
        ({"conditions": [condition("Blocked", "True", "AwaitingDecision")]}, "condition=Blocked"),
        ({"finishedAt": "2026-01-01T00:00:00.000Z"}, "jsonpath={.status.finishedAt}"),
    ],
)
def test_kubectl_wait_sees_every_end(
    kubectl: Kubectl, namespace: str, written: dict[str, Any], waited_for: str
) -> None:
    create(kubectl, namespace)
    wait = ("wait", "operation/backup", "-n", namespace, f"--for={waited_for}")
    assert kubectl(*wait, "--timeout=0s", check=False).returncode != 0
    write_status(kubectl, namespace, **written)
    assert kubectl(*wait, "--timeout=10s").returncode == 0


def test_kubectl_wait_does_not_take_a_condition_of_an_older_spec(kubectl: Kubectl, namespace: str) -> None:
    create(kubectl, namespace)
    kubectl("patch", "operation", "backup", "-n", namespace, "--type=merge", "-p", '{"spec":{"cancel":true}}')
    wait = ("wait", "operation/backup", "-n", namespace, "--for=condition=Cancelled")
    write_status(kubectl, namespace, conditions=[condition("Cancelled", "True", generation=1)])
    assert kubectl(*wait, "--timeout=1s", check=False).returncode != 0
    write_status(kubectl, namespace, conditions=[condition("Cancelled", "True", generation=2)])
    assert kubectl(*wait, "--timeout=10s").returncode == 0


def test_describe_shows_the_plan_and_what_it_waits_for(kubectl: Kubectl, namespace: str) -> None:
    create(kubectl, namespace)
    write_status(
        kubectl,
        namespace,
        message="waits for backup-other",
        steps=[{"name": "admit", "state": "Succeeded"}, {"name": "lock", "state": "Waiting"}],
        conditions=[condition("Blocked", "True", "ConflictingOperation")],
    )
    said = kubectl("describe", "vop", "backup", "-n", namespace).stdout
    for text in ("waits for backup-other", "lock", "Waiting", "ConflictingOperation", "Blocked is True"):
        assert text in said


def test_conditions_and_steps_of_two_writers_are_merged_by_their_keys(kubectl: Kubectl, namespace: str) -> None:
    create(kubectl, namespace)
    for manager, type_ in (("one", "Succeeded"), ("two", "Sunny")):
        body = backup(namespace) | {"status": {"conditions": [condition(type_, "True")]}}
        del body["spec"]
        options = ("--server-side", "--subresource=status", f"--field-manager={manager}", "-f", "-")
        kubectl("apply", *options, input=json.dumps(body))
    live = kubectl.json("get", "operation", "backup", "-n", namespace)
    assert {found["type"] for found in live["status"]["conditions"]} == {"Succeeded", "Sunny"}


EXPLAINED = {
    "operation": ["Temporal workflow", "spec", "-required-", "status"],
    "operation.spec": ["What the Operation works on", "Set it to true to cancel", "enum: velero, helm"],
    "operation.spec.parameters": [
        "Backup: how long Velero keeps the backup",
        "Restore: what to restore from",
        "Upgrade: the chart version to go to",
        "enum: Keep, Replace",
    ],
    "operation.spec.parameters.verify.http.url": ["Other addresses are refused"],
    "vop.spec.policy.decisionTimeout": ["0s fails at once"],
    "op.status.conditions": ["What happened and what to do next"],
    "op.status.steps.state": ["Pending (still to come)"],
    "vwcluster.spec": ["The one-time registration token itself"],
    "appinst.spec.chart": ["oci, or helm for a chart repository"],
}


@pytest.mark.parametrize(("path", "said"), EXPLAINED.items(), ids=EXPLAINED)
def test_kubectl_explain_reads_as_help(kubectl: Kubectl, path: str, said: list[str]) -> None:
    text = " ".join(kubectl("explain", path).stdout.split())
    for part in said:
        assert part in text


def test_the_samples_apply_unchanged(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", str(SAMPLES / "shop.yaml"))
    try:
        applied = kubectl("apply", "-f", str(SAMPLES))
        assert applied.stderr == ""
        names = kubectl("get", "vop,appinst", "-n", "shop", "-o", "name").stdout.split()
        assert names == [
            "operation.ops.vworkspace.io/backup-shop",
            "operation.ops.vworkspace.io/backup-shop-application",
            "operation.ops.vworkspace.io/restore-shop",
            "applicationinstance.apps.vworkspace.io/shop",
        ]
        again = kubectl("apply", "-f", str(SAMPLES / "backup.yaml")).stdout
        assert again == "operation.ops.vworkspace.io/backup-shop unchanged\n"
    finally:
        kubectl("delete", "namespace", "shop", "--timeout=60s")


CLUSTERS: dict[str, dict[str, Any]] = {
    "an inline token": {
        "clusterId": "cluster-prod-1",
        "controlPlaneBaseUrl": "https://workspace.example.org",
        "registrationToken": "a-token",
    },
    "a token in a Secret": {
        "controlPlaneEndpoint": "https://workspace.example.org",
        "registrationTokenSecretRef": {"name": "registration", "key": "registrationToken"},
    },
    "the oldest name of the address": {"clusterId": "cluster-prod-1", "odooBaseUrl": "https://odoo.example.com"},
    "an upgrade channel": {"clusterId": "here", "upgrade": {"channel": "candidate", "pinnedVersion": "1.2.3"}},
}


@pytest.mark.parametrize("spec", CLUSTERS.values(), ids=CLUSTERS)
def test_a_cluster_applies_as_the_public_operator_has_it(kubectl: Kubectl, spec: dict[str, Any]) -> None:
    manifest = {
        "apiVersion": "ops.vworkspace.io/v1alpha1",
        "kind": "Cluster",
        # Older manifests name a namespace, which a cluster-scoped object does not have.
        "metadata": {"name": "cluster-prod-1", "namespace": "vworkspace-system"},
        "spec": spec,
    }
    answer = kubectl("apply", "--dry-run=server", "-o", "json", "-f", "-", input=json.dumps(manifest))
    assert json.loads(answer.stdout)["spec"] == spec
    assert answer.stderr == ""


def test_a_cluster_is_listed_with_and_without_a_namespace_and_in_no_category(kubectl: Kubectl, namespace: str) -> None:
    manifest = {
        "apiVersion": "ops.vworkspace.io/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": "tried"},
        "spec": {},
    }
    kubectl("create", "-f", "-", input=json.dumps(manifest))
    try:
        status = {"phase": "Connected", "conditions": [condition("Connected", "True")]}
        body = json.dumps({"status": status})
        kubectl("patch", "vwcluster", "tried", "--subresource=status", "--type=merge", "-p", body)
        for name in ("cluster", "vwcluster", "clusters.ops.vworkspace.io"):
            rows = table(kubectl("get", name, "-n", "vworkspace-system").stdout)
            assert ("tried", "Connected", "True") in {(row["NAME"], row["PHASE"], row["CONNECTED"]) for row in rows}
        assert "tried" not in kubectl("get", "vworkspace", "-A", "-o", "name").stdout
    finally:
        kubectl("delete", "vwcluster", "tried")


INSTANCES: dict[str, tuple[dict[str, Any], str]] = {
    "without an application": ({"appRef": None}, "spec.appRef: Required value"),
    "with a chart of no kind": (
        {"chart": {"name": "a", "url": "b", "version": "1"}},
        "spec.chart.sourceType: Required",
    ),
    "with values from nowhere": ({"values": {"source": "git"}}, "spec.values.source: Unsupported value"),
    "with a release of a long name": (
        {"release": {"name": "r" * 54, "namespace": "shop"}},
        "spec.release.name: Too long",
    ),
}


@pytest.mark.parametrize(("spec", "said"), INSTANCES.values(), ids=INSTANCES)
def test_a_wrong_application_is_refused_with_the_name_of_the_field(
    kubectl: Kubectl, namespace: str, spec: dict[str, Any], said: str
) -> None:
    manifest = {
        "apiVersion": "apps.vworkspace.io/v1alpha1",
        "kind": "ApplicationInstance",
        "metadata": {"name": "tried", "namespace": namespace},
        "spec": {"appRef": {"catalogId": "shop"}} | spec,
    }
    answer = kubectl("create", "--dry-run=server", "-f", "-", input=json.dumps(manifest), check=False)
    assert answer.returncode != 0
    assert said in answer.stderr


def test_the_values_of_an_application_are_kept_as_they_are(kubectl: Kubectl, namespace: str) -> None:
    values = {"source": "inline", "inline": {"a": None, "b": {"c": None, "d": [1, None, {"e": "f"}]}, "g": 1.5}}
    manifest = {
        "apiVersion": "apps.vworkspace.io/v1alpha1",
        "kind": "ApplicationInstance",
        "metadata": {"name": "tried", "namespace": namespace},
        "spec": {"appRef": {"catalogId": "shop"}, "values": values},
    }
    answer = kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", input=json.dumps(manifest))
    assert json.loads(answer.stdout)["spec"] == manifest["spec"] | {"mode": "managed"}  # type: ignore[operator]

"""A Restore Operation on the whole real stack, as a person with kubectl meets it: one run, looked at from all sides."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from support.engine import Engine
from support.history import History, Json, conditions, expected_events
from support.kube import Kubectl, Operations, backup, restore
from support.temporal import Temporal, workflow_id
from support.world import VELERO, config_map, deployment, secret


@dataclass(frozen=True)
class Ended:
    """A Restore that has succeeded, and every status it showed on the way."""

    operation: Json
    statuses: list[Json]
    events: list[Json]
    data: Json

    @property
    def status(self) -> Json:
        return dict(self.operation["status"])


@pytest.fixture(scope="module")
def ended(
    running_engine: Engine, kubectl: Kubectl, operations: Operations, temporal: Temporal, shared_namespace: str
) -> Ended:
    """A namespace is backed up, loses a part of what it holds, and gets it back."""
    ns = shared_namespace
    kubectl.apply(config_map(ns, "settings"), config_map(ns, "stays"), secret(ns, "keys"), deployment(ns, "web"))
    kubectl("rollout", "status", "deployment/web", "-n", ns, "--timeout=60s")
    kubectl.apply(backup(ns, "nightly"))
    assert operations.await_end(ns, "nightly")["status"]["phase"] == "Succeeded"
    kubectl("delete", "configmap/settings", "secret/keys", "deployment/web", "-n", ns)
    kubectl("wait", "pods", "--all", "-n", ns, "--for=delete", "--timeout=60s")
    history = History(kubectl, ns)
    kubectl.apply(restore(ns, "nightly"))
    operation = operations.await_end(ns, "restore")
    temporal.await_end(workflow_id(operation))
    data = kubectl.json("get", "configmap", "settings", "-n", ns)
    events = operations.events(ns, operation["metadata"]["uid"])
    return Ended(operation, history.statuses("restore"), events, data)


def test_what_was_deleted_is_there_again_and_runs(ended: Ended, kubectl: Kubectl) -> None:
    status = ended.status
    assert (status["phase"], status["reason"]) == ("Succeeded", "VeleroRestoreCompleted"), status["message"]
    assert ended.data["data"] == {"name": "settings"}
    web = kubectl.json("get", "deployment", "web", "-n", ended.operation["metadata"]["namespace"])
    assert web["status"]["readyReplicas"] == 1


def test_it_says_what_came_back_and_what_was_checked(ended: Ended, operations: Operations) -> None:
    verified = operations.condition(ended.operation, "Verified")
    assert verified is not None
    assert verified["status"] == "True"
    assert "objects of the" in verified["message"]
    assert "created" in verified["message"]
    assert "1 workloads have rolled out" in verified["message"]
    assert int(ended.status["outputs"]["restoredItemCount"]) >= 3


def test_the_backup_is_found_by_the_name_of_its_operation(ended: Ended, kubectl: Kubectl) -> None:
    outputs = ended.status["outputs"]
    velero = kubectl.json("get", "restores.velero.io", "-n", VELERO, outputs["restoreName"])
    assert velero["spec"]["backupName"] == outputs["backupName"]
    assert outputs["backupName"].startswith("nightly-")
    assert velero["spec"]["includedNamespaces"] == [ended.operation["metadata"]["namespace"]]
    assert "includeClusterResources" not in velero["spec"]
    assert {"operations.ops.vworkspace.io", "leases.coordination.k8s.io"} <= set(velero["spec"]["excludedResources"])


def test_engine_ref_and_logs_ref_lead_to_the_velero_restore(ended: Ended) -> None:
    name = ended.status["outputs"]["restoreName"]
    ref = {"apiVersion": "velero.io/v1", "kind": "Restore", "namespace": VELERO, "name": name}
    assert ended.status["engineRef"] == ref
    assert ended.status["logsRef"] == {"kind": "Restore", "name": name, "namespace": VELERO}
    assert ended.status["attempts"][0]["veleroName"] == name


def test_the_first_status_shows_the_whole_plan(ended: Ended) -> None:
    names = [step["name"] for step in ended.statuses[0]["steps"]]
    assert names[:2] == ["Admit", "FindBackup"]
    assert all([step["name"] for step in status["steps"]] == names for status in ended.statuses)
    states = {step["name"]: step["state"] for step in ended.status["steps"]}
    assert states["VerifyContents"] == states["VerifyWorkloads"] == "Succeeded"
    assert states["VerifyVolumes"] == "Skipped", "there are none"


def test_progress_never_goes_back_and_is_complete_only_at_the_end(ended: Ended) -> None:
    percents = [status.get("progress", {}).get("percent", 0) for status in ended.statuses]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert all(p < 100 for p, status in zip(percents, ended.statuses, strict=True) if status["phase"] != "Succeeded")


def test_there_is_one_event_for_each_transition_and_none_twice(ended: Ended) -> None:
    told = Counter((event["reason"], event["action"]) for event in ended.events)
    assert told == expected_events(ended.statuses)


def test_the_conditions_are_those_of_a_success(ended: Ended) -> None:
    found = conditions(ended.status)
    assert found.items() >= {"Accepted": "True", "Succeeded": "True", "Verified": "True", "Blocked": "False"}.items()


def test_there_is_one_velero_restore_and_it_carries_whose_it_is(ended: Ended, kubectl: Kubectl) -> None:
    meta = ended.operation["metadata"]
    selector = f"ops.vworkspace.io/operation={meta['uid']}"
    (velero,) = kubectl.json("get", "restores.velero.io", "-n", VELERO, "-l", selector)["items"]
    labels: dict[str, Any] = velero["metadata"]["labels"]
    assert labels["ops.vworkspace.io/operation-name"] == "restore"
    assert (labels["ops.vworkspace.io/role"], labels["ops.vworkspace.io/attempt"]) == ("main", "1")

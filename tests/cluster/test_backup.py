"""A Backup Operation on the whole real stack, as a person with kubectl meets it: one run, looked at from all sides."""

import json
import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from support.engine import Engine
from support.history import History, conditions, expected_events
from support.kube import Kubectl, Operations, backup
from support.temporal import Temporal, workflow_id
from support.world import VeleroBackups, config_map, secret

PLAN = ["Admit", "CheckStorageLocation", "CreateBackup", "FollowBackup", "VerifyBackup"]
AT_WORK = {"Succeeded": "Unknown", "Failed": "False", "Cancelled": "False", "Reconciling": "True"}


@dataclass(frozen=True)
class Ended:
    """A Backup that has succeeded, and every status it showed on the way."""

    operation: dict[str, Any]
    statuses: list[dict[str, Any]]
    events: list[dict[str, Any]]

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.operation["status"])

    @property
    def name(self) -> tuple[str, ...]:
        meta = self.operation["metadata"]
        return ("-n", meta["namespace"], f"operation/{meta['name']}")


@pytest.fixture(scope="module")
def ended(
    running_engine: Engine, kubectl: Kubectl, operations: Operations, temporal: Temporal, shared_namespace: str
) -> Ended:
    kubectl.apply(config_map(shared_namespace, "settings"), secret(shared_namespace, "keys"))
    history = History(kubectl, shared_namespace)
    kubectl.apply(backup(shared_namespace))
    operation = operations.await_end(shared_namespace)
    temporal.await_end(workflow_id(operation))
    statuses = history.statuses("backup")
    return Ended(operation, statuses, operations.events(shared_namespace, operation["metadata"]["uid"]))


def test_it_succeeds_and_says_what_was_verified(ended: Ended, operations: Operations, backups: VeleroBackups) -> None:
    status = ended.status
    assert (status["phase"], status["reason"]) == ("Succeeded", "VeleroBackupSucceeded"), status["message"]
    verified = operations.condition(ended.operation, "Verified")
    assert verified is not None
    assert verified["status"] == "True"
    assert re.search(r"\d+ items of \d+ kinds are listed in the bucket", verified["message"])
    velero = backups.get(status["outputs"]["backupName"])
    assert velero["status"]["phase"] == "Completed"
    assert velero["spec"]["includedNamespaces"] == [ended.operation["metadata"]["namespace"]]


def test_the_outputs_name_the_backup_its_place_its_size_and_its_expiry(ended: Ended, backups: VeleroBackups) -> None:
    outputs = ended.status["outputs"]
    velero = backups.get(outputs["backupName"])
    assert outputs["storageLocation"] == velero["spec"]["storageLocation"] == "default"
    assert outputs["expiresAt"] == velero["status"]["expiration"]
    assert int(outputs["backupItemCount"]) == velero["status"]["progress"]["itemsBackedUp"] > 0
    assert int(outputs["backupSizeBytes"]) > 0
    assert not outputs.get("warnings")


def test_engine_ref_and_logs_ref_lead_to_the_velero_backup(ended: Ended) -> None:
    name = ended.status["outputs"]["backupName"]
    assert ended.status["engineRef"] == {
        "apiVersion": "velero.io/v1",
        "kind": "Backup",
        "namespace": "velero",
        "name": name,
    }
    assert ended.status["logsRef"] == {"kind": "Backup", "name": name, "namespace": "velero"}


def test_the_first_status_shows_the_whole_plan_and_says_in_progress(ended: Ended) -> None:
    first = ended.statuses[0]
    assert [step["name"] for step in first["steps"]] == PLAN
    assert [step["state"] for step in first["steps"]] == ["Running", *["Pending"] * (len(first["steps"]) - 1)]
    assert first["phase"] == "Pending"
    assert conditions(first)["Reconciling"] == "True"
    assert first["observedGeneration"] == ended.operation["metadata"]["generation"]
    assert first["workflow"]["id"] == workflow_id(ended.operation)


def test_no_status_is_ever_without_conditions_or_steps(ended: Ended) -> None:
    assert all(status["conditions"] and len(status["steps"]) == len(PLAN) for status in ended.statuses)


def test_conditions_tell_every_reader_the_same_in_every_status(ended: Ended) -> None:
    for status in ended.statuses[:-1]:
        found = conditions(status)
        assert found.items() >= AT_WORK.items(), status["phase"]
        assert "Stalled" not in found
        running = status["phase"] == "Running"
        assert found["Running"] == ("True" if running else "False")
        assert found["Blocked"] == "False"
        assert found["Ready"] == "Unknown"
        if running:
            assert found["Accepted"] == "True"
    assert conditions(ended.status) == {
        "Accepted": "True",
        "Blocked": "False",
        "Running": "False",
        "Succeeded": "True",
        "Failed": "False",
        "Cancelled": "False",
        "Ready": "True",
        "Verified": "True",
    }


def test_a_condition_moves_its_time_only_when_it_changes(ended: Ended) -> None:
    for before, after in pairwise(ended.statuses):
        old = {c["type"]: c for c in before["conditions"]}
        for condition in after["conditions"]:
            same = old.get(condition["type"])
            if same is not None and same["status"] == condition["status"]:
                assert same["lastTransitionTime"] == condition["lastTransitionTime"]


def test_steps_go_through_in_their_order_and_each_has_its_times(ended: Ended) -> None:
    assert [step["name"] for step in ended.status["steps"]] == PLAN
    for step in ended.status["steps"]:
        assert step["state"] == "Succeeded"
        assert step["startedAt"] <= step["finishedAt"]
        assert step["message"]
    current = [status["step"] for status in ended.statuses if "step" in status]
    assert list(dict.fromkeys(current)) == PLAN


def test_progress_never_goes_back_and_is_complete_only_at_the_end(ended: Ended) -> None:
    percents = [status.get("progress", {}).get("percent", 0) for status in ended.statuses]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert all(p < 100 for p, status in zip(percents, ended.statuses, strict=True) if status["phase"] != "Succeeded")


def test_the_one_attempt_is_told(ended: Ended) -> None:
    attempt = ended.status["attempts"]
    assert ended.status["attempt"] == 1
    assert [(a["number"], a["cause"], a["outcome"], a["reason"]) for a in attempt] == [
        (1, "Initial", "Succeeded", "VeleroBackupSucceeded")
    ]
    assert attempt[0]["veleroName"] == ended.status["outputs"]["backupName"]
    assert attempt[0]["startedAt"] <= attempt[0]["finishedAt"] <= ended.status["finishedAt"]


def test_the_intent_is_written_before_the_velero_backup_exists(ended: Ended, backups: VeleroBackups) -> None:
    written = next(s for s in ended.statuses if s.get("attempts"))
    assert "engineRef" not in written
    assert backups.of(ended.operation)[0]["metadata"]["name"] == written["attempts"][0]["veleroName"]


def test_there_is_one_event_for_each_transition_and_none_twice(ended: Ended) -> None:
    told = Counter((event["reason"], event["action"]) for event in ended.events)
    assert told == expected_events(ended.statuses)
    assert {"OperationAccepted", "OperationRunning", "OperationSucceeded"} <= {reason for reason, _ in told}


def test_the_number_of_the_last_transition_only_grows_and_events_carry_it(ended: Ended) -> None:
    seqs = [status["seq"] for status in ended.statuses]
    assert seqs == sorted(seqs)
    numbers = sorted(int(event["metadata"]["name"].rpartition(".")[2]) for event in ended.events)
    assert len(set(numbers)) == len(numbers)
    assert numbers[-1] <= seqs[-1]


def test_events_point_at_the_operation_and_at_the_velero_backup(ended: Ended) -> None:
    for event in ended.events:
        assert event["regarding"]["uid"] == ended.operation["metadata"]["uid"]
        assert event["reportingController"] == "vworkspace-operation-engine"
        assert event["type"] == "Normal"
    end = next(event for event in ended.events if event["reason"] == "OperationSucceeded")
    assert end["related"] == ended.status["engineRef"]


def test_kubectl_describe_shows_the_events(ended: Ended, kubectl: Kubectl) -> None:
    text = kubectl("describe", *ended.name).stdout
    shown = text[text.index("Events:") :]
    for reason in ("OperationAccepted", "OperationRunning", "StepSucceeded", "OperationSucceeded"):
        assert reason in shown


def test_kubectl_wait_sees_the_success(ended: Ended, kubectl: Kubectl) -> None:
    kubectl("wait", *ended.name, "--for=condition=Succeeded", "--timeout=5s")
    kubectl("wait", *ended.name, "--for=condition=Ready", "--timeout=5s")


def test_kubectl_get_shows_what_a_person_looks_for(ended: Ended, kubectl: Kubectl) -> None:
    head, row = (re.split(r"\s{2,}", line.strip()) for line in kubectl("get", *ended.name).stdout.splitlines())
    assert head == ["NAME", "TYPE", "TARGET", "PHASE", "REASON", "PROGRESS", "AGE"]
    target = ended.operation["spec"]["targetRef"]["name"]
    assert row[:-1] == ["backup", "Backup", target, "Succeeded", "VeleroBackupSucceeded", "100"]


def test_the_wide_columns_lead_to_the_workflow(ended: Ended, kubectl: Kubectl) -> None:
    head, row = (line.split() for line in kubectl("get", *ended.name, "-o", "wide").stdout.splitlines())
    assert head[7:] == ["STEP", "ATTEMPT", "STARTED", "FINISHED", "WORKFLOW"]
    assert row[7:9] == ["VerifyBackup", "1"]
    assert row[-1] == ended.status["workflow"]["id"]


def test_it_can_be_found_by_phase_and_type(ended: Ended, kubectl: Kubectl) -> None:
    select = "--field-selector=status.phase=Succeeded,spec.type=Backup"
    found = kubectl.json("get", "vop", "-n", ended.operation["metadata"]["namespace"], select)["items"]
    assert [item["metadata"]["name"] for item in found] == ["backup"]


def test_every_status_has_observed_the_generation(ended: Ended) -> None:
    generation = ended.operation["metadata"]["generation"]
    for status in ended.statuses:
        assert status["observedGeneration"] == generation
        assert {condition["observedGeneration"] for condition in status["conditions"]} == {generation}


@pytest.mark.parametrize("change", [{"parameters": {"ttl": "1h"}}, {"cancel": True}])
def test_the_spec_can_no_longer_change(ended: Ended, kubectl: Kubectl, change: dict[str, Any]) -> None:
    body = json.dumps({"spec": change})
    refused = kubectl("patch", *ended.name, "--type=merge", "-p", body, check=False)
    assert refused.returncode != 0
    assert "Forbidden" in refused.stderr


def test_the_workflow_completed_with_the_final_status_as_its_result(ended: Ended, temporal: Temporal) -> None:
    claim = ended.status["workflow"]
    run = temporal.run(claim["id"])
    assert run is not None
    assert run.status == "Completed"
    assert run.run_id == run.first_run_id == claim["runId"] == claim["firstRunId"]
    assert claim["id"].replace("/", "%2F") in claim["url"]
    assert claim["runId"] in claim["url"]


def test_the_velero_backup_carries_whose_it_is(ended: Ended, kubectl: Kubectl, backups: VeleroBackups) -> None:
    meta = ended.operation["metadata"]
    (velero,) = backups.of(ended.operation)
    labels = velero["metadata"]["labels"]
    cluster = kubectl.json("get", "namespace", "kube-system")["metadata"]["uid"]
    assert (
        labels.items()
        >= {
            "app.vworkspace.io/managed-by": "vworkspace",
            "app.vworkspace.io/cluster-id": cluster,
            "ops.vworkspace.io/operation": meta["uid"],
            "ops.vworkspace.io/operation-name": meta["name"],
            "ops.vworkspace.io/operation-namespace": meta["namespace"],
            "ops.vworkspace.io/attempt": "1",
            "ops.vworkspace.io/role": "main",
            "ops.vworkspace.io/target": f"Namespace.{meta['namespace']}",
        }.items()
    )
    namespace = kubectl.json("get", "namespace", meta["namespace"])["metadata"]
    assert velero["metadata"]["annotations"]["ops.vworkspace.io/source-namespace-uid"] == namespace["uid"]

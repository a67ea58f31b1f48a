"""What the engine's processes tell of themselves: health pages, metrics, log lines; and that none of it is a secret."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from support.engine import Engine
from support.kube import Kubectl, Operations, backup
from support.temporal import Temporal, workflow_id
from support.world import config_map

from local_cluster.cluster import LocalCluster

PROCESSES = ["controller", "worker"]
TYPE, STEPS = {"type": "Backup"}, ["Admit", "CheckStorageLocation", "CreateBackup", "FollowBackup", "VerifyBackup"]


@pytest.fixture(scope="module")
def ended(
    running_engine: Engine, kubectl: Kubectl, operations: Operations, temporal: Temporal, shared_namespace: str
) -> dict[str, Any]:
    kubectl.apply(config_map(shared_namespace, "settings"), backup(shared_namespace))
    operation = operations.await_end(shared_namespace)
    temporal.await_end(workflow_id(operation))
    return operation


class Metrics:
    """One scrape."""

    def __init__(self, text: str) -> None:
        self._samples = [s for family in text_string_to_metric_families(text) for s in family.samples]

    def get(self, name: str, **labels: str) -> float | None:
        full = f"vworkspace_operator_{name}"
        return next((s.value for s in self._samples if s.name == full and s.labels.items() >= labels.items()), None)


def scrape(engine: Engine, name: str) -> Metrics:
    status, text = engine.get(name, "/metrics")
    assert status == 200
    return Metrics(text)


def lines(engine: Engine, name: str) -> list[dict[str, Any]]:
    """Log lines of the process that runs: what others wrote into the same file comes before."""
    texts = engine.logs(name).splitlines()
    # Only the end of a long log is read: it begins somewhere in a line, and the process's first one lies before.
    began = max((at for at, text in enumerate(texts) if "serving health and metrics" in text), default=1)
    return [json.loads(text) for text in texts[began:]]


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("page", ["/healthz", "/livez", "/readyz"])
def test_health_pages_name_each_check(engine: Engine, name: str, page: str) -> None:
    status, text = engine.get(name, page)
    assert status == 200, text
    checks = dict(line.split(": ", 1) for line in text.splitlines())
    assert set(checks.values()) == {"ok"}
    assert any(check.startswith("watch-") for check in checks)
    assert ("temporal" in checks) is (page != "/livez")


def test_the_worker_counts_what_ended_and_how_long_it_took(engine: Engine, ended: dict[str, Any]) -> None:
    metrics = scrape(engine, "worker")
    success = {"phase": "Succeeded", "reason": "VeleroBackupSucceeded", **TYPE}
    assert (metrics.get("operation_total", **success) or 0) >= 1
    assert (metrics.get("operation_duration_seconds_count", **TYPE) or 0) >= 1
    assert (metrics.get("operation_attempts_total", cause="Initial", **TYPE) or 0) >= 1
    for step in STEPS:
        assert (metrics.get("operation_step_duration_seconds_count", step=step, **TYPE) or 0) >= 1, step


def test_the_time_of_the_last_good_backup_can_be_alerted_on(engine: Engine, ended: dict[str, Any]) -> None:
    namespace = ended["metadata"]["namespace"]
    labels = {"operation_namespace": namespace, "target": namespace}
    value = scrape(engine, "controller").get("last_successful_backup_timestamp_seconds", **labels)
    assert value is not None
    finished = yaml.safe_load(ended["status"]["finishedAt"])
    assert value == pytest.approx(finished.timestamp(), abs=0.01)


def test_the_controller_counts_starts_and_operations_by_phase(engine: Engine, ended: dict[str, Any]) -> None:
    metrics = scrape(engine, "controller")
    assert (metrics.get("reconcile_total", controller="operation", result="started") or 0) >= 1
    assert (metrics.get("operations", phase="Succeeded", **TYPE) or 0) >= 1
    assert (metrics.get("managed_namespaces") or 0) >= 1


@pytest.mark.parametrize(("name", "resource"), [("controller", "operations"), ("worker", "backups")])
def test_a_deaf_watch_can_be_alerted_on(engine: Engine, ended: dict[str, Any], name: str, resource: str) -> None:
    value = scrape(engine, name).get("watch_last_activity_seconds", resource=resource)
    assert value is not None
    assert 0 <= value < 300


@pytest.mark.parametrize("name", PROCESSES)
def test_every_log_line_is_json_and_says_when_and_what(engine: Engine, ended: dict[str, Any], name: str) -> None:
    for line in lines(engine, name):
        assert list(line)[:3] == ["ts", "level", "msg"], line
        assert line["operator_version"], line


def test_a_transition_is_a_log_line_that_leads_to_operation_workflow_and_step(
    engine: Engine, kubectl: Kubectl, ended: dict[str, Any]
) -> None:
    meta, claim = ended["metadata"], ended["status"]["workflow"]
    found = [line for line in lines(engine, "worker") if line.get("operation_id") == meta["uid"]]
    created = next(line for line in found if line["msg"] == "CreateBackup is Succeeded")
    assert (
        created.items()
        >= {
            "level": "info",
            "namespace": meta["namespace"],
            "operation": meta["name"],
            "application_instance": ended["spec"]["targetRef"]["name"],
            "workflow_id": claim["id"],
            "run_id": claim["runId"],
            "attempt": 1,
            "step": "CreateBackup",
            "cluster_id": kubectl.json("get", "namespace", "kube-system")["metadata"]["uid"],
        }.items()
    )
    numbers = [line["seq"] for line in found if "seq" in line]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == ended["status"]["seq"]


def test_the_controller_logs_the_start(engine: Engine, ended: dict[str, Any]) -> None:
    uid = ended["metadata"]["uid"]
    (line,) = (line for line in lines(engine, "controller") if line.get("operation_id") == uid)
    assert line["msg"] == "workflow started"
    assert line["namespace"] == ended["metadata"]["namespace"]


@pytest.mark.parametrize("name", PROCESSES)
def test_no_log_line_holds_a_secret(
    engine: Engine, cluster: LocalCluster, engine_kubeconfig: Path, ended: dict[str, Any], name: str
) -> None:
    token = yaml.safe_load(engine_kubeconfig.read_text())["users"][0]["user"]["token"]
    env = cluster.env()
    text = engine.logs(name)
    for secret in (token, env["AWS_SECRET_ACCESS_KEY"], env["AWS_ACCESS_KEY_ID"], "X-Amz-Signature", "Bearer "):
        assert secret not in text


def test_temporal_keeps_no_secret_either(
    engine: Engine, cluster: LocalCluster, engine_kubeconfig: Path, temporal: Temporal, ended: dict[str, Any]
) -> None:
    history = json.dumps(temporal.events(workflow_id(ended)))
    assert cluster.env()["AWS_SECRET_ACCESS_KEY"] not in history
    assert "X-Amz-Signature" not in history

"""A failed restore as an operator goes on with it in the real Temporal UI: reads why, mends the cause, retries, aborts.

The Deployment `velero` is missing, so Velero cannot restore pods.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect
from support.engine import Engine
from support.kube import Kubectl, Operations, backup, restore
from support.temporal_ui import TemporalUi
from support.world import VELERO, config_map, deployment

Json = dict[str, Any]
WHY = 'deployments.apps "velero" not found'


@pytest.fixture
def velero_deployment(kubectl: Kubectl) -> Iterator[Callable[[], None]]:
    """The Deployment is gone; what is yielded brings it back, and so does the end of the test."""
    found = kubectl.json("get", "deployment", "velero", "-n", VELERO)
    kept = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": found["spec"]}
    kubectl("delete", "deployment", "velero", "-n", VELERO)

    def back() -> None:
        kubectl.apply({**kept, "metadata": {"name": "velero", "namespace": VELERO}})

    yield back
    back()


@pytest.fixture
def failed(
    engine: Engine, kubectl: Kubectl, operations: Operations, namespace: str, velero_deployment: Callable[[], None]
) -> Json:
    kubectl.apply(config_map(namespace, "settings"), deployment(namespace, "web"))
    kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=60s")
    kubectl.apply(backup(namespace, "nightly"))
    # The backup of pods does not need the Deployment.
    assert operations.await_end(namespace, "nightly")["status"]["phase"] == "Succeeded"
    kubectl("delete", "deployment", "web", "-n", namespace)
    kubectl("wait", "pods", "--all", "-n", namespace, "--for=delete", "--timeout=60s")
    kubectl.apply(restore(namespace, "nightly", parameters={"safetyBackup": False}))
    return operations.await_path(namespace, "restore", "{.status.reason}", "AwaitingDecision")


def sent_from(details: str) -> str:
    """The JSON that the page says to send."""
    return details[details.index("{") : details.index("}") + 1]


def test_a_failed_restore_is_retried_by_an_update_after_the_cause_is_mended(
    failed: Json,
    operations: Operations,
    namespace: str,
    velero_deployment: Callable[[], None],
    ui: TemporalUi,
) -> None:
    ui.open_run(failed["status"]["workflow"]["url"])
    ui.open_details()
    details = ui.details(until="AwaitingDecision")
    assert WHY in details
    assert "Send an Update" in details

    refused = ui.update("retry", "")
    assert "Nothing was sent: a decision must name the attempt" in refused
    assert '"attempt": 1' in refused
    assert "Traceback" not in refused
    assert "Attempt 9 does not wait" in ui.update("retry", '{"attempt": 9}')

    velero_deployment()
    payload = sent_from(details)
    assert json.loads(payload) == {"attempt": 1}
    assert ui.update("retry", payload) == ""

    status = operations.await_end(namespace, "restore")["status"]
    assert status["phase"] == "Succeeded", status["message"]
    assert [(a["cause"], a["outcome"]) for a in status["attempts"]] == [("Initial", "Failed"), ("Human", "Succeeded")]
    expect(ui.page.get_by_test_id("execution-status").first).to_have_text("Completed", timeout=60_000)
    ui.open_details()
    assert "attempt 2" in ui.details(until="Succeeded · VeleroRestoreCompleted")


def test_a_signal_that_does_not_count_is_shown_and_one_that_does_aborts(
    failed: Json, operations: Operations, namespace: str, ui: TemporalUi
) -> None:
    ui.open_run(failed["status"]["workflow"]["url"])
    ui.signal("abort", "")
    ui.open_details()
    details = ui.details(until="Signal abort refused")
    assert details.index("refused") < details.index("AwaitingDecision"), "it stands on top"
    assert "a decision must name the attempt" in details

    ui.signal("abort", '{"attempt": 1, "by": "ann"}')
    status = operations.await_end(namespace, "restore")["status"]
    assert (status["phase"], status["reason"]) == ("Failed", "AbortedByUser")
    assert status["decision"]["by"] == "unverified:ann"
    expect(ui.page.get_by_test_id("execution-status").first).to_have_text("Failed", timeout=60_000)

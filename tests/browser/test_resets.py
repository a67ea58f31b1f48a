"""Reset and Start Workflow Like This One as an operator presses them in the real Temporal UI.

The events to reset to are those that the page's own details name.
"""

import re
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import expect
from support.engine import Engine
from support.kube import Kubectl, Operations, backup, restore
from support.temporal import Temporal, workflow_id
from support.temporal_ui import TemporalUi
from support.world import config_map

from local_cluster.cluster import LocalCluster

Json = dict[str, Any]
# More than there is: the restore fails in its verification.
TOO_MUCH = {"safetyBackup": False, "verify": {"minItems": 1000}}
WITHIN_MS = 60_000


@pytest.fixture
def temporal(cluster: LocalCluster) -> Temporal:
    return Temporal(cluster.env())


@pytest.fixture
def saved(engine: Engine, kubectl: Kubectl, operations: Operations, namespace: str) -> str:
    kubectl.apply(config_map(namespace, "settings"), backup(namespace, "nightly"))
    assert operations.await_end(namespace, "nightly")["status"]["phase"] == "Succeeded"
    kubectl("delete", "configmap", "settings", "-n", namespace)
    return namespace


def status_of(ui: TemporalUi, status: str) -> None:
    expect(ui.page.get_by_test_id("execution-status").first).to_have_text(status, timeout=WITHIN_MS)


def event(details: str, words: str) -> int:
    """The event that the details name for what these words say."""
    found = re.search(rf"event (\d+) {words}", details)
    assert found is not None, details
    return int(found[1])


def unclaimed(operation: Json) -> Json:
    """Without what the controller writes beside the work when it sees that a Reset's run is open."""
    return {key: value for key, value in operation["status"].items() if key != "workflow"}


def causes(operation: Json) -> list[str]:
    return [attempt["cause"] for attempt in operation["status"]["attempts"]]


def test_a_failed_restore_is_reset_to_the_events_that_its_page_names(
    saved: str, kubectl: Kubectl, operations: Operations, temporal: Temporal, ui: TemporalUi
) -> None:
    kubectl.apply(restore(saved, "nightly", parameters=TOO_MUCH, policy={"decisionTimeout": "0s"}))
    failed = operations.await_end(saved, "restore")
    id_ = workflow_id(failed)
    ui.open_run(failed["status"]["workflow"]["url"])
    status_of(ui, "Failed")
    ui.open_details()
    details = ui.details(until="Failed · VerificationFailed")
    first, check = event(details, "does everything anew"), event(details, "repeats VerifyContents alone")
    run_id = ui.reset(temporal.task_ends(id_)[-1])
    temporal.await_end(id_, run_id)
    assert unclaimed(operations.get(saved, "restore")) == unclaimed(failed), "to the last task: nothing changes"

    ui.open_run(failed["status"]["workflow"]["url"])
    run_id = ui.reset(check)
    temporal.await_end(id_, run_id)
    checked = operations.get(saved, "restore")
    assert (causes(checked), checked["status"]["workflow"]["runId"]) == (["Initial"], run_id)

    ui.open_run(checked["status"]["workflow"]["url"])
    status_of(ui, "Failed")
    run_id = ui.reset(first)
    temporal.await_end(id_, run_id)
    again = operations.get(saved, "restore")
    assert (causes(again), again["status"]["workflow"]["runId"]) == (["Initial", "Reset"], run_id)
    ui.open_run(again["status"]["workflow"]["url"])
    ui.open_details()
    assert "attempt 2" in ui.details(until="Failed · VerificationFailed")


def test_a_restore_that_waits_is_reset_and_asks_about_its_new_attempt(
    saved: str, kubectl: Kubectl, operations: Operations, temporal: Temporal, ui: TemporalUi
) -> None:
    kubectl.apply(restore(saved, "nightly", parameters=TOO_MUCH))
    waiting = operations.await_path(saved, "restore", "{.status.reason}", "AwaitingDecision")
    id_ = workflow_id(waiting)
    ui.open_run(waiting["status"]["workflow"]["url"])
    ui.open_details()
    event(ui.details(until="AwaitingDecision"), "repeats VerifyContents alone")
    ui.signal("retry", '{"attempt": 9}')
    run_id = ui.reset(temporal.task_ends(id_)[0])
    operations.await_path(saved, "restore", "{.status.attempt}", "2")
    asked = operations.await_path(saved, "restore", "{.status.reason}", "AwaitingDecision")
    assert (causes(asked), asked["status"]["workflow"]["runId"]) == (["Initial", "Reset"], run_id)

    ui.open_run(asked["status"]["workflow"]["url"])
    ui.open_details()
    assert '"attempt": 2' in ui.details(until="AwaitingDecision")
    assert "Attempt 1 does not wait for a decision: attempt 2 does" in ui.update("abort", '{"attempt": 1}')
    assert ui.update("abort", '{"attempt": 2}') == ""
    assert operations.await_end(saved, "restore")["status"]["reason"] == "AbortedByUser"
    status_of(ui, "Failed")

    # Aborted in error: to where it was asked, without the answer that was given.
    temporal.await_end(id_)
    asked_at = temporal.task_that_called("write_report", id_, run_id)
    ui.reset(asked_at, alone=True)
    again = operations.await_path(saved, "restore", "{.status.reason}", "AwaitingDecision")
    assert again["status"]["attempt"] == 2
    temporal.signal(id_, "abort", {"attempt": 2})
    operations.await_end(saved, "restore")


def test_start_workflow_like_this_one_changes_nothing_and_says_why(
    cluster: LocalCluster, saved: str, kubectl: Kubectl, operations: Operations, temporal: Temporal, ui: TemporalUi
) -> None:
    kubectl.apply(restore(saved, "nightly", parameters={"verify": {"minItems": 1000}}))
    waiting = operations.await_path(saved, "restore", "{.status.reason}", "AwaitingDecision")
    id_, url = workflow_id(waiting), waiting["status"]["workflow"]["url"]
    ui.open_run(url)
    assert ui.start_like(id_).status == 409, "it runs"
    ui.open_run(url)
    assert ui.start_like(f"{id_}-again").ok
    fenced_page(ui, cluster, temporal, f"{id_}-again", "its workflow's id is not the one of Operation")
    assert unclaimed(operations.get(saved, "restore")) == unclaimed(waiting)

    temporal.signal(id_, "abort", {"attempt": 1})
    failed = operations.await_end(saved, "restore")
    temporal.await_end(id_)
    ui.open_run(url)
    status_of(ui, "Failed")
    assert ui.start_like(id_).ok
    fenced_page(ui, cluster, temporal, id_, f"To try again, Reset run {failed['status']['workflow']['runId']}.")
    assert unclaimed(operations.get(saved, "restore")) == unclaimed(failed)


def fenced_page(ui: TemporalUi, cluster: LocalCluster, temporal: Temporal, id_: str, why: str) -> None:
    """The new run's own page says that it changed nothing, and why."""
    failure, run = temporal.failure(id_), temporal.run(id_)
    assert failure is not None
    assert run is not None
    assert (failure.type, run.status) == ("Fenced", "Failed")
    env = cluster.env()
    where = f"{env['TEMPORAL_UI_URL']}/namespaces/{env['TEMPORAL_NAMESPACE']}/workflows"
    ui.open_run(f"{where}/{quote(id_, safe='')}/{run.run_id}/timeline")
    ui.open_details()
    assert why in ui.details(until="This run changes nothing")

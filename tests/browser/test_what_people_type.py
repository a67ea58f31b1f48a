"""Whatever a person can send from the Temporal UI's forms is answered in one sentence, and wedges nothing."""

from typing import Any

import pytest
from support.engine import Engine
from support.kube import Kubectl, Operations, backup, restore
from support.temporal import Temporal, workflow_id
from support.temporal_ui import TemporalUi
from support.world import config_map

from local_cluster.cluster import LocalCluster

Json = dict[str, Any]
A_MEGABYTE = 1_000_000
MUST_NAME = "a decision must name the attempt"
TYPED = {
    "nothing": ("", MUST_NAME),
    "a word": ("retry", None),
    "broken JSON": ('{"attempt": 1', None),
    "a string": ('"retry"', MUST_NAME),
    "a number": ("1", MUST_NAME),
    "a list": ('[{"attempt": 1}]', MUST_NAME),
    "no number": ('{"attempt": "one"}', '"attempt" must be a number'),
    "a stale attempt": ('{"attempt": 0}', "Attempt 0 does not wait for a decision: attempt 1 does"),
    "a misspelt key": ('{"attempt": 1, "skipp": "x"}', "means nothing here"),
    "a megabyte": (f'"{"x" * A_MEGABYTE}"', MUST_NAME),
}
"""What is typed, and what the answer says; None where it never leaves the form, or cannot be read as JSON."""


@pytest.fixture
def waiting(engine: Engine, kubectl: Kubectl, operations: Operations, namespace: str) -> Json:
    kubectl.apply(config_map(namespace, "settings"), backup(namespace, "nightly"))
    assert operations.await_end(namespace, "nightly")["status"]["phase"] == "Succeeded"
    parameters = {"safetyBackup": False, "verify": {"minItems": 1000}}
    kubectl.apply(restore(namespace, "nightly", parameters=parameters))
    return operations.await_path(namespace, "restore", "{.status.reason}", "AwaitingDecision")


def test_an_update_with_anything_in_it_is_refused_in_one_sentence_and_the_workflow_goes_on(
    waiting: Json, cluster: LocalCluster, operations: Operations, namespace: str, ui: TemporalUi
) -> None:
    ui.open_run(waiting["status"]["workflow"]["url"])
    for typed, (payload, says) in TYPED.items():
        answer = ui.try_update("retry", payload)
        assert answer, typed
        assert "Traceback" not in answer, typed
        assert says is None or says in answer, typed
    assert operations.get(namespace, "restore") == waiting
    unknown = Temporal(cluster.env()).update(workflow_id(waiting), "restart", {"attempt": 1})
    assert "restart" in unknown
    assert ui.update("abort", '{"attempt": 1}') == ""
    assert operations.await_end(namespace, "restore")["status"]["reason"] == "AbortedByUser"


def test_a_signal_with_anything_in_it_is_shown_as_refused_and_the_workflow_goes_on(
    waiting: Json, cluster: LocalCluster, operations: Operations, namespace: str, ui: TemporalUi
) -> None:
    ui.open_run(waiting["status"]["workflow"]["url"])
    for typed in ("nothing", "a string", "a stale attempt", "a megabyte"):
        ui.signal("retry", TYPED[typed][0])
    temporal, id_ = Temporal(cluster.env()), workflow_id(waiting)
    temporal.signal(id_, "restart", {"attempt": 1})
    ui.open_details()
    details = ui.details(until="xxx")
    assert details.count("Signal retry refused") == 3
    assert len(details) < 16_000
    assert operations.get(namespace, "restore") == waiting
    ui.signal("abort", '{"attempt": 1}')
    assert operations.await_end(namespace, "restore")["status"]["reason"] == "AbortedByUser"

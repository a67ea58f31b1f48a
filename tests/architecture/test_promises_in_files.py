"""What is promised in one file and kept in another: rights, reasons, metrics, workflow names."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, Counter
from temporalio import workflow

from controller.decide import UNSUPPORTED, WORKFLOW_TYPES
from operation_engine.doctor import rights
from operation_engine.domain.admission import BUILT
from operation_engine.domain.identity import OperationRef
from operation_engine.domain.resources.reasons import Reason
from operation_engine.runtime.telemetry import REGISTRY
from operation_engine.worker import WORKFLOWS

ROOT = Path(__file__).parents[2]
TROUBLESHOOTING = ROOT / "docs/operate/troubleshooting.md"
OBSERVABILITY = ROOT / "docs/operate/observability.md"
VELERO, ENGINE = "velero", "vworkspace-system"

Grant = tuple[str, str, str, str]
"""Verb, API group, resource (with its subresource) and namespace, "" for all of them."""


def granted(documents: list[dict[str, Any]]) -> Iterator[Grant]:
    for document in documents:
        if document["kind"] not in ("Role", "ClusterRole"):
            continue
        where = document["metadata"].get("namespace", "")
        for rule in document["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    yield from ((verb, group, resource, where) for verb in rule["verbs"])


def needed() -> set[Grant]:
    found = set()
    for right in rights(VELERO, ENGINE):
        plural = f"{right.resource.plural}/{right.subresource}" if right.subresource else right.resource.plural
        found.add((right.verb, right.resource.group, plural, right.namespace or ""))
    return found


def deployed() -> list[dict[str, Any]]:
    return [d for d in yaml.safe_load_all((ROOT / "deploy/rbac.yaml").read_text()) if d]


def test_every_right_that_the_engine_needs_is_granted_and_no_other() -> None:
    assert set(granted(deployed())) == needed()


def test_no_right_is_granted_by_a_wildcard() -> None:
    assert [grant for grant in granted(deployed()) if "*" in grant] == []


def test_a_right_too_many_and_a_right_too_few_would_be_noticed() -> None:
    documents = deployed()
    roles = [d for d in documents if d["kind"] == "ClusterRole"]
    roles[0]["rules"].append({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]})
    assert set(granted(documents)) - needed() == {("get", "", "secrets", "")}
    roles[0]["rules"] = []
    assert needed() - set(granted(documents))


def test_every_role_is_bound_to_the_engine_s_service_account() -> None:
    documents = deployed()
    bound = {(d["roleRef"]["kind"], d["metadata"].get("namespace", "")) for d in documents if "roleRef" in d}
    assert bound == {(d["kind"], d["metadata"].get("namespace", "")) for d in documents if "rules" in d}
    account = next(d["metadata"] for d in documents if d["kind"] == "ServiceAccount")
    subjects = [subject for d in documents for subject in d.get("subjects", [])]
    assert {(s["name"], s["namespace"]) for s in subjects} == {(account["name"], account["namespace"])}


REGISTERED = {workflow._Definition.must_from_class(cls).name: cls for cls in WORKFLOWS}


def test_the_controller_starts_only_workflows_that_the_worker_runs() -> None:
    assert {*WORKFLOW_TYPES.values(), UNSUPPORTED} == set(REGISTERED)


def test_what_admission_calls_built_has_a_workflow_of_its_own() -> None:
    assert set(BUILT) == set(WORKFLOW_TYPES)


@pytest.mark.parametrize("name", REGISTERED)
def test_a_workflow_s_whole_input_is_which_operation(name: str) -> None:
    definition = workflow._Definition.must_from_class(REGISTERED[name])
    assert definition.arg_types == [OperationRef]


def rows(page: str) -> set[str]:
    """The first cells of the tables on a page."""
    return {cell.strip(" `") for cell in re.findall(r"^\|([^|]*)\|", page, re.MULTILINE)}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_row_in_the_troubleshooting_page(reason: Reason) -> None:
    assert str(reason) in rows(TROUBLESHOOTING.read_text())


def metrics(registry: CollectorRegistry) -> set[str]:
    """Names as they are scraped: a counter has `_total` behind it."""
    return {f"{family.name}_total" if family.type == "counter" else family.name for family in registry.collect()}


@pytest.mark.parametrize("name", sorted(metrics(REGISTRY)))
def test_every_metric_is_on_the_observability_page(name: str) -> None:
    assert f"`{name}`" in OBSERVABILITY.read_text()


def test_no_metric_is_promised_that_does_not_exist() -> None:
    promised = set(re.findall(r"`(vworkspace_operator_\w+)`", OBSERVABILITY.read_text()))
    assert promised <= metrics(REGISTRY)


def test_metrics_and_rows_are_read_as_they_are_written() -> None:
    registry = CollectorRegistry()
    Counter("ends_total", "Ends.", registry=registry)
    assert metrics(registry) == {"ends_total"}
    assert "Timeout" in rows("| Reason | Do |\n|---|---|\n| `Timeout` | wait |\n")
    assert "Timeout" not in rows("A Timeout is mentioned in passing.")

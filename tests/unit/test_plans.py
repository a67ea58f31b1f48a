"""Plans as text and through Temporal, and the names that kinds go by."""

import pytest

from operation_engine.domain.admission import PASS, refuse, wait
from operation_engine.domain.discovery import observe_kinds, resolved
from operation_engine.domain.plans import (
    MAX_OBJECTS,
    Fate,
    Plan,
    PlannedObject,
    PlannedStep,
    counted,
    named,
    render,
    told,
)
from operation_engine.domain.resources.operation_spec import OperationType
from operation_engine.domain.resources.reasons import Reason

THINGS = tuple(
    PlannedObject(kind=kind, name=name, fate=fate)
    for kind, name, fate in (
        ("v1/ConfigMap", "a", Fate.CREATE),
        ("v1/ConfigMap", "b", Fate.CREATE),
        ("v1/Secret", "s", Fate.KEEP),
    )
)
PLAN = Plan(
    operation="shop/restore",
    type=OperationType.RESTORE,
    source="shop",
    destination="copy",
    backup_name="nightly-1",
    steps=(
        PlannedStep(name="FindBackup", message="found"),
        PlannedStep(name="CleanUp", message="none", would_run=False),
    ),
    objects=THINGS,
    counts=counted(THINGS),
    cannot_tell=("webhooks",),
)


def test_the_text_has_steps_objects_by_fate_and_doubts() -> None:
    assert render(PLAN).splitlines() == [
        "Operation shop/restore (Restore) would do this; nothing has been done.",
        "",
        "Steps:",
        "  run  FindBackup  found",
        "  skip CleanUp     none",
        "",
        "Objects: 2 created, 1 left as they are.",
        "  create    ConfigMap a, b",
        "  keep      Secret s",
        "",
        "What cannot be told beforehand:",
        "  - webhooks",
        "",
        "It would go through, as far as can be told: 2 created, 1 left as they are.",
    ]


def test_a_refusal_and_a_wait_are_the_last_word() -> None:
    refused = PLAN.model_copy(
        update={"verdict": refuse(Reason.CONSENT_MISSING, "Nobody agreed."), "fails_at": "CleanUp"}
    )
    assert render(refused).endswith("It would NOT go through: ConsentMissing, at CleanUp. Nobody agreed.")
    assert "  STOP CleanUp     none" in render(refused)
    assert refused.is_refused
    told_there = refused.model_copy(update={"steps": (PlannedStep(name="CleanUp", message="Nobody agreed."),)})
    assert render(told_there).endswith("It would NOT go through: ConsentMissing, at CleanUp.")
    waiting = PLAN.model_copy(update={"verdict": wait(Reason.STORAGE_LOCATION_UNAVAILABLE, "It is away.")})
    assert render(waiting).endswith("It would wait: StorageLocationUnavailable. It is away.")
    assert (waiting.waits, waiting.is_refused) == (True, False)
    assert (PLAN.verdict, PLAN.is_refused) == (PASS, False)


def test_the_summary_says_that_nothing_was_done() -> None:
    said = PLAN.summary
    assert said == (
        "Dry run, nothing was done. It would restore Velero Backup nightly-1 into namespace copy: "
        "2 created, 1 left as they are."
    )
    backup = PLAN.model_copy(update={"type": OperationType.BACKUP, "counts": {}})
    assert backup.summary.endswith("back up namespace shop: no object is known of.")


def test_a_bounded_plan_keeps_what_something_happens_to_and_every_count() -> None:
    kept = [PlannedObject(kind="v1/Secret", name=f"s{n}", fate=Fate.KEEP) for n in range(MAX_OBJECTS)]
    last = PlannedObject(kind="v1/ConfigMap", name="last", fate=Fate.CREATE)
    plan = PLAN.model_copy(update={"objects": (*kept, last), "counts": counted([*kept, last])})
    bounded = plan.bounded()
    assert len(bounded.objects) == MAX_OBJECTS
    assert bounded.objects[0] == last
    assert bounded.counts == {"keep": MAX_OBJECTS, "create": 1}
    assert len(plan.model_dump_json()) < 256 * 1024


def test_counts_and_names_in_words() -> None:
    assert told({}) == ""
    assert told({"keep": 1, "create": 2}) == "2 created, 1 left as they are"
    assert named(THINGS, Fate.CREATE, most=1) == "ConfigMap a and 1 more"
    assert named(THINGS, Fate.DELETE) == ""


def kind(plural: str, name: str, **parts: object) -> dict[str, object]:
    usual = {"scope": "Namespaced", "verbs": ["list", "create", "get", "delete"], "singularResource": name.lower()}
    return {"resource": plural, "responseKind": {"kind": name}, **usual, **parts}


CORE = {
    "items": [
        {
            "metadata": {"creationTimestamp": None},
            "versions": [
                {
                    "version": "v1",
                    "resources": [
                        kind("pods", "Pod", shortNames=["po"]),
                        kind("configmaps", "ConfigMap", shortNames=["cm"]),
                        kind("nodes", "Node", scope="Cluster"),
                    ],
                }
            ],
        }
    ]
}
GROUPS = {
    "items": [
        {
            "metadata": {"name": "apps"},
            "versions": [
                {"version": "v1", "resources": [kind("deployments", "Deployment", shortNames=["deploy"])]},
                {"version": "v1beta1", "resources": [kind("deployments", "Deployment")]},
            ],
        },
        {
            "metadata": {"name": "metrics.k8s.io"},
            "versions": [{"version": "v1", "resources": [kind("pods", "PodMetrics", verbs=["list", "get"])]}],
        },
        {
            "metadata": {"name": "events.k8s.io"},
            "versions": [{"version": "v1", "resources": [kind("events", "Event")]}],
        },
        {"metadata": {"name": "empty"}, "versions": []},
    ]
}
KINDS = observe_kinds(CORE, GROUPS)


def test_kinds_are_read_in_the_version_that_their_group_prefers() -> None:
    assert [found.listed_as for found in KINDS] == [
        "v1/Pod",
        "v1/ConfigMap",
        "v1/Node",
        "apps/v1/Deployment",
        "metrics.k8s.io/v1/PodMetrics",
        "events.k8s.io/v1/Event",
    ]
    assert [found.resource for found in KINDS if found.is_backed_up] == ["pods", "configmaps", "deployments.apps"]


@pytest.mark.parametrize(
    ("name", "resource"),
    [
        ("po", "pods"),
        ("pod", "pods"),
        ("Pods", "pods"),
        ("deploy", "deployments.apps"),
        ("deployment.apps", "deployments.apps"),
        ("deployments.other", "deployments.other"),
        ("things.example.com", "things.example.com"),
        ("*", "*"),
    ],
)
def test_a_filter_takes_any_of_a_kind_s_names(name: str, resource: str) -> None:
    assert resolved([name], KINDS) == {resource}
    assert resolved(None, KINDS) == frozenset()

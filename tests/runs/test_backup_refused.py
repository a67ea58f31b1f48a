"""Operations that are refused before anything is done: each ends Failed with its reason, and has a history."""

from datetime import timedelta
from typing import Any

import pytest
from support.runs import Stage, backup
from support.scripted import UNAVAILABLE_LOCATION, Script, always, unavailable

from operation_engine.domain.admission import refuse
from operation_engine.domain.resources.conditions import ConditionStatus, ConditionType
from operation_engine.domain.resources.reasons import Reason
from operation_engine.runtime.kubernetes import APPLICATION_INSTANCES

pytestmark = pytest.mark.asyncio(loop_scope="session")

C = ConditionType
INSTANCE = {"apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance"}

REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "a copy that Velero restored": (
        {"labels": {"velero.io/restore-name": "r1"}},
        "RestoredCopy",
        "restore r1",
    ),
    "a namespace that is not served": (
        {"namespace": "foreign"},
        "NamespaceNotManaged",
        "kubectl label namespace foreign app.vworkspace.io/managed-by=vworkspace",
    ),
    "an engine that does not do backups": ({"engine": "volsync"}, "UnsupportedOperation", "spec.engine volsync"),
    "a duration nobody can read": (
        {"policy": {"timeout": "4 hours"}},
        "ValidationFailed",
        'spec.policy.timeout: "4 hours" is not a duration',
    ),
    "a retention of nothing": ({"parameters": {"ttl": "0s"}}, "ValidationFailed", "spec.parameters.ttl is 0s"),
    "a parameter that is misspelt": (
        {"parameters": {"tll": "720h"}},
        "ValidationFailed",
        "spec.parameters.tll is not a parameter of a Backup; did you mean ttl?",
    ),
    "a parameter of another type": (
        {"parameters": {"backupName": "b"}},
        "ValidationFailed",
        "spec.parameters.backupName is not a parameter of a Backup",
    ),
    "an alias beside its key": (
        {"parameters": {"ttl": "1h", "retention": "1h"}},
        "ValidationFailed",
        "keep ttl and remove retention",
    ),
    "another namespace as the target": (
        {"target": {"apiVersion": "v1", "kind": "Namespace", "name": "kube-system"}},
        "ValidationFailed",
        "reaches only its own namespace, so write shop",
    ),
    "a target of a kind that is no target": (
        {"target": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}},
        "ValidationFailed",
        "spec.targetRef.kind is Deployment",
    ),
    "an application that lives elsewhere": (
        {"target": {**INSTANCE, "name": "elsewhere"}},
        "ValidationFailed",
        "releases into namespace other",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_refused_with_the_reason_and_what_to_do(play: Stage, what: str) -> None:
    parts, reason, says = REFUSED[what]
    release = {"release": {"namespace": "other"}}
    play.api.put(APPLICATION_INSTANCES, {"metadata": {"name": "elsewhere", "namespace": "shop"}, "spec": release})
    script = Script()
    ended = await play.run(script, **parts)
    assert ended.failure is not None
    assert (ended.failure.type, ended.failure.non_retryable) == (reason, True)
    assert says in (ended.status.message or "")
    assert ended.condition(C.ACCEPTED) == (ConditionStatus.FALSE, reason)
    assert ended.condition(C.STALLED) == (ConditionStatus.TRUE, reason)
    assert ended.steps["Admit"] == "Failed"
    assert set(ended.steps.values()) - {"Failed"} == {"Skipped"}
    assert (ended.status.attempts, script.created) == ((), [])
    assert "OperationFailed" in ended.event_reasons
    assert "create_backup" not in script.calls


async def test_a_target_that_never_appears_is_given_half_a_minute(play: Stage) -> None:
    ended = await play.run(target={**INSTANCE, "name": "nowhere"})
    assert (ended.status.phase, ended.status.reason) == ("Failed", "TargetNotFound")
    waiting = next(s for s in ended.history if s.reason == "TargetNotFound" and s.phase == "Pending")
    assert waiting.started_at is not None
    assert ended.status.finished_at is not None
    assert 30 <= (ended.status.finished_at - waiting.started_at).total_seconds() < 60


async def test_a_location_that_is_not_open_to_the_namespace_is_refused(play: Stage) -> None:
    script = Script(locations=[refuse(Reason.VALIDATION_FAILED, "storageLocation eu is not open to this namespace")])
    ended = await play.run(script)
    assert (ended.status.reason, script.created) == ("ValidationFailed", [])
    assert ended.condition(C.ACCEPTED) == (ConditionStatus.FALSE, "ValidationFailed")
    assert ended.steps["CheckStorageLocation"] == "Failed"


async def test_a_location_that_is_withdrawn_while_it_is_waited_for_is_refused(play: Stage) -> None:
    withdrawn = refuse(Reason.VALIDATION_FAILED, "storageLocation eu is not open to this namespace")
    ended = await play.run(Script(locations=[UNAVAILABLE_LOCATION, withdrawn]))
    assert (ended.status.phase, ended.status.reason) == ("Failed", "ValidationFailed")


async def test_a_location_is_waited_for_no_longer_than_wait_timeout(play: Stage) -> None:
    """72 hours by default; the message still says what was waited for."""
    faults = [unavailable(timedelta(hours=71)), unavailable(timedelta(hours=2))]
    script = Script(locations=[UNAVAILABLE_LOCATION], before={"await_storage_location": faults})
    ended = await play.run(script)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "StorageLocationUnavailable")
    assert (ended.status.message or "").startswith("Waited in vain. Storage location default is Unavailable")
    assert ended.status.finished_at is not None
    assert ended.status.started_at is not None
    assert ended.status.finished_at - ended.status.started_at > timedelta(hours=70)
    assert ended.steps["CheckStorageLocation"] == "Failed"
    assert script.created == []


async def test_wait_timeout_bounds_the_wait_and_not_each_change_of_its_message(play: Stage) -> None:
    """The location goes from one fault to the next; the clock goes on."""
    other = UNAVAILABLE_LOCATION.model_copy(update={"message": "Storage location default is ReadOnly."})
    faults = [unavailable(timedelta(hours=50)), None, unavailable(timedelta(hours=30))]
    script = Script(locations=[UNAVAILABLE_LOCATION, other], before={"await_storage_location": faults})
    ended = await play.run(script)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "StorageLocationUnavailable")
    assert "ReadOnly" in (ended.status.message or "")


async def test_a_wait_that_nothing_changes_ends_at_its_bound(play: Stage) -> None:
    script = Script(locations=[UNAVAILABLE_LOCATION])
    ended = await play.run(script, policy={"waitTimeout": "1s"})
    assert (ended.status.phase, ended.status.reason) == ("Failed", "StorageLocationUnavailable")


@pytest.mark.parametrize("type_", ["Upgrade", "Migration", "RunCommand", "Runbook"])
async def test_a_type_that_is_not_built_has_a_history_that_says_so(play: Stage, type_: str) -> None:
    ended = await play.run(type=type_)
    assert (ended.status.phase, ended.status.reason) == ("Failed", "UnsupportedOperation")
    assert f"spec.type {type_} is not built yet" in (ended.status.message or "")
    assert ended.steps == {"Admit": "Failed"}
    assert ended.condition(C.ACCEPTED) == (ConditionStatus.FALSE, "UnsupportedOperation")


async def test_an_unbuilt_type_in_a_foreign_namespace_hears_of_the_namespace_first(play: Stage) -> None:
    ended = await play.run(type="Runbook", namespace="foreign")
    assert ended.status.reason == "NamespaceNotManaged"


async def test_an_unbuilt_type_ends_too_when_the_api_server_stays_away(play: Stage) -> None:
    faults = always(unavailable(timedelta(minutes=59)))
    ended = await play.run(Script(before={"admit_operation": faults}), type="Runbook")
    assert (ended.status.phase, ended.status.reason) == ("Failed", "EngineUnavailable")


async def test_the_same_operation_is_started_once_however_often_it_is_asked_for(play: Stage) -> None:
    script, manifest = Script(), backup()
    first = await play.start(script, manifest)
    description = await first.describe()
    await play.ended(first, manifest)
    again = await play.start(script, {**manifest, "status": {}})
    assert (await again.describe()).run_id == description.run_id
    assert len(script.created) == 1

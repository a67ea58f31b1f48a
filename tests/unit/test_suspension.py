"""HelmReleases are suspended for one Operation, and put back as they were."""

import json
from copy import deepcopy
from typing import Any

import pytest

from operation_engine.domain import suspension
from operation_engine.domain.suspension import observe_release, resume_patch, suspend_patch

UID, OTHER = "uid-1", "uid-2"
BY, WAS = suspension.SUSPENDED_BY_ANNOTATION, suspension.SUSPEND_WAS_ANNOTATION
MISSING = object()


def release(suspend: Any = MISSING, **annotations: str) -> dict[str, Any]:
    spec = {} if suspend is MISSING else {"suspend": suspend}
    meta = {"namespace": "flux-system", "name": "web", "resourceVersion": "7", "annotations": {"mine": "kept"}}
    meta["annotations"] |= {{"by": BY, "was": WAS}[key]: value for key, value in annotations.items()}
    return {"metadata": meta, "spec": {"chart": {}, **spec}}


def patched(manifest: dict[str, Any], patch: dict[str, Any] | None) -> dict[str, Any]:
    """As the API server applies a merge patch (RFC 7386)."""
    found = deepcopy(manifest)
    for key, value in (patch or {}).items():
        if isinstance(value, dict):
            found[key] = patched(found.get(key) or {}, value)
        elif value is None:
            found.pop(key, None)
        else:
            found[key] = value
    return found


@pytest.mark.parametrize("before", [MISSING, False, True])
def test_what_was_suspended_comes_back_as_it_was(before: Any) -> None:
    manifest = release(before)
    suspended = patched(manifest, suspend_patch(observe_release(manifest), UID))
    assert suspended["spec"]["suspend"] is True
    assert suspended["metadata"]["annotations"][BY] == UID
    assert patched(suspended, resume_patch(observe_release(suspended), UID)) == manifest


@pytest.mark.parametrize("before", [MISSING, False, True])
def test_suspended_twice_it_still_comes_back_as_it_was(before: Any) -> None:
    manifest = release(before)
    once = patched(manifest, suspend_patch(observe_release(manifest), UID))
    assert suspend_patch(observe_release(once), UID) is None
    taken_over = patched(once, suspend_patch(observe_release(once), OTHER))
    assert resume_patch(observe_release(taken_over), UID) is None, "the one before has nothing to resume any more"
    assert patched(taken_over, resume_patch(observe_release(taken_over), OTHER)) == manifest


def test_what_somebody_resumed_meanwhile_stays_resumed() -> None:
    manifest = release(False, by=UID, was="true")
    after = patched(manifest, resume_patch(observe_release(manifest), UID))
    assert after == release(False)


def test_what_somebody_resumed_is_suspended_again_for_the_next_attempt_and_stays_as_they_left_it() -> None:
    manifest = release(False, by=UID, was="true")
    again = patched(manifest, suspend_patch(observe_release(manifest), UID))
    assert again["spec"]["suspend"] is True
    assert patched(again, resume_patch(observe_release(again), UID)) == release(False)


@pytest.mark.parametrize("manifest", [release(True), release(True, by=OTHER, was="false"), release()])
def test_what_this_operation_did_not_suspend_is_left_alone(manifest: dict[str, Any]) -> None:
    assert resume_patch(observe_release(manifest), UID) is None


def test_nonsense_in_the_annotation_resumes() -> None:
    manifest = release(True, by=UID, was="perhaps")
    assert patched(manifest, resume_patch(observe_release(manifest), UID)) == release(False)


def test_each_patch_is_a_compare_and_swap() -> None:
    patch = suspend_patch(observe_release(release()), UID)
    assert patch is not None
    assert patch["metadata"]["resourceVersion"] == "7"


def test_a_release_installs_into_the_namespace_it_names_or_its_own() -> None:
    elsewhere = release()
    elsewhere["spec"]["targetNamespace"] = "shop"
    assert observe_release(elsewhere).target_namespace == "shop"
    assert observe_release(release()).target_namespace == "flux-system"
    assert str(observe_release(release())) == "flux-system/web"


@pytest.mark.parametrize(("status", "reconciling"), [("True", True), ("False", False)])
def test_a_release_says_whether_flux_is_at_it(status: str, reconciling: bool) -> None:
    manifest = release() | {"status": {"conditions": [{"type": "Reconciling", "status": status}]}}
    assert observe_release(manifest).reconciling == reconciling
    assert not observe_release(release()).reconciling


def test_one_that_comes_out_of_a_backup_rests_and_one_that_stood_there_keeps_what_it_was() -> None:
    here = observe_release(patched(release(True), {"metadata": {"namespace": "shop"}}))
    ours = observe_release(
        patched(release(True, by=UID, was="false"), {"metadata": {"namespace": "shop", "name": "a.b"}})
    )
    elsewhere = observe_release(release(False))
    rules = suspension.rest_rules(UID, "shop", [here, ours, elsewhere])
    patches = [json.loads(rule["mergePatches"][0]["patchData"]) for rule in rules]
    assert all(patch["spec"] == {"suspend": True} for patch in patches)
    assert all(patch["metadata"]["annotations"][BY] == UID for patch in patches)
    assert [patch["metadata"]["annotations"][WAS] for patch in patches] == [
        *("absent", "true", "false"),
        *("true", "false", "absent"),
        *("true", "false"),
    ]
    assert [rule["conditions"].get("resourceNameRegex") for rule in rules[6:]] == ["^web$", "^a\\.b$"]
    assert [rule["conditions"].get("matches") for rule in rules[:3]] == [
        None,
        [{"path": "/spec/suspend", "value": "true"}],
        [{"path": "/spec/suspend", "value": "false"}],
    ]
    assert [rule["conditions"]["matches"][0]["value"] for rule in rules[3:6]] == ['"true"', '"false"', '"absent"']

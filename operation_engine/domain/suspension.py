"""Suspending HelmReleases while an Operation changes what they manage, and resuming them as they were: pure.

What was done is written on the HelmRelease itself, in the same write: whoever comes after a crash can undo it.
Called by `records.suspension`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from operation_engine.domain.resources.common import ApiModel

SUSPENDED_BY_ANNOTATION = "ops.vworkspace.io/suspended-by"
SUSPEND_WAS_ANNOTATION = "ops.vworkspace.io/suspend-was"
_WAS = {True: "true", False: "false", None: "absent"}
_WAS_PATH = "/metadata/annotations/ops.vworkspace.io~1suspend-was"
_IS = {text: value for value, text in _WAS.items()}


class Release(ApiModel):
    """A HelmRelease as far as suspending it needs."""

    namespace: str
    name: str
    resource_version: str = ""
    target_namespace: str
    suspend: bool | None = None
    """None = the field is absent, which is not the same as false to whoever applies the manifest."""
    suspended_by: str | None = None
    suspend_was: str | None = None
    reconciling: bool = False

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def observe_release(manifest: Mapping[str, Any]) -> Release:
    """A HelmRelease (helm.toolkit.fluxcd.io/v2); without a targetNamespace it installs into its own namespace."""
    meta, spec = manifest["metadata"], manifest.get("spec") or {}
    annotations = meta.get("annotations") or {}
    conditions = (manifest.get("status") or {}).get("conditions") or ()
    return Release(
        namespace=meta["namespace"],
        name=meta["name"],
        resource_version=meta["resourceVersion"],
        target_namespace=spec.get("targetNamespace") or meta["namespace"],
        suspend=spec.get("suspend"),
        suspended_by=annotations.get(SUSPENDED_BY_ANNOTATION),
        suspend_was=annotations.get(SUSPEND_WAS_ANNOTATION),
        reconciling=any(c.get("type") == "Reconciling" and c.get("status") == "True" for c in conditions),
    )


def suspend_patch(release: Release, uid: str) -> dict[str, Any] | None:
    """The merge patch that suspends a release for the Operation `uid`; None where that is done already.

    What another Operation suspended and did not resume is taken over, with what stood there before that one.
    """
    if release.suspended_by == uid and release.suspend:
        return None
    is_kept = release.suspended_by is not None and release.suspend is True and release.suspend_was in _IS
    was = release.suspend_was if is_kept else _WAS[release.suspend]
    return _patch(release, True, {SUSPENDED_BY_ANNOTATION: uid, SUSPEND_WAS_ANNOTATION: was})


def resume_patch(release: Release, uid: str) -> dict[str, Any] | None:
    """The merge patch that puts a release back as it was; None where it is not this Operation's (any more).

    Where somebody resumed it meanwhile, that stays: only our own words are removed.
    """
    if release.suspended_by != uid:
        return None
    before = _IS.get(release.suspend_was or "", False) if release.suspend is True else release.suspend
    return _patch(release, before, {SUSPENDED_BY_ANNOTATION: None, SUSPEND_WAS_ANNOTATION: None})


def rest_rules(uid: str, destination: str, live: Sequence[Release]) -> list[dict[str, Any]]:
    """Rules of a Velero resource modifier by which a HelmRelease comes out of a backup suspended for the Operation.

    Velero would make it anew, or write over the one that rests, as it was backed up: Flux would go to work in the
    middle of the restore. One that stands in the destination keeps for later what it was (`live`); of another, what the
    backup says, and of one that was backed up while an Operation had it suspended, what it was before that. Every rule
    looks at the object as it was in the backup (Velero 1.18), so the last that fits decides.
    """
    here = [release for release in live if release.namespace == destination]
    return [
        _rest(uid, _WAS[None]),
        *(_rest(uid, _WAS[is_], matches=[{"path": "/spec/suspend", "value": _WAS[is_]}]) for is_ in (True, False)),
        *(_rest(uid, was, matches=[{"path": _WAS_PATH, "value": f'"{was}"'}]) for was in _IS),
        *(_rest(uid, _was(release, uid), resourceNameRegex=f"^{re.escape(release.name)}$") for release in here),
    ]


def _was(release: Release, uid: str) -> str:
    kept = release.suspend_was if release.suspended_by == uid else None
    return kept if kept in _IS else _WAS[release.suspend]


def _rest(uid: str, was: str, **conditions: Any) -> dict[str, Any]:
    annotations = {SUSPENDED_BY_ANNOTATION: uid, SUSPEND_WAS_ANNOTATION: was}
    patch = {"metadata": {"annotations": annotations}, "spec": {"suspend": True}}
    return {
        "conditions": {"groupResource": "helmreleases.helm.toolkit.fluxcd.io", **conditions},
        "mergePatches": [{"patchData": json.dumps(patch)}],
    }


def _patch(release: Release, suspend: bool | None, annotations: Mapping[str, str | None]) -> dict[str, Any]:
    metadata = {"resourceVersion": release.resource_version, "annotations": dict(annotations)}
    return {"metadata": metadata, "spec": {"suspend": suspend}}

"""Suspending HelmReleases while an Operation changes what they manage, and resuming them as they were: pure.

What was done is written on the HelmRelease itself, in the same write: whoever comes after a crash can undo it.
Called by `records.suspension`.
"""

from collections.abc import Mapping
from typing import Any

from operation_engine.domain.resources.common import ApiModel

SUSPENDED_BY_ANNOTATION = "ops.vworkspace.io/suspended-by"
SUSPEND_WAS_ANNOTATION = "ops.vworkspace.io/suspend-was"
_WAS = {True: "true", False: "false", None: "absent"}
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


def _patch(release: Release, suspend: bool | None, annotations: Mapping[str, str | None]) -> dict[str, Any]:
    metadata = {"resourceVersion": release.resource_version, "annotations": dict(annotations)}
    return {"metadata": metadata, "spec": {"suspend": suspend}}

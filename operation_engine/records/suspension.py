"""HelmReleases suspended for an Operation: written down on the releases themselves, and put back as they were.

Used by the activities on releases; the rules are pure, in `domain.suspension`.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

from operation_engine.domain.suspension import (
    SUSPENDED_BY_ANNOTATION,
    Release,
    observe_release,
    resume_patch,
    suspend_patch,
)
from operation_engine.runtime.kubernetes import (
    HELM_RELEASES,
    Conflict,
    KubernetesApi,
    Manifest,
    NotFound,
    Unavailable,
)

PAGE = 200
MAX_ROUNDS = 10

Change = Callable[[Release, str], dict[str, Any] | None]


class Suspensions:
    """The HelmReleases of the cluster, as far as they are suspended by us. Without Flux there are none."""

    def __init__(self, api: KubernetesApi) -> None:
        self._api = api

    async def suspend(self, destination: str, uid: str) -> tuple[Release, ...]:
        """Suspend every release that installs into `destination`, for the Operation `uid`; those releases.

        Told by the release's own target and not by labels on workloads: those their tenant may write as he likes.
        """
        found = await self.get(destination)
        return tuple([await self._changed(release, uid, suspend_patch) for release in found])

    async def resume(self, uid: str) -> tuple[Release, ...]:
        """Put back every release that the Operation `uid` suspended; those releases."""
        found = [release async for release in self._releases() if release.suspended_by == uid]
        return tuple([await self._changed(release, uid, resume_patch) for release in found])

    async def holders(self) -> tuple[str, ...]:
        """The uids of the Operations that releases say they are suspended for; only metadata is asked for."""
        try:
            found = await self._api.list_metadata(HELM_RELEASES)
        except NotFound:
            return ()
        annotations = [item["metadata"].get("annotations") or {} for item in found]
        return tuple(a[SUSPENDED_BY_ANNOTATION] for a in annotations if SUSPENDED_BY_ANNOTATION in a)

    async def get(self, destination: str) -> tuple[Release, ...]:
        """The releases that install into `destination`, as they are now."""
        return tuple([release async for release in self._releases() if release.target_namespace == destination])

    async def known(self) -> bool:
        """Whether the cluster has the kind: Flux may be installed."""
        try:
            await self._api.list(HELM_RELEASES, limit="1")
        except NotFound:
            return False
        return True

    async def _releases(self) -> AsyncIterator[Release]:
        """All of them, page by page: their values may be large."""
        token = ""
        while True:
            try:
                page = await self._api.list(HELM_RELEASES, limit=str(PAGE), **({"continue": token} if token else {}))
            except NotFound:
                return
            for item in page["items"]:
                yield observe_release(item)
            token = page["metadata"].get("continue", "")
            if not token:
                return

    async def _changed(self, release: Release, uid: str, change: Change) -> Release:
        """The release with the change; made on what stands when somebody else writes too."""
        for _ in range(MAX_ROUNDS):
            patch = change(release, uid)
            if patch is None:
                return release
            try:
                return observe_release(await self._patch(release, patch))
            except Conflict:
                fresh = await self._fresh(release)
            except NotFound:
                fresh = None
            if fresh is None:
                return release
            release = fresh
        raise Unavailable(f"HelmRelease {release}: every write met another writer")

    async def _patch(self, release: Release, patch: dict[str, Any]) -> Manifest:
        return await self._api.merge_patch(HELM_RELEASES, release.name, patch, release.namespace)

    async def _fresh(self, release: Release) -> Release | None:
        try:
            return observe_release(await self._api.get(HELM_RELEASES, release.name, release.namespace))
        except NotFound:
            return None

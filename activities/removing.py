"""Deleting very objects, by uid, and waiting until they are gone. Part of the activities that make room."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from temporalio import activity

from operation_engine.runtime.kubernetes import Conflict, KubernetesApi, NotFound, Resource

LOOK_EVERY_S = 1.0


class Going(Protocol):
    """An object that goes, and never a namesake that came after it."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def uid(self) -> str: ...


async def remove(api: KubernetesApi, kinds: Mapping[str, Resource], namespace: str, doomed: Sequence[Going]) -> None:
    """Delete these very objects, and wait until they are no more: a finalizer or a slow pod may take its time.

    `kinds` are the resources of their kinds. Tried again, or come late, it never deletes what has a name by then.
    """
    for one in doomed:
        activity.heartbeat(str(one))
        try:
            await api.delete(kinds[one.kind], one.name, namespace, uid=one.uid, propagation="Background")
        except (NotFound, Conflict):
            continue  # gone, or another has its name by now
    while remaining := await _remaining(api, kinds, namespace, doomed):
        activity.heartbeat(", ".join(str(one) for one in remaining[:5]))
        await asyncio.sleep(LOOK_EVERY_S)


async def _remaining(
    api: KubernetesApi, kinds: Mapping[str, Resource], namespace: str, doomed: Sequence[Going]
) -> Sequence[Going]:
    uids: set[str] = set()
    for kind in sorted({one.kind for one in doomed}):
        items = await api.list_metadata(kinds[kind], namespace)
        uids |= {item["metadata"]["uid"] for item in items}
    return [one for one in doomed if one.uid in uids]

"""Deleting very objects, by uid, and waiting until they are gone. Part of the activities that make room."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from temporalio import activity

from operation_engine.runtime.kubernetes import Conflict, KubernetesApi, NotFound, Resource

LOOK_EVERY_S = 1.0
MAX_TOLD = 5
Tell = Callable[[str], Awaitable[None]]


class Going(Protocol):
    """An object that goes, and never a namesake that came after it."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def uid(self) -> str: ...


async def remove(
    api: KubernetesApi, kinds: Mapping[str, Resource], namespace: str, doomed: Sequence[Going], tell: Tell
) -> None:
    """Delete these very objects, and wait until they are no more: a finalizer or a slow pod may take its time.

    `kinds` are the resources of their kinds. Tried again, or come late, it never deletes what has a name by then.
    `tell` hears what it waits for; the heartbeat says it too, so that a timeout can.
    """
    for one in doomed:
        activity.heartbeat(str(one))
        try:
            await api.delete(kinds[one.kind], one.name, namespace, uid=one.uid, propagation="Background")
        except (NotFound, Conflict):
            continue  # gone, or another has its name by now
    while remaining := await _remaining(api, kinds, namespace, doomed):
        waiting = f"Waiting until {', '.join(remaining[:MAX_TOLD])} is gone."
        activity.heartbeat(waiting)
        await tell(waiting)
        await asyncio.sleep(LOOK_EVERY_S)


async def _remaining(
    api: KubernetesApi, kinds: Mapping[str, Resource], namespace: str, doomed: Sequence[Going]
) -> Sequence[str]:
    """What is still there, each with the finalizers that hold it."""
    held: dict[str, Sequence[str]] = {}
    for kind in sorted({one.kind for one in doomed}):
        for meta in (item["metadata"] for item in await api.list_metadata(kinds[kind], namespace)):
            held[meta["uid"]] = meta.get("finalizers") or ()
    return [f"{one}{_by(held[one.uid])}" for one in doomed if one.uid in held]


def _by(finalizers: Sequence[str]) -> str:
    return f" (held by {', '.join(finalizers[:MAX_TOLD])})" if finalizers else ""

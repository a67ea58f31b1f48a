"""How far Velero's data movers are, by the Backup or Restore that they work for. Part of the Velero activities.

One watch a kind for the whole worker. Progress is all that hangs on it: a cluster without one of the kinds, or a right
that is missing, takes the bytes out of the status and nothing else.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

from operation_engine.domain.transfers import (
    BACKUP_UID_LABEL,
    RESTORE_UID_LABEL,
    Transfer,
    observe_backup_transfer,
    observe_restore_transfer,
)
from operation_engine.runtime.kubernetes import (
    DATA_DOWNLOADS,
    DATA_UPLOADS,
    POD_VOLUME_BACKUPS,
    POD_VOLUME_RESTORES,
    KubernetesApi,
    Resource,
)
from operation_engine.runtime.watching import Key, Reflector

_Source = tuple[Resource, Key]


class Transfers:
    """Transfers by the uid of their owner; tells `on_change` the owner's name whenever one of them moved."""

    def __init__(
        self,
        api: KubernetesApi,
        resources: tuple[Resource, ...],
        observe: Callable[[dict[str, Any]], Transfer],
        *,
        namespace: str,
        owner_label: str,
        on_change: Callable[[Key], None],
    ) -> None:
        self._namespace, self._tell = namespace, on_change
        self._owned: dict[str, dict[_Source, Transfer]] = {}
        self._known: dict[_Source, Transfer] = {}
        self.watches = {
            resource.plural: Reflector(
                api,
                resource,
                observe,
                namespace=namespace,
                selector=owner_label,
                on_change=partial(self._changed, resource),
            )
            for resource in resources
        }

    def of(self, owner_uid: str) -> tuple[Transfer, ...]:
        """Every transfer that works, or worked, for this owner."""
        return tuple(self._owned.get(owner_uid, {}).values())

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Transfers"]:
        """Watch for as long as the block lasts."""
        async with AsyncExitStack() as stack:
            for watch in self.watches.values():
                await stack.enter_async_context(watch.running())
            yield self

    def _changed(self, resource: Resource, key: Key, transfer: Transfer | None) -> None:
        source = (resource, key)
        before = self._known.pop(source, None)
        if before is not None:
            owned = self._owned.get(before.owner_uid, {})
            owned.pop(source, None)
            if not owned:
                self._owned.pop(before.owner_uid, None)
        if transfer is not None:
            self._known[source] = transfer
            self._owned.setdefault(transfer.owner_uid, {})[source] = transfer
            self._tell((self._namespace, transfer.owner_name))


def backup_transfers(api: KubernetesApi, namespace: str, backups: Reflector[Any]) -> Transfers:
    """Of Backups: PodVolumeBackups and DataUploads, which wake whoever waits for their Backup."""
    return Transfers(
        api,
        (POD_VOLUME_BACKUPS, DATA_UPLOADS),
        observe_backup_transfer,
        namespace=namespace,
        owner_label=BACKUP_UID_LABEL,
        on_change=backups.wake,
    )


def restore_transfers(api: KubernetesApi, namespace: str, restores: Reflector[Any]) -> Transfers:
    """Of Restores: PodVolumeRestores and DataDownloads, which wake whoever waits for their Restore."""
    return Transfers(
        api,
        (POD_VOLUME_RESTORES, DATA_DOWNLOADS),
        observe_restore_transfer,
        namespace=namespace,
        owner_label=RESTORE_UID_LABEL,
        on_change=restores.wake,
    )

"""What the bucket shows of a Velero Backup: contents, and Velero's words about it. Part of the Velero activities."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from activities.artefacts import Artefacts, DownloadRefused, Wanted
from operation_engine.domain import artefacts as parsed
from operation_engine.domain.hooks import HOOK_ERROR, hook_failures
from operation_engine.domain.velero import BackupObservation, StorageLocation
from operation_engine.domain.verdicts import BackupContents
from operation_engine.domain.volumes import HeldObjects
from operation_engine.runtime.watching import Reflector

TOO_LARGE = "The backup is too large to look into its pods: volumes that annotations ask for were not checked."
BRIEFLY_S = 15.0
"""For a look into the archive within a short call."""
_HELD = Wanted(parsed.is_held_kind, lambda path, found: parsed.outline(found))


class Evidence:
    """Reads what there is to be known of a backup."""

    def __init__(self, artefacts: Artefacts, locations: Reflector[StorageLocation], velero_namespace: str) -> None:
        self._artefacts, self._locations, self._namespace = artefacts, locations, velero_namespace

    async def contents(self, observation: BackupObservation, archive_within_s: float = BRIEFLY_S) -> BackupContents:
        """What the bucket holds, its archive where it is read so soon. Raises Unavailable and DownloadRefused."""
        listed, size, results = await asyncio.gather(
            self._read("BackupResourceList", observation),
            self._artefacts.size("BackupContents", observation.name, self._location(observation)),
            self._read("BackupResults", observation) if observation.errors or observation.warnings else _nothing(),
        )
        resources = None if listed is None else parsed.resource_list(listed)
        contents = BackupContents(resources=resources, size_bytes=size, problems=parsed.problems(results))
        if not contents.holds_volumes or size is None:
            return contents
        held, infos = await asyncio.gather(
            self._held(observation, archive_within_s), self._read("BackupVolumeInfos", observation)
        )
        volumes = None if infos is None else parsed.volumes(infos)
        return contents.model_copy(update={"held": held, "volumes": volumes})

    async def problems(self, observation: BackupObservation) -> tuple[str, ...]:
        """What failed hooks printed, then Velero's own errors and warnings. Raises Unavailable."""
        try:
            hooks = hook_failures(await self._log(observation)) if observation.hooks_failed else ()
            found = parsed.problems(await self._read("BackupResults", observation))
        except DownloadRefused as error:
            return (str(error),)
        others = [problem for problem in found if not (hooks and HOOK_ERROR in problem)]
        return (*hooks, *parsed.bounded_warnings(others))

    async def _held(self, observation: BackupObservation, within_s: float) -> HeldObjects | None:
        objects = await self._artefacts.read_archive(
            "BackupContents", observation.name, self._location(observation), _HELD, within_s
        )
        return None if objects is None else parsed.held_objects(objects)

    async def _log(self, observation: BackupObservation) -> str:
        try:
            return await self._artefacts.read_text("BackupLog", observation.name, self._location(observation))
        except DownloadRefused:
            return ""  # Velero's errors tell that the hook failed; only its output is lost

    def _read(self, kind: str, observation: BackupObservation) -> Awaitable[Any | None]:
        return self._artefacts.read_json(kind, observation.name, self._location(observation))

    def _location(self, observation: BackupObservation) -> StorageLocation | None:
        return self._locations.index.get((self._namespace, observation.storage_location or ""))


async def _nothing() -> None:
    return None

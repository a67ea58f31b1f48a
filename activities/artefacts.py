"""What the bucket holds of a Velero Backup, read through DownloadRequests. Part of the Velero activities.

A DownloadRequest for something missing is Processed all the same (its URL answers 404) or never gets a phase, so
every wait has a bound. Velero deletes old requests by itself.
"""

import asyncio
import gzip
import io
import json
import tarfile
import uuid
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import aiohttp

from operation_engine.domain.velero import StorageLocation
from operation_engine.runtime.kubernetes import DOWNLOAD_REQUESTS, KubernetesApi, Manifest, Unavailable
from operation_engine.runtime.watching import Reflector

MAX_UNPACKED = 64 * 1024 * 1024
# Together below the bound of one try of a short call, so that what took too long is said.
PROCESSED_WITHIN_S = 15.0
FETCH_WITHIN_S = 25.0
# Where a location names no URL of its own, the provider's hosts are the only ones a download may come from.
PROVIDER_HOSTS = (".amazonaws.com", ".googleapis.com", ".blob.core.windows.net")


class DownloadRefused(Exception):
    """The artefact is too large, or its URL leads away from the storage location."""


@dataclass(frozen=True)
class Download:
    """A DownloadRequest as far as it is watched."""

    phase: str
    url: str


def observe_download(manifest: Manifest) -> Download:
    status = manifest.get("status", {})
    return Download(status.get("phase", ""), status.get("downloadURL", ""))


class Artefacts:
    """Reads artefacts of backups."""

    def __init__(
        self,
        api: KubernetesApi,
        watch: Reflector[Download],
        session: aiohttp.ClientSession,
        velero_namespace: str,
        labels: Mapping[str, str],
    ) -> None:
        self._api, self._watch, self._session = api, watch, session
        self._namespace, self._labels = velero_namespace, dict(labels)

    async def read_json(self, kind: str, backup: str, location: StorageLocation | None) -> Any | None:
        """The artefact `kind` of a backup, parsed; None where there is none. Raises Unavailable, DownloadRefused."""
        url = await self._url(kind, backup, location)
        packed = await self._fetch(url)
        return None if packed is None else await asyncio.to_thread(_parse, packed)

    async def read_text(self, kind: str, backup: str, location: StorageLocation | None) -> str:
        """The artefact `kind` as text, empty where there is none. Raises Unavailable, DownloadRefused."""
        packed = await self._fetch(await self._url(kind, backup, location))
        return "" if packed is None else await asyncio.to_thread(lambda: _unpacked(packed).decode(errors="replace"))

    async def read_archive(
        self, kind: str, backup: str, location: StorageLocation | None, wanted: Callable[[str], bool]
    ) -> Sequence[Any] | None:
        """The JSON files of the archive `kind` whose path is wanted; None where they are too large to be read.

        Raises Unavailable, and DownloadRefused for what is no archive.
        """
        packed = await self._fetch(await self._url(kind, backup, location))
        return await asyncio.to_thread(_members, packed or b"", wanted)

    async def size(self, kind: str, backup: str, location: StorageLocation | None) -> int | None:
        """Bytes of the artefact in the bucket, without fetching it; None where there is none."""
        url = await self._url(kind, backup, location)
        async with self._get(url, {"Range": "bytes=0-0"}) as response:
            if response.status == 404:
                return None
            _check(response)
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            return int(total) if total.isdigit() else response.content_length or 0

    async def _url(self, kind: str, backup: str, location: StorageLocation | None) -> str:
        name = f"{backup[:200]}-{uuid.uuid4().hex[:12]}"
        body = {
            "apiVersion": DOWNLOAD_REQUESTS.api_version,
            "kind": "DownloadRequest",
            "metadata": {"name": name, "namespace": self._namespace, "labels": self._labels},
            "spec": {"target": {"kind": kind, "name": backup}},
        }
        await self._api.create(DOWNLOAD_REQUESTS, body, self._namespace)
        url = await self._processed(name)
        if not is_trusted(url, location):
            raise DownloadRefused(
                f"Velero's download URL for {kind} leads to {urlsplit(url).netloc}, not to the bucket"
            )
        return url

    async def _processed(self, name: str) -> str:
        key = (self._namespace, name)
        try:
            async with asyncio.timeout(PROCESSED_WITHIN_S):
                while True:
                    download = self._watch.index.get(key)
                    if download is not None and download.phase == "Processed":
                        return download.url
                    await self._watch.changed(key, PROCESSED_WITHIN_S)
        except TimeoutError as error:
            raise Unavailable(f"Velero did not answer DownloadRequest {name}") from error

    async def _fetch(self, url: str) -> bytes | None:
        async with self._get(url, {}) as response:
            if response.status == 404:
                return None
            _check(response)
            content = bytearray()
            async for chunk in response.content.iter_chunked(1 << 16):
                content += chunk
                if len(content) > MAX_UNPACKED:
                    raise DownloadRefused("the artefact is too large to be read")
            return bytes(content)

    def _get(self, url: str, headers: Mapping[str, str]) -> "_Fetching":
        return _Fetching(self._session, url, headers)


class _Fetching:
    """One GET whose network errors are Unavailable; a presigned URL may not redirect."""

    def __init__(self, session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]) -> None:
        timeout = aiohttp.ClientTimeout(total=FETCH_WITHIN_S)
        self._request = session.get(url, headers=headers, timeout=timeout, allow_redirects=False)

    async def __aenter__(self) -> aiohttp.ClientResponse:
        try:
            return await self._request.__aenter__()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"the storage location does not answer ({type(error).__name__})") from error

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        await self._request.__aexit__(kind, error, trace)
        if isinstance(error, aiohttp.ClientError | TimeoutError):
            raise Unavailable(f"the download broke off ({type(error).__name__})") from error


def _check(response: aiohttp.ClientResponse) -> None:
    if response.status >= 300:
        raise Unavailable(f"the storage location answered {response.status}")


def is_trusted(url: str, location: StorageLocation | None) -> bool:
    """Whether a download URL leads to the storage location and nowhere else."""
    host = urlsplit(url)
    if location is not None and location.s3_url:
        configured = urlsplit(location.s3_url)
        same_door = (host.scheme, _port(host)) == (configured.scheme, _port(configured)) and "@" not in host.netloc
        name, allowed = host.hostname or "", configured.hostname or ""
        return same_door and (name == allowed or name.endswith(f".{allowed}"))  # virtual-hosted buckets are subdomains
    return host.scheme == "https" and (host.hostname or "").endswith(PROVIDER_HOSTS)


def _port(url: SplitResult) -> int | None:
    return url.port or {"http": 80, "https": 443}.get(url.scheme)


def _parse(packed: bytes) -> Any:
    return json.loads(_unpacked(packed))


def _unpacked(packed: bytes) -> bytes:
    if packed[:2] == b"\x1f\x8b":
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            packed = file.read(MAX_UNPACKED + 1)
        if len(packed) > MAX_UNPACKED:
            raise DownloadRefused("the artefact is too large to be read")
    return packed


def _members(packed: bytes, wanted: Callable[[str], bool]) -> Sequence[Any] | None:
    """Read as a stream: only what is wanted is ever kept unpacked."""
    found: list[Any] = []
    size = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r|gz") as archive:
            for member in archive:
                file = archive.extractfile(member) if wanted(member.name) else None
                if file is not None:
                    size += member.size
                    if size > MAX_UNPACKED:
                        return None
                    found.append(json.load(file))
    except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError) as error:
        raise DownloadRefused(f"the archive of objects is damaged ({error})") from error
    return found

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
MAX_MEMBER = 8 * 1024 * 1024
MAX_MEMBERS = 50_000
# Together below the bound of one try of a short call, so that what took too long is said.
PROCESSED_WITHIN_S = 15.0
FETCH_WITHIN_S = 25.0
# An archive may be of any size: it is the silence that has a bound.
READ_WITHIN_S = 20.0
_CHUNK = 1 << 16
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
        self, kind: str, backup: str, location: StorageLocation | None, wanted: "Wanted", within_s: float
    ) -> Sequence[Any] | None:
        """What is wanted of the archive `kind`, read as it comes; None where it is too much, or takes too long.

        Raises Unavailable, and DownloadRefused for what is no archive.
        """
        url = await self._url(kind, backup, location)
        patient = aiohttp.ClientTimeout(total=None, sock_connect=READ_WITHIN_S, sock_read=READ_WITHIN_S)
        try:
            async with asyncio.timeout(within_s), self._get(url, {}, patient) as response:
                if response.status == 404:
                    raise DownloadRefused("the archive of objects is not in the bucket")
                _check(response)
                stream = _Stream(response.content, asyncio.get_running_loop())
                return await asyncio.to_thread(_members, stream, wanted)
        except TimeoutError:
            return None

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
            async for chunk in response.content.iter_chunked(_CHUNK):
                content += chunk
                if len(content) > MAX_UNPACKED:
                    raise DownloadRefused("the artefact is too large to be read")
            return bytes(content)

    def _get(self, url: str, headers: Mapping[str, str], timeout: aiohttp.ClientTimeout | None = None) -> "_Fetching":
        bound = timeout or aiohttp.ClientTimeout(total=FETCH_WITHIN_S)
        return _Fetching(self._session, url, headers, bound)


@dataclass(frozen=True)
class Wanted:
    """Which files of an archive are read, and what is kept of each."""

    is_path: Callable[[str], bool]
    outline: Callable[[str, Mapping[str, Any]], Any]
    """Given its path and its content."""


class _Stream:
    """A response as a file for a thread that reads it: nothing is ahead of the reader but a socket's buffer.

    When the response is closed the next read fails, so the thread ends with whoever waits for it.
    """

    def __init__(self, content: aiohttp.StreamReader, loop: asyncio.AbstractEventLoop) -> None:
        self._content, self._loop = content, loop

    def read(self, size: int) -> bytes:
        try:
            return asyncio.run_coroutine_threadsafe(self._content.read(size), self._loop).result()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"the download broke off ({type(error).__name__})") from error


class _Fetching:
    """One GET whose network errors are Unavailable; a presigned URL may not redirect."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, headers: Mapping[str, str], timeout: aiohttp.ClientTimeout
    ) -> None:
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
    """What the artefact says; a list that Go calls null is an empty one, which is not the same as no artefact."""
    parsed = json.loads(_unpacked(packed))
    return [] if parsed is None else parsed


def _unpacked(packed: bytes) -> bytes:
    if packed[:2] == b"\x1f\x8b":
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
            packed = file.read(MAX_UNPACKED + 1)
        if len(packed) > MAX_UNPACKED:
            raise DownloadRefused("the artefact is too large to be read")
    return packed


def _members(stream: Any, wanted: Wanted) -> Sequence[Any] | None:
    """Only the outline of one file after the other is kept unpacked."""
    found: list[Any] = []
    try:
        with tarfile.open(fileobj=stream, mode="r|gz", bufsize=_CHUNK) as archive:
            for member in archive:
                file = archive.extractfile(member) if wanted.is_path(member.name) else None
                if file is not None:
                    if member.size > MAX_MEMBER or len(found) == MAX_MEMBERS:
                        return None
                    found.append(wanted.outline(member.name, json.load(file)))
                archive.members.clear()  # type: ignore[attr-defined]  # it keeps every header otherwise
    except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError) as error:
        raise DownloadRefused(f"the archive of objects is damaged ({error})") from error
    return found

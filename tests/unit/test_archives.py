"""The archive of a backup is read as it comes, whatever its size, from a server that takes its time."""

import asyncio
import gzip
import io
import json
import tarfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from activities import artefacts
from activities.artefacts import Artefacts, DownloadRefused, Wanted, _parse
from operation_engine.runtime.kubernetes import Unavailable

Answer = Callable[[web.StreamResponse], Awaitable[None]]
PODS = Wanted(lambda path: path.startswith("pods/"), lambda path, found: {"name": found["name"]})


def archive(*names: str, padding: int = 0) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        for name in names:
            content = json.dumps({"name": name, "more": "x" * padding}).encode()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


class _Direct(Artefacts):
    """Knows the URL without a Velero."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._at = session, url

    async def _url(self, *_: Any) -> str:
        return self._at

    async def pods(self, within_s: float = 20) -> Sequence[Any] | None:
        return await self.read_archive("BackupContents", "b", None, PODS, within_s)


@asynccontextmanager
async def bucket(answer: Answer, status: int = 200) -> AsyncIterator[_Direct]:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        await answer(response)
        return response

    app = web.Application()
    app.router.add_get("/", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as session:
            yield _Direct(session, f"http://127.0.0.1:{runner.addresses[0][1]}/")
    finally:
        await runner.cleanup()


def sends(content: bytes, pieces: int = 1, pause_s: float = 0.0) -> Answer:
    async def answer(response: web.StreamResponse) -> None:
        size = max(1, -(-len(content) // pieces))
        for start in range(0, len(content), size):
            await response.write(content[start : start + size])
            await asyncio.sleep(pause_s)

    return answer


async def hangs(response: web.StreamResponse) -> None:
    await response.write(archive("pods/a")[:20])
    await asyncio.Event().wait()


async def test_what_is_wanted_is_read_and_kept_in_outline() -> None:
    async with bucket(sends(archive("pods/a", "secrets/b", "pods/c"))) as there:
        assert await there.pods() == [{"name": "pods/a"}, {"name": "pods/c"}]


async def test_a_download_may_take_longer_than_a_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefacts, "FETCH_WITHIN_S", 0.5)
    monkeypatch.setattr(artefacts, "READ_WITHIN_S", 0.5)
    async with bucket(sends(archive("pods/a"), pieces=10, pause_s=0.1)) as there:
        assert await there.pods() == [{"name": "pods/a"}]


async def test_an_archive_that_takes_too_long_is_not_looked_into_and_leaves_no_thread() -> None:
    async with bucket(hangs) as there:
        before = threading.active_count()
        assert await there.pods(within_s=0.3) is None
    async with asyncio.timeout(5):
        await asyncio.get_running_loop().shutdown_default_executor()
    assert threading.active_count() <= before


async def test_a_server_that_falls_silent_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefacts, "READ_WITHIN_S", 0.3)
    async with bucket(hangs) as there:
        with pytest.raises(Unavailable, match="broke off"):
            await there.pods()


@pytest.mark.parametrize(
    "content", [b"", b"no archive", archive("pods/a", padding=50_000)[:200], gzip.compress(b"x" * 600)]
)
async def test_what_is_no_archive_is_damage(content: bytes) -> None:
    async with bucket(sends(content)) as there:
        with pytest.raises(DownloadRefused, match="damaged"):
            await there.pods()


async def test_an_archive_that_is_gone_is_told() -> None:
    async with bucket(sends(b""), status=404) as there:
        with pytest.raises(DownloadRefused, match="not in the bucket"):
            await there.pods()


async def test_too_many_objects_and_too_large_ones_are_not_looked_into(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefacts, "MAX_MEMBER", 1000)
    monkeypatch.setattr(artefacts, "MAX_MEMBERS", 2)
    async with bucket(sends(archive("pods/a", "secrets/b", "pods/c"))) as there:
        assert await there.pods() == [{"name": "pods/a"}, {"name": "pods/c"}]
    async with bucket(sends(archive("pods/a", "pods/b", "pods/c"))) as there:
        assert await there.pods() is None
    async with bucket(sends(archive("secrets/a", padding=2000))) as there:
        assert await there.pods() == []
    async with bucket(sends(archive("pods/a", padding=2000))) as there:
        assert await there.pods() is None


def test_an_empty_list_of_go_is_not_a_missing_artefact() -> None:
    assert _parse(gzip.compress(b"null")) == []

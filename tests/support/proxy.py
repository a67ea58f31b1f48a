"""A TCP proxy in front of a server, to do to its connections what networks do."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import yaml


class Proxy:
    """Forwards; cuts, stalls and refuses when told to."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._open: set[asyncio.StreamWriter] = set()
        self._flowing = _flowing()
        self.holds = asyncio.Event()
        """Something was sent that is held."""
        self.refusing = False
        self.cut_after: int | None = None
        """Bytes of an answer after which its connection breaks; once."""
        self.port = 0

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._open:
            writer.transport.abort()

    def stall(self) -> None:
        """Nothing comes through what is connected now, and nobody is told."""
        self._flowing.clear()
        self._flowing = _flowing()

    def hold(self) -> None:
        """Nothing comes through until `release`; what was sent meanwhile then does."""
        self.holds.clear()
        self._flowing.clear()

    def release(self) -> None:
        self._flowing.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        there_reader, there_writer = await asyncio.open_connection(self._host, self._port)
        ends = {writer, there_writer}
        self._open |= ends
        try:
            flowing = self._flowing
            with contextlib.suppress(OSError):
                await asyncio.gather(
                    self._pump(reader, there_writer, flowing), self._pump(there_reader, writer, flowing)
                )
        finally:
            self._open -= ends
            for end in ends:
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event) -> None:
        while data := await reader.read(1 << 16):
            if not flowing.is_set():
                self.holds.set()
            await flowing.wait()
            if self.cut_after is not None and len(data) > self.cut_after:
                writer.write(data[: self.cut_after])
                self.cut_after = None
                await writer.drain()
                raise ConnectionResetError
            writer.write(data)
            await writer.drain()
        writer.transport.abort()


def _flowing() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@asynccontextmanager
async def proxied(host: str, port: int) -> AsyncIterator[Proxy]:
    """A proxy for as long as the block lasts."""
    proxy = Proxy(host, port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = int(server.sockets[0].getsockname()[1])
    try:
        yield proxy
    finally:
        proxy.cut()
        server.close()
        await asyncio.sleep(0)


@asynccontextmanager
async def proxied_kubeconfig(kubeconfig: Path, folder: Path) -> AsyncIterator[tuple[Proxy, Path]]:
    """A proxy in front of a kubeconfig's API server, and the kubeconfig that goes through it."""
    content = yaml.safe_load(await asyncio.to_thread(kubeconfig.read_text))
    cluster = content["clusters"][0]["cluster"]
    server = urlsplit(cluster["server"])
    async with proxied(str(server.hostname), int(server.port or 443)) as proxy:
        cluster["server"] = f"https://127.0.0.1:{proxy.port}"
        through = folder / "kubeconfig-through-proxy"
        await asyncio.to_thread(through.write_text, yaml.safe_dump(content))
        yield proxy, through

"""/healthz, /livez, /readyz and /metrics of a process.

A check returns None when all is well, else the sentence that says what is not.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from operation_engine.runtime.telemetry import REGISTRY, get_logger

Check = Callable[[], str | None]
_log = get_logger(__name__)


class Health:
    """The checks of a process: `live` ones restart it, `ready` ones only say that it cannot work now."""

    def __init__(self) -> None:
        self.live: dict[str, Check] = {}
        self.ready: dict[str, Check] = {}


@asynccontextmanager
async def serving(host: str, port: int, health: Health, refreshers: Sequence[Callable[[], None]]) -> AsyncIterator[int]:
    """Serve for as long as the block lasts; yields the port. `refreshers` bring gauges up to date before a scrape."""
    app = web.Application()

    async def metrics(request: web.Request) -> web.Response:
        for refresh in refreshers:
            refresh()
        return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    async def healthz(request: web.Request) -> web.Response:
        return _answer({**health.live, **health.ready})

    async def livez(request: web.Request) -> web.Response:
        return _answer(health.live)

    async def readyz(request: web.Request) -> web.Response:
        return _answer({**health.live, **health.ready})

    for path, handler in {"/metrics": metrics, "/healthz": healthz, "/livez": livez, "/readyz": readyz}.items():
        app.router.add_get(path, handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        bound = int(runner.addresses[0][1])
        _log.info("serving health and metrics", url=f"http://{host}:{bound}")
        yield bound
    finally:
        await runner.cleanup()


def _answer(checks: Mapping[str, Check]) -> web.Response:
    faults = {name: fault for name, check in checks.items() if (fault := check())}
    lines = [f"{name}: {faults.get(name, 'ok')}" for name in checks] or ["ok"]
    return web.Response(text="\n".join(lines) + "\n", status=503 if faults else 200)

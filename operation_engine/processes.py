"""The engine's processes: controller, worker, or both in one. Called by the command line."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from enum import Flag, auto
from typing import Any, TypeVar

from controller.controller import controlling
from operation_engine.runtime import http, kubernetes, temporal
from operation_engine.runtime.settings import Settings
from operation_engine.runtime.telemetry import configure_logging, get_logger
from operation_engine.worker import NotSetUp, working

T = TypeVar("T")
_log = get_logger(__name__)


class Part(Flag):
    """What runs in a process."""

    CONTROLLER = auto()
    WORKER = auto()


def run_process(settings: Settings, parts: Part) -> None:
    """Run until SIGTERM or SIGINT; never returns. Exit code 1 where it could not start."""
    configure_logging(settings.log_format, settings.log_level)
    try:
        code = asyncio.run(_run(settings, parts))
    except kubernetes.NoCredentials as error:
        _log.error(str(error))
        code = 1
    except KeyboardInterrupt:
        code = 130
    sys.stdout.flush()
    sys.stderr.flush()
    # A process that ran a Temporal worker may abort in the interpreter's own exit; everything is closed by now.
    os._exit(code)


async def _run(settings: Settings, parts: Part) -> int:
    stop = _stop_on_signal()
    health = http.Health()
    refreshers: list[Callable[[], None]] = []
    async with AsyncExitStack() as stack:
        serving = http.serving(settings.http_address, settings.http_port, health, refreshers)
        await stack.enter_async_context(serving)
        health.ready["started"] = lambda: "still connecting"
        api = await stack.enter_async_context(kubernetes.connect())
        cluster = settings.cluster_id or await _unless(stop, kubernetes.cluster_id_patiently(api))
        client = await _unless(stop, temporal.connect_patiently(settings))
        if cluster is None or client is None:
            return 0
        settings = settings.model_copy(update={"cluster_id": cluster})
        configure_logging(settings.log_format, settings.log_level, cluster_id=cluster)
        await stack.enter_async_context(temporal.connection_checked(client, health))
        try:
            if Part.WORKER in parts:
                await stack.enter_async_context(working(settings, client, api, health))
        except NotSetUp as error:
            _log.error(str(error))
            return 1
        if Part.CONTROLLER in parts:
            controller = await stack.enter_async_context(controlling(settings, client, api, health))
            refreshers.append(controller.refresh_gauges)
        health.ready.pop("started")
        _log.info("running", parts=str(parts), task_queue=settings.task_queue)
        await stop.wait()
        _log.info("stopping")
    return 0


def _stop_on_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The work's result, or None where the process was told to stop before it came."""
    working_, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait({working_, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (working_, stopping):
        if not task.done():
            task.cancel()
    return working_.result() if working_.done() and not working_.cancelled() else None

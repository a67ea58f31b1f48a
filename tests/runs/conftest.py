"""One Temporal server that skips time and one worker, for all runs of the session."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest_asyncio
import structlog
from support.runs import Stage, stage


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def play() -> AsyncIterator[Stage]:
    # A scripted fault is unexpected to the worker, and its traceback takes structlog's console seconds to draw.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    async with stage() as there:
        short, waits = there.workers()
        async with short, waits:
            yield there
        # A process that ends right behind a worker may abort in the interpreter's exit.
        await asyncio.sleep(0.5)
    structlog.reset_defaults()

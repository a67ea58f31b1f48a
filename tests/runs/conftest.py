"""One Temporal server that skips time and one worker, for all runs of the session."""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio
from support.runs import Stage, stage


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def play() -> AsyncIterator[Stage]:
    async with stage() as there:
        short, waits = there.workers()
        async with short, waits:
            yield there
        # A process that ends right behind a worker may abort in the interpreter's exit: there is nothing to wait for.
        await asyncio.sleep(0.5)

"""Records the golden histories: `python tests/replay/record.py [NAME…]`, all of them or those named.

A golden history stands for every workflow of its kind that is open in some installation. So it may be recorded again
only together with a decision on those: the change is guarded by `workflow.patched`, or the release notes say that
open Operations must end first. A new way through a workflow gets a new history; the old ones stay.
"""

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

WITHIN_S = 30
HISTORIES = Path(__file__).parent / "histories"
sys.path.insert(0, str(Path(__file__).parents[1]))

import structlog  # noqa: E402
from support.runs import backup, stage  # noqa: E402
from support.scenarios import CANCEL, SCENARIOS  # noqa: E402

# Who recorded it, where and with what files is nobody's business and changes nothing.
_PRIVATE = ("identity", "stackTrace", "stickyTaskQueue", "workerVersion", "requestId", "originalExecutionRunId")


async def record(names: list[str]) -> None:
    async with stage() as there:
        short, waits = there.workers()
        async with short, waits:
            for name in names:
                scenario = SCENARIOS[name]
                manifest = backup(name=name, **scenario.parts)
                handle = await there.start(scenario.script(), manifest, skip_time=False)
                for told in scenario.told:
                    await there.api.until(manifest["metadata"]["uid"], told.is_due, WITHIN_S)
                    await (handle.cancel() if told.signal == CANCEL else handle.signal(told.signal, told.payload))
                ended = await there.ended(handle, manifest)
                history = json.loads((await there.history_of(ended.ref)).to_json())
                lines = ",\n".join(json.dumps(_public(event), sort_keys=True) for event in history["events"])
                (HISTORIES / f"{name}.json").write_text(f'{{"events": [\n{lines}\n]}}\n')
        await asyncio.sleep(0.5)


def _public(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _public(part) for key, part in value.items() if key not in _PRIVATE}
    return [_public(part) for part in value] if isinstance(value, list) else value


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    HISTORIES.mkdir(exist_ok=True)
    asyncio.run(record(sys.argv[1:] or list(SCENARIOS)))

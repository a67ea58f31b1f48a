"""What failed hooks said, out of the log of a Velero backup: pure.

Velero 1.18 (internal/hook, pkg/podexec) writes a hook's output nowhere else, and drops it when the hook times out.
"""

import json
import re
from collections.abc import Iterator, Mapping

from operation_engine.domain.lifecycle import bounded
from operation_engine.domain.resources.common import ApiModel

MAX_OUTPUT = 400
MAX_FAILURES = 5
HOOK_ERROR = "Error executing hook"
_RUNNING = "running exec hook"
_PAIR = re.compile(r'([\w.]+)=("(?:\\.|[^"\\])*"|\S*)')
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r"}


class _Hook(ApiModel):
    """A hook that is running, and what it has printed."""

    container: str = ""
    stdout: str = ""
    stderr: str = ""


def hook_failures(log: str) -> tuple[str, ...]:
    """One sentence for each hook that failed, in order, with the last of its output."""
    running: dict[str, _Hook] = {}
    failures: list[str] = []
    for entry in _entries(log):
        phase, message = entry.get("hookPhase", ""), entry.get("msg", "")
        hook = running.get(phase, _Hook())
        if message == _RUNNING:
            running[phase] = _Hook(container=entry.get("hookContainer", ""))
        elif message.startswith("stdout: "):
            running[phase] = hook.model_copy(update={"stdout": message.removeprefix("stdout: ")})
        elif message.startswith("stderr: "):
            running[phase] = hook.model_copy(update={"stderr": message.removeprefix("stderr: ")})
        elif message == HOOK_ERROR:
            failures.append(_sentence(phase, running.pop(phase, None), _error(entry)))
    return tuple(failures[:MAX_FAILURES])


def _sentence(phase: str, hook: _Hook | None, error: str) -> str:
    where = f" in container {hook.container}" if hook is not None else ""
    parts = [f"{phase} hook{where} failed: {error}", _output(hook, error)]
    return "; ".join(part for part in parts if part)


def _output(hook: _Hook | None, error: str) -> str:
    if hook is None:
        return ""
    if error.startswith("timed out"):
        return "Velero drops the output of a hook that times out"
    printed = " ".join((hook.stderr or hook.stdout).split())
    if not printed:
        return "it printed nothing"
    return f"it printed: {bounded(printed[-MAX_OUTPUT:], MAX_OUTPUT)}"


def _error(entry: Mapping[str, str]) -> str:
    return entry.get("error") or entry.get("error.message") or "no reason given"


def _entries(log: str) -> Iterator[Mapping[str, str]]:
    """The lines that hooks wrote, in either of Velero's two formats."""
    for line in log.splitlines():
        if "hookPhase" in line:
            yield _json(line) if line.startswith("{") else _text(line)


def _json(line: str) -> Mapping[str, str]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return {key: str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def _text(line: str) -> Mapping[str, str]:
    """A line of logrus' text format: `key=value`, or `key="value"` quoted as Go does."""
    return {key: _unquoted(value) for key, value in _PAIR.findall(line)}


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    return _ESCAPE.sub(lambda found: _unescaped(found.group(1)), value[1:-1])


def _unescaped(escape: str) -> str:
    if len(escape) > 1:
        return chr(int(escape[1:], 16))
    return _LETTERS.get(escape, escape)

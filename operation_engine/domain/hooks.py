"""What failed hooks said, out of the log of a Velero backup: pure.

Velero 1.18 (internal/hook, pkg/podexec) writes a hook's output nowhere else, and drops it when the hook times out.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from operation_engine.domain.lifecycle import bounded
from operation_engine.domain.resources.common import ApiModel

MAX_OUTPUT = 400
MAX_FAILURES = 5
HOOK_ERROR = "Error executing hook"
_RUNNING = "running exec hook"
_POD_ERROR = re.compile(r"Error running (\w+) hooks for pod")
_PAIR = re.compile(r'([\w.]+)=("(?:\\.|[^"\\])*"|\S*)')
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r"}


class _Hook(ApiModel):
    """A hook that was begun, and what it has printed."""

    container: str
    stdout: str = ""
    stderr: str | None = None
    """Velero writes it last; None = it is still running, or never answered."""


class _Failure(ApiModel):
    """A hook that failed; `hook` is None where the log leaves open which one it was."""

    phase: str
    error: str
    container: str = ""
    hook: _Hook | None = None


def hook_failures(log: str) -> tuple[str, ...]:
    """One sentence for each hook that failed, in order, with its pod and the last of its output where they are sure.

    The line of a failure names neither pod nor container, and Velero may work on several pods at once.
    """
    at_once: dict[str, list[_Hook]] = {}
    failures: list[_Failure] = []
    pods: list[tuple[str, str, str]] = []
    for entry in _entries(log):
        phase, message = entry.get("hookPhase", ""), entry.get("msg", "")
        hooks = at_once.get(phase, [])
        if message == _RUNNING:
            overlapping = hooks if any(hook.stderr is None for hook in hooks) else []
            at_once[phase] = [*overlapping, _Hook(container=entry.get("hookContainer", ""))]
        elif message.startswith(("stdout: ", "stderr: ")):
            at_once[phase] = _heard(hooks, entry.get("hookContainer", ""), message)
        elif message == HOOK_ERROR:
            failures.append(_failure(phase, _error(entry), hooks))
            at_once[phase] = _left(hooks, failures[-1])
        elif of_pod := _POD_ERROR.fullmatch(message):
            pods.append((of_pod.group(1), _error(entry), entry.get("name", "")))
    return tuple(_sentence(failure, _pod(failure, failures, pods)) for failure in failures[:MAX_FAILURES])


def _heard(hooks: list[_Hook], container: str, message: str) -> list[_Hook]:
    """The hooks after one of them has printed: the first of its container that still runs."""
    heard = next((i for i, h in enumerate(hooks) if h.container == container and h.stderr is None), None)
    if heard is None:
        return hooks
    stream, _, text = message.partition(": ")
    return [hook.model_copy(update={stream: text}) if i == heard else hook for i, hook in enumerate(hooks)]


def _failure(phase: str, error: str, hooks: Sequence[_Hook]) -> _Failure:
    if error.startswith("no such container"):
        return _Failure(phase=phase, error=error)  # it was never begun
    containers = {hook.container for hook in hooks}
    container = containers.pop() if len(containers) == 1 else ""
    return _Failure(phase=phase, error=error, container=container, hook=hooks[0] if len(hooks) == 1 else None)


def _left(hooks: list[_Hook], failure: _Failure) -> list[_Hook]:
    """The hooks that may still fail: where one of several did, nobody knows which, so all stay, and none is sure."""
    if failure.hook is not None:
        return []
    silent = next((i for i, hook in enumerate(hooks) if hook.stderr is None), None)
    if not _is_timeout(failure.error) or silent is None:
        return hooks
    return [hook.model_copy(update={"stderr": ""}) if i == silent else hook for i, hook in enumerate(hooks)]


def _pod(failure: _Failure, failures: Sequence[_Failure], pods: Sequence[tuple[str, str, str]]) -> str:
    """The pod's name, which Velero tells afterwards and only of hooks with `on-error: Fail`."""
    same = [other for other in failures if (other.phase, other.error) == (failure.phase, failure.error)]
    names = [pod for phase, error, pod in pods if (phase, error) == (failure.phase, failure.error)]
    return names[0] if len(same) == len(names) == 1 else ""


def _sentence(failure: _Failure, pod: str) -> str:
    of = f"pod {pod}: " if pod else ""
    where = f" in container {failure.container}" if failure.container else ""
    parts = [f"{of}{failure.phase} hook{where} failed: {failure.error}", _output(failure)]
    return "; ".join(part for part in parts if part)


def _output(failure: _Failure) -> str:
    if _is_timeout(failure.error):
        return "Velero drops the output of a hook that times out"
    if failure.hook is None or failure.hook.stderr is None:
        return ""
    printed = " ".join((failure.hook.stderr or failure.hook.stdout).split())
    if not printed:
        return "it printed nothing"
    return f"it printed: {bounded(printed[-MAX_OUTPUT:], MAX_OUTPUT)}"


def _is_timeout(error: str) -> bool:
    return error.startswith("timed out")


def _error(entry: Mapping[str, str]) -> str:
    return entry.get("error") or entry.get("error.message") or "no reason given"


def _entries(log: str) -> Iterator[Mapping[str, str]]:
    """The lines that hooks wrote, in either of Velero's two formats."""
    for line in log.splitlines():
        if "hookPhase" in line or "Error running" in line:
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

"""An Operation on the screen while it runs: a live table on a terminal, a line for each step elsewhere."""

from collections.abc import Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

Step = Mapping[str, Any]
_STYLES = {"Succeeded": "green", "Failed": "bold red", "Running": "bold cyan", "Waiting": "yellow"}
# What an Operation had no need of is left out: `kubectl describe` tells why.
_ENDED = ("Succeeded", "Failed")


class View(Protocol):
    """Shows a status, as often as it is told one."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, status: Mapping[str, Any]) -> None:
        """The Operation's status as it is now."""


def view(console: Console) -> View:
    """The one that fits where the output goes."""
    return LiveTable(console) if console.is_terminal else PlainLines(console)


class LiveTable:
    """The whole plan, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=10)
        self._spinner = Spinner("dots")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, status: Mapping[str, Any]) -> None:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        for column in ("mark", "step", "state", "took"):
            table.add_column(column, no_wrap=True)
        table.add_column("message", overflow="fold", style="dim")
        for step in status.get("steps", []):
            if step["state"] != "Skipped":
                table.add_row(*self._row(step))
        self._live.update(Group(table, self._now(status)))

    def _row(self, step: Step) -> tuple[Any, ...]:
        style = _STYLES.get(step["state"], "dim")
        mark = self._spinner if step["state"] in ("Running", "Waiting") else Text("  ")
        words = (Text(step["name"], style), Text(step["state"], style))
        return (mark, *words, Text(took(step)), Text(step.get("message", "")))

    @staticmethod
    def _now(status: Mapping[str, Any]) -> Text:
        """What it does or waits for, while it does."""
        is_at_rest = status.get("finishedAt") or status.get("reason") == "AwaitingDecision"
        text = "" if is_at_rest else status.get("message", "waiting for the engine to take it …")
        return Text(f"  {text}", "bold")


class PlainLines:
    """Each step once it has done something, and each thing that is waited for."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: set[tuple[str, ...]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, status: Mapping[str, Any]) -> None:
        for step in status.get("steps", []):
            if step["state"] in (*_ENDED, "Waiting"):
                self._tell(step)

    def _tell(self, step: Step) -> None:
        news = (step["name"], step["state"], step.get("message", ""))
        if news not in self._told:
            self._told.add(news)
            line = f"  {step['name']:<22} {step['state']:<10} {took(step):>8}  {step.get('message', '')}"
            self._console.print(Text(line.rstrip()), soft_wrap=True)


def took(step: Step) -> str:
    """How long an ended step took, such as 0.4 s."""
    if not step.get("startedAt") or not step.get("finishedAt"):
        return ""
    return f"{seconds_between(step['startedAt'], step['finishedAt']):.1f} s"


def seconds_between(began: str, ended: str) -> float:
    """Of two timestamps as Kubernetes writes them."""
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()

"""What a person sees while they wait: one line per part, live on a terminal, plain elsewhere.

`cluster` and `builder` tell a Progress what happens; the command prints it, tests collect it.
"""

import sys
import threading
import time
from typing import Protocol, TextIO

PLAIN_EVERY = 15.0


class Ticker(Protocol):
    """Something that takes minutes and shows that it is alive."""

    def tick(self) -> None:
        """Called about once a second."""

    def done(self, seconds: float) -> None:
        """Called at the end, if it came to a good one."""


class Progress(Protocol):
    """What happens, in order."""

    def note(self, text: str) -> None:
        """A line of its own."""

    def ready(self, part: str, seconds: float, detail: str = "") -> None:
        """A part is ready, so many seconds after the start."""

    def waiting(self, parts: list[str], seconds: float) -> None:
        """Called often, while parts are not ready yet."""

    def activity(self, title: str) -> Ticker:
        """Begin something long."""


class Silent:
    """For callers that want no output, and base of those that want some."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def ready(self, part: str, seconds: float, detail: str = "") -> None:
        """Say nothing."""

    def waiting(self, parts: list[str], seconds: float) -> None:
        """Say nothing."""

    def activity(self, title: str) -> Ticker:
        """Say nothing for long."""
        return _Activity(self, title, live=False)

    def overwrite(self, text: str) -> None:
        """Show a line that the next output replaces, where there is a terminal."""


class Printed(Silent):
    """Lines on a stream; on a terminal the last one is live."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Write to `stream`, or to standard error, so that standard output stays for results."""
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._lock = threading.Lock()

    def note(self, text: str) -> None:
        """Print the line now."""
        self._write(f"{text}\n")

    def ready(self, part: str, seconds: float, detail: str = "") -> None:
        """Print one aligned line."""
        self._write(f"  {part:<24} ready {seconds:6.1f} s  {detail}".rstrip() + "\n")

    def waiting(self, parts: list[str], seconds: float) -> None:
        """Name what is still missing, on a terminal only."""
        if self._live:
            self.overwrite(f"  waiting for {', '.join(parts)} … {seconds:.0f} s")

    def activity(self, title: str) -> Ticker:
        """Begin something long, shown by the second or by the quarter minute."""
        return _Activity(self, title, self._live)

    def overwrite(self, text: str) -> None:
        """Show the line until something else is written."""
        self._write(text[:110])

    def _write(self, text: str) -> None:
        with self._lock:
            self._stream.write(f"\r\x1b[K{text}" if self._live else text)
            self._stream.flush()


class _Activity:
    """Ticks as a live line, or as plain lines far apart."""

    def __init__(self, progress: Silent, title: str, live: bool) -> None:
        """Say that it began."""
        self._progress, self._title, self._live = progress, title, live
        self._started = self._told = time.monotonic()
        if not live:
            progress.note(f"{title} …")

    def tick(self) -> None:
        """Show the elapsed time."""
        now = time.monotonic()
        text = f"{self._title} … {spoken(now - self._started)}"
        if self._live:
            self._progress.overwrite(text)
        elif now - self._told >= PLAIN_EVERY:
            self._told = now
            self._progress.note(text)

    def done(self, seconds: float) -> None:
        """Leave a line that stays."""
        self._progress.note(f"{self._title}: done in {spoken(seconds)}")


def spoken(seconds: float) -> str:
    """80 as 1m20s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"

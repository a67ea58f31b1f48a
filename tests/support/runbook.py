"""A page of documentation as a test types it: its commands in order, and whether what they print is what it shows.

A fenced block `sh` is typed as it stands; the block `text` after it is what it shows. There, `…` stands for the rest
of a line, or on a line of its own for any number of lines.
"""

import re
from dataclasses import dataclass

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What differs from run to run, and what stands for it on both sides.
_VARIES = (
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "UID"),
    (re.compile(r"-[0-9a-f]{8}-main-"), "-UID-main-"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*( ?[+-]\d{4})?( [A-Z]+|Z)?"), "TIME"),
    (re.compile(r"(?<= )(\d+[dhms]){1,2}$"), "AGE"),
    (re.compile(r"[ \t]+"), " "),
)


@dataclass(frozen=True)
class Typed:
    """A block of commands, and what the page shows of their output; None where it shows nothing."""

    commands: str
    shown: str | None = None


def typed(page: str) -> list[Typed]:
    """The page's blocks of commands, in order. Raises ValueError for output that follows no commands."""
    found: list[Typed] = []
    last = ""
    for language, text in _FENCED.findall(page):
        if language == "sh":
            found.append(Typed(text))
        elif language == "text":
            if last != "sh":
                raise ValueError(f"this follows no commands:\n{text}")
            found[-1] = Typed(found[-1].commands, text)
        last = language
    return found


def is_shown(real: str, shown: str) -> bool:
    """Whether these commands printed what the page shows."""
    pattern = "".join(_line(line) for line in _lines(shown))
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _lines(real))) is not None


def _line(shown: str) -> str:
    return r"(?:.*\n)*" if shown == "…" else re.escape(shown).replace("…", ".*") + r"\n"


def _lines(text: str) -> list[str]:
    """Without what varies, and without blank lines at the ends."""
    return [_plain(line) for line in text.strip("\n").splitlines()]


def _plain(line: str) -> str:
    line = line.rstrip()
    for pattern, stands_for in _VARIES:
        line = pattern.sub(stands_for, line)
    return line

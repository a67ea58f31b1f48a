"""The demo's hands: it does everything with the commands that a person would type."""

import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

COMMAND_WITHIN_S = 120


class DemoError(Exception):
    """What failed, in a sentence; `details` are lines worth reading below it."""

    def __init__(self, sentence: str, details: str = "") -> None:
        super().__init__(sentence)
        self.sentence, self.details = sentence, details


class Terminal:
    """A shell with the cluster's settings."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._environment = {**os.environ, **settings}

    def run(self, *command: str, typed: str | None = None) -> str:
        """What the command prints; `typed` is what it reads. Raises DemoError with its own words where it fails."""
        try:
            done = subprocess.run(
                command,
                env=self._environment,
                input=typed,
                capture_output=True,
                text=True,
                timeout=COMMAND_WITHIN_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DemoError(f"`{_short(command)}` did not end within {COMMAND_WITHIN_S} s.") from error
        if done.returncode != 0:
            raise DemoError(f"`{_short(command)}` failed.", (done.stderr or done.stdout).strip()[-2000:])
        return done.stdout

    def json(self, *command: str) -> Any:
        """What the command prints with `-o json`."""
        return json.loads(self.run(*command, "-o", "json"))


def _short(command: tuple[str, ...]) -> str:
    program, *rest = command
    return " ".join((os.path.basename(program), *rest))

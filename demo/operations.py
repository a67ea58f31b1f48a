"""Operations as the demo makes and watches them: applied from a file, shown until they come to rest."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from demo.screen import View
from demo.terminal import DemoError, Terminal

WITHIN_S = 180.0
LOOK_EVERY_S = 0.2
AWAITING = "AwaitingDecision"


@dataclass(frozen=True)
class Seen:
    """An Operation that has come to rest: it has ended, or waits for a person."""

    namespace: str
    name: str
    status: Mapping[str, Any]

    @property
    def url(self) -> str:
        """Its page in the Temporal UI."""
        return str(self.status["workflow"]["url"])

    @property
    def waits(self) -> bool:
        return self.status.get("reason") == AWAITING

    def succeeded(self) -> "Seen":
        """Itself. Raises DemoError where it is anything but a success."""
        if self.status["phase"] != "Succeeded":
            how = f"{self.name} is {self.status['phase']} ({self.status['reason']})."
            raise DemoError(how, self.status.get("message", ""))
        return self


def apply(terminal: Terminal, manifest: Path, **parameters: str) -> tuple[str, str]:
    """Apply a file with one Operation in it, with these parameters. Its namespace and name.

    One Operation is one piece of work: where its name was taken by a run before, it gets name-2, name-3 …
    """
    documents = list(yaml.safe_load_all(manifest.read_text()))
    (operation,) = (one for one in documents if one["kind"] == "Operation")
    metadata = operation["metadata"]
    metadata["name"] = _fresh(metadata["name"], names(terminal, metadata["namespace"]))
    operation["spec"].setdefault("parameters", {}).update(parameters)
    terminal.run("kubectl", "apply", "-f", "-", typed=yaml.safe_dump_all(documents))
    return metadata["namespace"], metadata["name"]


def names(terminal: Terminal, namespace: str) -> set[str]:
    """Of the Operations in a namespace; none where it does not exist."""
    found = terminal.run("kubectl", "get", "operations", "-n", namespace, "-o", "name")
    return {one.rpartition("/")[2] for one in found.split()}


def _fresh(name: str, taken: set[str]) -> str:
    number, fresh = 1, name
    while fresh in taken:
        number += 1
        fresh = f"{name}-{number}"
    return fresh


def look(terminal: Terminal, namespace: str, name: str) -> Seen:
    """The Operation as it is now."""
    return Seen(namespace, name, terminal.json("kubectl", "get", "operation", "-n", namespace, name)["status"])


def follow(
    terminal: Terminal, namespace: str, name: str, view: View, still_sane: Callable[[], None], attempt: int = 0
) -> Seen:
    """Show the Operation, from this attempt on, until it comes to rest. Raises DemoError where that takes too long."""
    deadline = time.monotonic() + WITHIN_S
    with view:
        while True:
            seen = look(terminal, namespace, name)
            if seen.status.get("attempt", 0) >= attempt or seen.status.get("finishedAt"):
                view.show(seen.status)
                if seen.status.get("finishedAt") or seen.waits:
                    return seen
            if time.monotonic() > deadline:
                why = seen.status.get("message", "not begun")
                raise DemoError(f"{name} has not ended after {WITHIN_S:.0f} s: {why}")
            still_sane()
            time.sleep(LOOK_EVERY_S)


def contents(terminal: Terminal, velero_backup: str) -> Counter[str]:
    """How many objects of each kind a backup holds, as Velero reads it back from the bucket."""
    told = terminal.json("velero", "backup", "describe", velero_backup, "--details")
    resources = told["status"]["resourceList"]
    return Counter({kind.rpartition("/")[2]: len(names) for kind, names in resources.items()})

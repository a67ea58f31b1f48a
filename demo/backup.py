"""One backup of the sample shop: applied, watched to its end, and told what it holds."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from demo.screen import View
from demo.shop import NAMESPACE
from demo.terminal import DemoError, Terminal

WITHIN_S = 180.0
LOOK_EVERY_S = 0.2


@dataclass(frozen=True)
class Backup:
    """A Backup Operation that has ended well."""

    name: str
    status: Mapping[str, Any]

    @property
    def velero_name(self) -> str:
        return str(self.status["outputs"]["backupName"])


def apply_sample(terminal: Terminal, sample: Path) -> str:
    """Apply the sample as it is, or under a fresh name where that one was taken by a run before. The name."""
    manifest = yaml.safe_load(sample.read_text())
    taken = set(terminal.run("kubectl", "get", "operations", "-n", NAMESPACE, "-o", "name").split())
    name = _fresh(manifest["metadata"]["name"], {one.rpartition("/")[2] for one in taken})
    manifest["metadata"]["name"] = name
    terminal.run("kubectl", "apply", "-f", "-", typed=yaml.safe_dump(manifest))
    return name


def _fresh(name: str, taken: set[str]) -> str:
    """One Operation is one backup, so each backup is a new Operation: name, name-2, name-3 …"""
    number, fresh = 1, name
    while fresh in taken:
        number += 1
        fresh = f"{name}-{number}"
    return fresh


def follow(terminal: Terminal, name: str, view: View, still_sane: Callable[[], None]) -> Backup:
    """Show the Operation until it has ended. Raises DemoError where that is not a success, or takes too long."""
    deadline = time.monotonic() + WITHIN_S
    with view:
        while True:
            status = terminal.json("kubectl", "get", "operation", "-n", NAMESPACE, name)["status"]
            view.show(status)
            if status.get("finishedAt"):
                break
            if time.monotonic() > deadline:
                raise DemoError(f"{name} has not ended after {WITHIN_S:.0f} s: {status.get('message', 'not begun')}")
            still_sane()
            time.sleep(LOOK_EVERY_S)
    if status["phase"] != "Succeeded":
        raise DemoError(f"{name} ended {status['phase']} ({status['reason']}).", status.get("message", ""))
    return Backup(name, status)


def contents(terminal: Terminal, backup: Backup) -> Counter[str]:
    """How many objects of each kind the backup holds, as Velero reads it back from the bucket."""
    told = terminal.json("velero", "backup", "describe", backup.velero_name, "--details")
    resources = told["status"]["resourceList"]
    return Counter({kind.rpartition("/")[2]: len(names) for kind, names in resources.items()})

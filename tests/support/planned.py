"""`vop plan` as a person runs it, and a plan set against what Velero then did."""

import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

from support.engine import VOP

from operation_engine.domain.restored import CLAIM, restored_items

Json = dict[str, Any]
MEANS = {
    "create": {"created"},
    "replace": {"created"},
    "update": {"updated", "skipped", "failed"},
    "keep": {"skipped", "failed"},
    "leave out": {"skipped"},
}
"""Velero's words for what a plan foretold; what exists and differs is "failed" there."""


def vop(env: Mapping[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    """`vop ARGS` in this environment."""
    return subprocess.run(
        [VOP, *args], env={**os.environ, **env}, capture_output=True, text=True, timeout=120, check=False
    )


def plan(env: Mapping[str, str], *args: str, code: int = 0) -> Json:
    """The plan as JSON; the command ends with that exit code."""
    done = vop(env, "plan", *args, "-o", "json")
    assert done.returncode == code, done.stdout + done.stderr
    found: Json = json.loads(done.stdout)
    return found


def fates(found: Json) -> dict[str, str]:
    """`Kind/name` to fate."""
    return {f"{o['kind'].rpartition('/')[2]}/{o['name']}": o["fate"] for o in found["objects"]}


def disagreements(found: Json, listed: Mapping[str, Any]) -> list[str]:
    """Objects of which a plan said something else than Velero's list of what the Restore did."""
    said = {(o["kind"], o["name"]): o["fate"] for o in found["objects"]}
    did = {(item.kind, item.name): item.action for item in restored_items(listed)}
    wrong = [f"{key} was {action} and not in the plan" for key, action in did.items() if key not in said]
    for key, fate in said.items():
        if fate == "unknown" or key[0] == "v1/Namespace":
            continue
        may = MEANS.get(fate, set()) | ({"updated"} if key[0] == CLAIM and fate == "keep" else set())
        if key not in did and fate not in ("leave out", "delete"):
            wrong.append(f"{key} was to {fate}, and Velero did not come to it")
        elif key in did and did[key] not in may:
            wrong.append(f"{key} was to {fate}, and was {did[key]}")
    return wrong

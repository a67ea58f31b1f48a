"""Requests of the engine's user, counted in the API server's own audit log."""

import json
from pathlib import Path

from bench.stack import ENGINE_USER, Stack


def requests_per_operation(built: Stack, before: int = 0) -> int:
    """Requests so far (watches apart: one stream serves all Operations), less those before."""
    return sum(1 for event in _events(built) if event.get("verb") != "watch") - before


def _events(built: Stack) -> list[dict[str, object]]:
    lines = Path(built.env["KUBE_AUDIT_LOG"]).read_text().splitlines()
    events = [json.loads(line) for line in lines if ENGINE_USER in line]
    return [e for e in events if e["user"]["username"] == ENGINE_USER and e["stage"] == "ResponseComplete"]

"""Who asked the API server for what, from its audit log."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ENGINE_USER = "system:serviceaccount:vworkspace-system:operation-engine"


class Audit:
    """Requests from now on. The log may be rotated meanwhile: it is told apart by its first line."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._path = Path(env["KUBE_AUDIT_LOG"])
        self._offset = self._path.stat().st_size

    def requests(self, user: str = ENGINE_USER) -> list[dict[str, Any]]:
        """Requests of one user, oldest first."""
        with self._path.open("rb") as log:
            log.seek(self._offset if self._path.stat().st_size >= self._offset else 0)
            entries = [json.loads(line) for line in log if line.endswith(b"\n")]
        return [entry for entry in entries if entry["user"]["username"] == user and not _is_end_of_watch(entry)]


def _is_end_of_watch(entry: Mapping[str, Any]) -> bool:
    """A watch is told twice, and its end is no request."""
    return bool(entry["verb"] == "watch" and entry["stage"] == "ResponseComplete")

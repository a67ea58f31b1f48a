"""Every status that an Operation ever showed, from a watch that starts at a version taken before the work."""

import json
import os
import subprocess
import tempfile
import time
import weakref
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from support.kube import Kubectl

Json = dict[str, Any]

CAUGHT_UP_WITHIN_S = 20.0
_PATH = "/apis/ops.vworkspace.io/v1alpha1/namespaces/{namespace}/operations"
_EVENT_REASONS = {
    "Accepted": "OperationAccepted",
    "Blocked": "OperationBlocked",
    "Running": "OperationRunning",
    "Succeeded": "OperationSucceeded",
    "Failed": "OperationFailed",
    "Cancelled": "OperationCancelled",
    "Degraded": "Degraded",
    "Verified": "Verified",
}
_TOLD_STEPS = {"Waiting", "Succeeded", "Failed"}


class History:
    """Changes of the Operations in one namespace from now on."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self._kubectl, self._path = kubectl, _PATH.format(namespace=namespace)
        self._since = since = int(self._listed()["metadata"]["resourceVersion"])
        self._record = tempfile.TemporaryFile("w+")  # noqa: SIM115 - read for as long as this lives
        query = f"{self._path}?watch=1&resourceVersion={since}&timeoutSeconds=1800"
        watch = subprocess.Popen(["kubectl", "get", "--raw", query], env=kubectl.env, stdout=self._record)
        weakref.finalize(self, _end, watch)

    def changes(self, name: str | None = None) -> list[Json]:
        """Watch events, oldest first, as `{"type", "object"}`: all that have happened by now."""
        deadline = time.monotonic() + CAUGHT_UP_WITHIN_S
        while not _tells(events := self._events(), self._listed()["items"], self._since):
            assert time.monotonic() < deadline, (
                f"the watch of {self._path} does not tell what the list does: {events[-1:]}"
            )
            time.sleep(0.1)
        return [event for event in events if name in (None, event["object"]["metadata"]["name"])]

    def _events(self) -> list[Json]:
        # The watching process appends to the same open file, so it is read without moving its place.
        text = os.pread(self._record.fileno(), os.fstat(self._record.fileno()).st_size, 0).decode()
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def _listed(self) -> Json:
        found: Json = json.loads(self._kubectl("get", "--raw", self._path).stdout)
        return found

    def statuses(self, name: str) -> list[Json]:
        """Every status of one Operation that the engine wrote, oldest first; repeats left out."""
        seen: list[Json] = []
        for change in self.changes(name):
            status = change["object"]["status"]
            if status != {"observedGeneration": -1, "phase": "Pending"} and status not in seen[-1:]:
                seen.append(status)
        return seen


def conditions(status: Mapping[str, Any]) -> dict[str, str]:
    """Type to status."""
    return {condition["type"]: condition["status"] for condition in status.get("conditions", [])}


def expected_events(statuses: list[Json]) -> Counter[tuple[str, str]]:
    """(reason, action) of the Events that these statuses must have caused, read from their differences alone."""
    found: Counter[tuple[str, str]] = Counter()
    for before, after in pairwise([{}, *statuses]):
        old_steps = {step["name"]: step["state"] for step in before.get("steps", [])}
        for step in after["steps"]:
            if step["state"] in _TOLD_STEPS and old_steps.get(step["name"]) != step["state"]:
                found[f"Step{step['state']}", step["name"]] += 1
        old = {c["type"]: (c["status"], c["reason"]) for c in before.get("conditions", [])}
        for condition in after["conditions"]:
            type_, now = condition["type"], (condition["status"], condition["reason"])
            if type_ in _EVENT_REASONS and now[0] == "True" and old.get(type_) != now:
                found[_EVENT_REASONS[type_], f"Report{type_}"] += 1
    return found


def _tells(events: list[Json], items: list[Json], since: int) -> bool:
    """Whether the last event of each object is the state that the list shows."""
    last = {event["object"]["metadata"]["name"]: event for event in events}
    listed = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in items}
    told = {name: event["object"]["metadata"]["resourceVersion"] for name, event in last.items()}
    gone = all(event["type"] == "DELETED" for name, event in last.items() if name not in listed)
    return gone and all(told.get(name) == version for name, version in listed.items() if int(version) > since)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()

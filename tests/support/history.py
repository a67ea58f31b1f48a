"""Every status that an Operation ever showed, replayed from the API server's own memory of changes.

Unlike a watch that is begun beside the work, it misses nothing: it starts at a version taken before.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from support.kube import Kubectl

Json = dict[str, Any]

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
        listed = json.loads(kubectl("get", "--raw", self._path).stdout)
        self._since = listed["metadata"]["resourceVersion"]

    def changes(self, name: str | None = None) -> list[Json]:
        """Watch events, oldest first, as `{"type", "object"}`."""
        query = f"{self._path}?watch=1&resourceVersion={self._since}&timeoutSeconds=1"
        events = list(_documents(self._kubectl("get", "--raw", query).stdout))
        assert not [event for event in events if event["type"] == "ERROR"], events
        return [event for event in events if name in (None, event["object"]["metadata"]["name"])]

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


def _documents(text: str) -> Iterator[Json]:
    decoder, at = json.JSONDecoder(), 0
    while (at := _skip(text, at)) < len(text):
        document, at = decoder.raw_decode(text, at)
        yield document


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at

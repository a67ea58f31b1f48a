"""Temporal as a person meets it, through its own command line: what became of a workflow, and Reset."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

TASK_QUEUE = "vworkspace-operations"
WITHIN_S = 60.0


@dataclass(frozen=True)
class Run:
    """One run of a workflow. `status` as the command line shows it: Running, Completed, Failed, Terminated…"""

    workflow_id: str
    run_id: str
    first_run_id: str
    status: str
    history_length: int


@dataclass(frozen=True)
class Failure:
    """How a run failed: the type is what programs read, the message is for people."""

    type: str
    message: str


class Temporal:
    """The Temporal server of a cluster."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = {**os.environ, **env}

    def run(self, workflow_id: str, run_id: str | None = None) -> Run | None:
        """A run (the latest without an id), or None where Temporal knows no such workflow."""
        done = self._call("describe", *_named(workflow_id, run_id), check=False)
        if done.returncode != 0 and "not found" in done.stderr:
            return None
        assert done.returncode == 0, done.stderr
        info = json.loads(done.stdout)["workflowExecutionInfo"]
        status = info["status"].removeprefix("WORKFLOW_EXECUTION_STATUS_").title()
        own, length = info["execution"]["runId"], int(info.get("historyLength", 0))
        return Run(workflow_id, own, info.get("firstRunId") or own, status, length)

    def failure(self, workflow_id: str, run_id: str | None = None) -> Failure | None:
        """Wait for the end of a run: how it failed, or None where it did not."""
        self.await_end(workflow_id, run_id)
        last = self.events(workflow_id, run_id)[-1]
        failed = last.get("workflowExecutionFailedEventAttributes")
        if failed is None:
            return None
        failure = failed["failure"]
        return Failure(failure["applicationFailureInfo"]["type"], failure["message"])

    def events(self, workflow_id: str, run_id: str | None = None) -> list[dict[str, Any]]:
        """The history of a run."""
        shown = self._call("show", *_named(workflow_id, run_id)).stdout
        found: list[dict[str, Any]] = json.loads(shown)["events"]
        return found

    def task_ends(self, workflow_id: str, run_id: str | None = None) -> list[int]:
        """The events that a Reset can go back to: the ends of the workflow's tasks, first to last."""
        done = "EVENT_TYPE_WORKFLOW_TASK_COMPLETED"
        return [int(e["eventId"]) for e in self.events(workflow_id, run_id) if e["eventType"] == done]

    def activities(self, workflow_id: str, run_id: str | None = None) -> list[str]:
        """The activities that a run scheduled, in their order."""
        key = "activityTaskScheduledEventAttributes"
        return [e[key]["activityType"]["name"] for e in self.events(workflow_id, run_id) if key in e]

    def task_that_called(self, activity: str, workflow_id: str, run_id: str | None = None) -> int:
        """The event to reset to for an activity to be called again, with all before it as it was."""
        key = "activityTaskScheduledEventAttributes"
        calls = [e[key] for e in self.events(workflow_id, run_id) if key in e]
        return next(int(c["workflowTaskCompletedEventId"]) for c in calls if c["activityType"]["name"] == activity)

    def reset(self, workflow_id: str, run_id: str, event_id: int, exclude: str = "") -> str:
        """The new run's id. `exclude`: what is not to come again to it, as `--reapply-exclude` calls it."""
        without = ("--reapply-exclude", exclude) if exclude else ()
        named = (*_named(workflow_id, run_id), *without)
        answer = self._call("reset", *named, "--event-id", str(event_id), "--reason", "a test").stdout
        return str(json.loads(answer)["runId"])

    def update(self, workflow_id: str, name: str, payload: Any) -> str:
        """What an Update is answered with, or why it is refused."""
        named = ("--workflow-id", workflow_id, "--name", name, "--input", json.dumps(payload))
        done = self._call("update", "execute", *named, check=False)
        return done.stdout + done.stderr

    def start_update(self, workflow_id: str, name: str, payload: Any) -> "subprocess.Popen[str]":
        """An Update by a process of its own, under way; what it prints is the answer."""
        named = ("--workflow-id", workflow_id, "--name", name, "--input", json.dumps(payload))
        command = ["temporal", "workflow", "update", "execute", *named, "--output", "json"]
        return subprocess.Popen(command, env=self._env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def signal(self, workflow_id: str, name: str, payload: Any) -> None:
        self._call("signal", "--workflow-id", workflow_id, "--name", name, "--input", json.dumps(payload))

    def terminate(self, workflow_id: str, reason: str = "") -> None:
        self._call("terminate", "--workflow-id", workflow_id, *(("--reason", reason) if reason else ()))

    def cancel(self, workflow_id: str) -> None:
        """As Request Cancellation in the UI does."""
        self._call("cancel", "--workflow-id", workflow_id)

    def delete(self, workflow_id: str) -> None:
        """Its history is gone, and a run that is open is terminated."""
        self._call("delete", "--workflow-id", workflow_id, "--yes")

    def start_like(self, operation: Mapping[str, Any], workflow_id: str) -> str:
        """The UI fills in type and input of the workflow, lets the id be edited, and allows a duplicate."""
        return str(json.loads(self._call("start", *_like(operation, workflow_id)).stdout)["runId"])

    def start_like_refused(self, operation: Mapping[str, Any], workflow_id: str) -> str:
        """Why the server does not start it."""
        done = self._call("start", *_like(operation, workflow_id), "--fail-existing", check=False)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def await_start(self, workflow_id: str) -> None:
        """Wait until the workflow is there: a start tells nobody."""
        self._await(lambda: self.run(workflow_id) is not None, f"{workflow_id} was not started")

    def await_gone(self, workflow_id: str) -> None:
        """Wait until Temporal knows it no more: a deletion is done behind its answer."""
        self._await(lambda: self.run(workflow_id) is None, f"{workflow_id} is still there")

    def await_event(self, workflow_id: str, kind: str) -> None:
        """Wait until the history of a run that is open has such an event."""
        self._await(lambda: kind in [e["eventType"] for e in self.events(workflow_id)], f"no {kind}")

    def _await(self, holds: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + WITHIN_S
        while not holds():
            assert time.monotonic() < deadline, otherwise
            time.sleep(0.2)

    def await_end(self, workflow_id: str, run_id: str | None = None) -> None:
        """Wait until a run has ended, whichever way: later than its last status, for Events are told after that."""
        self._call("result", *_named(workflow_id, run_id), check=False)

    def _call(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = ["temporal", "workflow", *args, "--output", "json"]
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, timeout=90, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done


def _like(operation: Mapping[str, Any], workflow_id: str) -> tuple[str, ...]:
    meta, type_ = operation["metadata"], f"{operation['spec']['type']}Workflow"
    ref = json.dumps({key: meta[key] for key in ("namespace", "name", "uid")})
    like = ("--type", type_, "--task-queue", TASK_QUEUE, "--input", ref)
    return (*_named(workflow_id, None), *like, "--id-reuse-policy", "AllowDuplicate")


def _named(workflow_id: str, run_id: str | None) -> tuple[str, ...]:
    return ("--workflow-id", workflow_id, *(("--run-id", run_id) if run_id else ()))


def workflow_id(operation: Mapping[str, Any]) -> str:
    """The id that an Operation's workflow has."""
    meta = operation["metadata"]
    return f"operation/{meta['namespace']}/{meta['name']}/{meta['uid']}"

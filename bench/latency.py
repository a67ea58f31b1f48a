"""One backup by us and one by Velero's own command, in turn; and the delay between Velero's word and ours."""

import json
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.stack import Stack

NAMESPACE = "bench"
OBJECTS = 40
_WATCHES = {
    "Operation": ["kubectl", "get", "operations", "-n", NAMESPACE],
    "Backup": ["kubectl", "get", "backups.velero.io", "-n", "velero"],
}


@dataclass(frozen=True)
class Latency:
    """One round."""

    ours_s: float
    velero_s: float
    told_ms: float
    succeeded_ms: float


class Observer:
    """An independent watch: remembers when it first saw each (kind, name, state)."""

    def __init__(self, built: Stack) -> None:
        self._seen: dict[tuple[str, str, str], float] = {}
        self._processes = []
        for kind, argv in _WATCHES.items():
            command = [*argv, "--watch", "-o", "json", "--output-watch-events"]
            process = subprocess.Popen(command, env=built.env, stdout=subprocess.PIPE, text=True)
            self._processes.append(process)
            threading.Thread(target=self._read, args=(kind, process), daemon=True).start()

    def at(self, kind: str, name: str, state: str) -> float:
        """When the state was first seen (monotonic seconds); waits until it is."""
        deadline = time.monotonic() + 60
        while (kind, name, state) not in self._seen:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{kind} {name} was never {state}")
            time.sleep(0.002)
        return self._seen[kind, name, state]

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
            process.wait()

    def _read(self, kind: str, process: subprocess.Popen[str]) -> None:
        decoder, buffer = json.JSONDecoder(), ""
        for line in process.stdout or ():
            buffer += line
            try:
                event, _ = decoder.raw_decode(buffer)
            except ValueError:
                continue
            buffer = ""
            self._note(kind, event["object"])

    def _note(self, kind: str, item: dict[str, Any]) -> None:
        now, name, status = time.monotonic(), item["metadata"]["name"], item.get("status", {})
        self._seen.setdefault((kind, name, status.get("phase", "")), now)
        for step in status.get("steps", ()):
            self._seen.setdefault((kind, name, f"{step['name']}={step['state']}"), now)


def latencies(built: Stack, rounds: int) -> list[Latency]:
    """So many rounds, after one that warms both up."""
    _application(built)
    observer = Observer(built)
    try:
        return [_round(built, observer, number) for number in range(rounds + 1)][1:]
    finally:
        observer.close()


def _round(built: Stack, observer: Observer, number: int) -> Latency:
    name = f"round-{number}"
    ours = _timed(lambda: _ours(built, observer, name))
    velero = _timed(lambda: _velero(built, name))
    backup = built.command(
        "kubectl", "get", "operation", "-n", NAMESPACE, name, "-o", "jsonpath={.status.outputs.backupName}"
    )
    completed = observer.at("Backup", backup, "Completed")
    told = observer.at("Operation", name, "FollowBackup=Succeeded")
    succeeded = observer.at("Operation", name, "Succeeded")
    return Latency(ours, velero, (told - completed) * 1000, (succeeded - completed) * 1000)


def _ours(built: Stack, observer: Observer, name: str) -> None:
    """From the start of `kubectl apply` until the watch sees Succeeded."""
    built.command("kubectl", "apply", "-f", "-", given=json.dumps(operation(NAMESPACE, name)))
    observer.at("Operation", name, "Succeeded")


def _velero(built: Stack, name: str) -> None:
    built.command("velero", "backup", "create", f"plain-{name}", "--include-namespaces", NAMESPACE, "--wait")


def operation(namespace: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": "ops.vworkspace.io/v1alpha1",
        "kind": "Operation",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": "Backup", "targetRef": {"apiVersion": "v1", "kind": "Namespace", "name": namespace}},
    }


def _application(built: Stack) -> None:
    labels = {"app.vworkspace.io/managed-by": "vworkspace"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}
    built.command("kubectl", "apply", "-f", "-", given=json.dumps(namespace))
    for number in range(OBJECTS):
        built.command("kubectl", "create", "configmap", f"c{number}", "-n", NAMESPACE, "--from-literal=a=1")


def _timed(work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began

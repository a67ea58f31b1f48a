"""Plain Velero as its users type it, without the engine."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.kube import Kubectl

WITHIN_S = 180


class Velero:
    """The velero command on a cluster."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl

    def __call__(self, *args: str) -> str:
        command = ["velero", *args]
        done = subprocess.run(
            command, env=self._kubectl.env, capture_output=True, text=True, timeout=WITHIN_S, check=False
        )
        if done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def back_up(self, namespace: str, *options: str) -> dict[str, Any]:
        """A backup of the namespace that has ended; its manifest."""
        name = f"{namespace}-{uuid.uuid4().hex[:6]}"
        self("backup", "create", name, "--include-namespaces", namespace, "--wait", *options)
        return self._object("backup", name)

    def restore(self, backup: str, *options: str) -> dict[str, Any]:
        """A restore of the backup that has ended; its manifest."""
        name = f"{backup}-{uuid.uuid4().hex[:6]}"
        self("restore", "create", name, "--from-backup", backup, "--wait", *options)
        return self._object("restore", name)

    def _object(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            self._kubectl("get", f"{kind}s.velero.io", name, "-n", "velero", "-o", "json").stdout
        )
        return found


@contextmanager
def newer_velero(kubectl: Kubectl, kind: str) -> Iterator[None]:
    """A CRD that knows one phase more."""
    crd = ("crd", kind)
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/phase/enum"
    phases = kubectl.json("get", *crd)
    for part in path.strip("/").split("/"):
        phases = phases[int(part)] if isinstance(phases, list) else phases[part]

    def know(names: list[str]) -> None:
        kubectl("patch", *crd, "--type=json", "-p", json.dumps([{"op": "replace", "path": path, "value": names}]))

    know([*phases, "Pondering"])
    try:
        yield
    finally:
        know(phases)

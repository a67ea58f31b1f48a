"""kubectl as tests use it, and Operations as a person makes and reads them."""

import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

END_WITHIN_S = 90


class Kubectl:
    """kubectl as cluster admin, or as somebody else (`as_user`, bound to what RBAC gives that user)."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = {**os.environ, **env}

    def __call__(
        self,
        *args: str,
        input: str | None = None,  # noqa: A002 - what subprocess calls it
        check: bool = True,
        as_user: str | None = None,
        within_s: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        command = ["kubectl", *(["--as", as_user] if as_user else []), *args]
        done = subprocess.run(
            command, env=self.env, input=input, capture_output=True, text=True, timeout=within_s, check=False
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def apply(self, *manifests: Mapping[str, Any], **options: Any) -> subprocess.CompletedProcess[str]:
        return self("apply", "-f", "-", input="\n---\n".join(json.dumps(m) for m in manifests), **options)

    def json(self, *args: str) -> Any:
        return json.loads(self(*args, "-o", "json").stdout)


def backup(namespace: str, name: str = "backup", **spec: Any) -> dict[str, Any]:
    """A Backup Operation of a namespace; `spec` stands over the plain one."""
    plain = {"targetRef": {"apiVersion": "v1", "kind": "Namespace", "name": namespace}, "type": "Backup"}
    return {
        "apiVersion": "ops.vworkspace.io/v1alpha1",
        "kind": "Operation",
        "metadata": {"name": name, "namespace": namespace},
        "spec": plain | spec,
    }


def restore(namespace: str, backup_name: str, name: str = "restore", **spec: Any) -> dict[str, Any]:
    """A Restore Operation in a namespace; `parameters` beside the backup's name, and other parts of the spec."""
    parameters = {"backupName": backup_name, **spec.pop("parameters", {})}
    return backup(namespace, name, type="Restore", parameters=parameters, **spec)


class Operations:
    """Operations of the cluster."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl

    def get(self, namespace: str, name: str = "backup") -> dict[str, Any]:
        return self._kubectl.json("get", "operation", "-n", namespace, name)

    def await_end(self, namespace: str, name: str = "backup", within_s: int = END_WITHIN_S) -> dict[str, Any]:
        """The Operation once it has ended, whichever way."""
        return self.await_path(namespace, name, "{.status.finishedAt}", within_s=within_s)

    def await_path(
        self, namespace: str, name: str, path: str, value: str | None = None, within_s: int = END_WITHIN_S
    ) -> dict[str, Any]:
        """The Operation once a JSONPath has a value (or this value): waits for the event, by `kubectl wait`."""
        wanted = f"--for=jsonpath={path}" + (f"={value}" if value is not None else "")
        asked = ("wait", f"operation/{name}", "-n", namespace, wanted, f"--timeout={within_s}s")
        done = self._kubectl(*asked, check=False, within_s=within_s + 30)
        found = self.get(namespace, name)
        if done.returncode != 0:
            shown = json.dumps(found["status"], indent=1)
            raise AssertionError(f"{namespace}/{name}: waited {within_s} s for {path}: {shown}")
        return found

    def condition(self, operation: Mapping[str, Any], type_: str) -> dict[str, Any] | None:
        conditions = operation["status"].get("conditions", [])
        return next((c for c in conditions if c["type"] == type_), None)

    def events(self, namespace: str, uid: str) -> list[dict[str, Any]]:
        found = self._kubectl.json("get", "events.events.k8s.io", "-n", namespace)["items"]
        return [event for event in found if event["regarding"]["uid"] == uid]

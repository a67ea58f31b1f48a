"""Velero's data movers by hand: objects as Velero makes them, and what a node-agent would say of them.

Where the node runs no containers there is no node-agent. Everything else is Velero's own: it makes the objects, waits
for them, and judges them.
"""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from support.kube import Kubectl
from support.world import VELERO, Json

POD_VOLUME_BACKUP, DATA_UPLOAD = "podvolumebackups.velero.io", "datauploads.velero.io"
POD_VOLUME_RESTORE, DATA_DOWNLOAD = "podvolumerestores.velero.io", "datadownloads.velero.io"
_AGENT: Json = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "node-agent-by-hand", "namespace": VELERO, "labels": {"role": "node-agent"}},
    "spec": {"containers": [{"name": "node-agent", "image": "busybox"}]},
}
_KINDS = {
    POD_VOLUME_BACKUP: "PodVolumeBackup",
    DATA_UPLOAD: "DataUpload",
    POD_VOLUME_RESTORE: "PodVolumeRestore",
    DATA_DOWNLOAD: "DataDownload",
}
_LOCATION = {"backupStorageLocation": "default"}
_OF_A_POD = {**_LOCATION, "pod": {}, "volume": "data", "repoIdentifier": "", "uploaderType": "kopia"}
_OF_A_SNAPSHOT = {**_LOCATION, "sourceNamespace": "shop", "operationTimeout": "10m"}
_SPECS: Mapping[str, Json] = {
    POD_VOLUME_BACKUP: {**_OF_A_POD, "node": "nowhere"},
    POD_VOLUME_RESTORE: {**_OF_A_POD, "snapshotID": "s", "sourceNamespace": "shop"},
    DATA_UPLOAD: {
        **_OF_A_SNAPSHOT,
        "snapshotType": "CSI",
        "sourcePVC": "data",
        "csiSnapshot": {"volumeSnapshot": "v", "storageClass": "s"},
    },
    DATA_DOWNLOAD: {
        **_OF_A_SNAPSHOT,
        "snapshotID": "s",
        "targetVolume": {"pvc": "data", "pv": "data", "namespace": "shop"},
    },
}


class DataMovers:
    """Says what movers would say."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl

    def make(self, kind: str, name: str, owner: Json) -> str:
        """A mover of a Backup or a Restore; its reference for `say`."""
        meta, of = owner["metadata"], owner["kind"].lower()
        labels = {f"velero.io/{of}-name": meta["name"], f"velero.io/{of}-uid": meta["uid"]}
        metadata = {"name": name, "namespace": VELERO, "labels": labels}
        version = "velero.io/v2alpha1" if kind in (DATA_UPLOAD, DATA_DOWNLOAD) else "velero.io/v1"
        body = {"apiVersion": version, "kind": _KINDS[kind], "metadata": metadata, "spec": _SPECS[kind]}
        self._kubectl.apply(body)
        return f"{kind}/{name}"

    def say(self, mover: str, phase: str, done: int = 0, total: int = 0, **status: Any) -> None:
        """Write a mover's status, which has no subresource."""
        body = {"status": {"phase": phase, "progress": {"bytesDone": done, "totalBytes": total}, **status}}
        self._kubectl("patch", mover, "-n", VELERO, "--type=merge", "-p", json.dumps(body))

    def delete(self, mover: str) -> None:
        self._kubectl("delete", mover, "-n", VELERO, "--ignore-not-found")

    @contextmanager
    def node_agent(self) -> Iterator[None]:
        """Velero believes for the block's length that a node-agent runs on the node."""
        self._kubectl.apply(_AGENT)
        name = _AGENT["metadata"]["name"]
        try:
            ready = "--for=jsonpath={.status.phase}=Running"
            self._kubectl("wait", f"pod/{name}", "-n", VELERO, ready, "--timeout=30s")
            yield
        finally:
            self._kubectl("delete", "pod", name, "-n", VELERO, "--wait=false", "--ignore-not-found", "--grace-period=0")

    @contextmanager
    def working(self, ways: Mapping[str, Callable[[str], None]]) -> Iterator[None]:
        """For the block's length each PodVolumeBackup goes the way of its pod's namespace, given its reference."""
        command = ["kubectl", "get", POD_VOLUME_BACKUP, "-n", VELERO, "--watch", "-o", "json"]
        with subprocess.Popen(command, env=self._kubectl.env, stdout=subprocess.PIPE, text=True) as watch:
            thread = threading.Thread(target=_follow, args=(watch, ways), daemon=True)
            thread.start()
            try:
                yield
            finally:
                watch.kill()
                thread.join()


def _follow(watch: "subprocess.Popen[str]", ways: Mapping[str, Callable[[str], None]]) -> None:
    taken: set[str] = set()
    for found in _objects(watch):
        name, namespace = found["metadata"]["name"], found["spec"]["pod"].get("namespace")
        if namespace in ways and name not in taken:
            taken.add(name)
            ways[namespace](f"{POD_VOLUME_BACKUP}/{name}")


def _objects(watch: "subprocess.Popen[str]") -> Iterator[Json]:
    """JSON values as they come, each over many lines."""
    assert watch.stdout is not None
    text = ""
    for line in watch.stdout:
        text += line
        if line == "}\n":
            yield json.loads(text)
            text = ""

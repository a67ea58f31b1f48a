"""A volume whose data is on its way on a real node: the mover is a pod of its own, here a process to be stopped."""

import os
import signal
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from support.bucket import Bucket
from support.kube import Kubectl
from support.movers import POD_VOLUME_BACKUP, POD_VOLUME_RESTORE
from support.world import VELERO, Json

from local_cluster import procfs
from local_cluster.cluster import LocalCluster
from local_cluster.real_node import cgroups

BYTES = 200_000_000
_WITHIN = "--timeout=90s"
_FOUND_WITHIN_S = 20.0
_BEGUN = 10_000_000


class Transfer(ABC):
    """The way of the only volume of a namespace, by one Velero Backup or Restore (`owner`)."""

    kind: ClassVar[str]
    label: ClassVar[str]

    def __init__(self, cluster: LocalCluster, kubectl: Kubectl, namespace: str, owner: str) -> None:
        self._cluster, self._kubectl, self._namespace, self._owner = cluster, kubectl, namespace, owner

    def movers(self) -> list[Json]:
        """Every PodVolumeBackup of the Backup, or PodVolumeRestore of the Restore."""
        found: list[Json] = self._kubectl.json("get", self.kind, "-n", VELERO, "-l", self._selector)["items"]
        return found

    def freeze(self) -> None:
        """Wait until the first bytes have arrived, and hold the rest back: what comes next comes in the middle."""
        where = (self.kind, "-n", VELERO, "-l", self._selector, _WITHIN)
        self._kubectl("wait", *where, "--for=create")
        self.await_phase("InProgress")
        pid, deadline = self._pid(), time.monotonic() + _FOUND_WITHIN_S
        while not self._has_begun(pid):
            assert time.monotonic() < deadline, "no data has moved"
            time.sleep(0.02)
        os.kill(pid, signal.SIGSTOP)
        (mover,) = self.movers()
        assert mover["status"]["phase"] == "InProgress", "it was over before it could be held"

    def thaw(self) -> None:
        """Let it go on, where it still is."""
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def await_phase(self, phase: str) -> None:
        """Wait until Velero says this of the only mover."""
        where = (self.kind, "-n", VELERO, "-l", self._selector, _WITHIN)
        self._kubectl("wait", *where, f"--for=jsonpath={{.status.phase}}={phase}")

    def cancel(self) -> None:
        """Ask the mover to stop, and let it go on as far as that: it leaves what it has done."""
        self._kubectl(
            "patch", self.kind, *self._names(), "-n", VELERO, "--type=merge", "-p", '{"spec":{"cancel":true}}'
        )
        self.thaw()
        self.await_phase("Canceled")

    def kill(self) -> None:
        """SIGKILL, as the kernel would when memory is short."""
        os.kill(self._pid(), signal.SIGKILL)

    @abstractmethod
    def _has_begun(self, pid: int) -> bool:
        """Whether the first bytes have arrived where they go."""

    @property
    def _selector(self) -> str:
        return f"{self.label}={self._owner}"

    def _pid(self) -> int:
        """Of the program that moves the data; its container says that it runs a moment before it does."""
        deadline = time.monotonic() + _FOUND_WITHIN_S
        while not (pids := self._pids()):
            assert time.monotonic() < deadline, f"no process moves the data of {self._owner}"
            time.sleep(0.05)
        return pids[0]

    def _names(self) -> list[str]:
        return [mover["metadata"]["name"] for mover in self.movers()]

    def _pids(self) -> list[int]:
        names = self._names()
        return [
            process.pid
            for process in cgroups.processes(self._cluster.layout.machine_name)
            if any(name in word for name in names for word in procfs.command_line(process.pid))
        ]


class Upload(Transfer):
    """Into the bucket."""

    kind, label = POD_VOLUME_BACKUP, "velero.io/backup-name"

    def _has_begun(self, pid: int) -> bool:
        return bool(Bucket(self._cluster.env()).names(f"kopia/{self._namespace}/p"))


class Download(Transfer):
    """Out of the bucket, onto a volume that the Restore made."""

    kind, label = POD_VOLUME_RESTORE, "velero.io/restore-name"

    def _has_begun(self, pid: int) -> bool:
        """By what the program has written: Velero counts its bytes every ten seconds only."""
        written = Path(f"/proc/{pid}/io").read_text().partition("wchar: ")[2].split()[0]
        return int(written) > _BEGUN


def await_log(cluster: LocalCluster, part: str, *words: str) -> None:
    """Wait until a line of the log of a part has all of these words."""
    deadline = time.monotonic() + 60
    while not any(all(word in line for word in words) for line in cluster.logs(part).splitlines()):
        assert time.monotonic() < deadline, cluster.logs(part)[-3000:]
        time.sleep(0.2)

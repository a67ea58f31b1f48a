"""A volume that is being uploaded on a real node: the data mover is a pod of its own, here a process to be stopped."""

import os
import signal
import time
from contextlib import suppress

from support.bucket import Bucket
from support.kube import Kubectl
from support.movers import POD_VOLUME_BACKUP
from support.world import VELERO, Json

from local_cluster import procfs
from local_cluster.cluster import LocalCluster
from local_cluster.real_node import cgroups

BYTES = 200_000_000
_WITHIN = "--timeout=90s"
_FOUND_WITHIN_S = 20.0


class Upload:
    """The upload of the only volume of a namespace, by one Velero Backup."""

    def __init__(self, cluster: LocalCluster, kubectl: Kubectl, namespace: str, backup: str) -> None:
        self._cluster, self._kubectl, self._namespace, self._backup = cluster, kubectl, namespace, backup

    def movers(self) -> list[Json]:
        """Every PodVolumeBackup of the Backup."""
        selector = f"velero.io/backup-name={self._backup}"
        found: list[Json] = self._kubectl.json("get", POD_VOLUME_BACKUP, "-n", VELERO, "-l", selector)["items"]
        return found

    def freeze(self) -> None:
        """Wait until the first bytes are in the bucket, and hold the rest back: what comes next comes in the middle."""
        where = (POD_VOLUME_BACKUP, "-n", VELERO, "-l", f"velero.io/backup-name={self._backup}", _WITHIN)
        self._kubectl("wait", *where, "--for=create")
        self._kubectl("wait", *where, "--for=jsonpath={.status.phase}=InProgress")
        pid, bucket, deadline = self._pid(), Bucket(self._cluster.env()), time.monotonic() + _FOUND_WITHIN_S
        while not bucket.names(f"kopia/{self._namespace}/p"):
            assert time.monotonic() < deadline, "no data has come to the bucket"
            time.sleep(0.02)
        os.kill(pid, signal.SIGSTOP)
        (mover,) = self.movers()
        assert mover["status"]["phase"] == "InProgress", "it was over before it could be held"

    def thaw(self) -> None:
        """Let it go on, where it still is."""
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, as the kernel would when memory is short."""
        os.kill(self._pid(), signal.SIGKILL)

    def _pid(self) -> int:
        """Of the program that moves the data; its container says that it runs a moment before it does."""
        deadline = time.monotonic() + _FOUND_WITHIN_S
        while not (pids := self._pids()):
            assert time.monotonic() < deadline, f"no process moves the data of {self._backup}"
            time.sleep(0.05)
        return pids[0]

    def _pids(self) -> list[int]:
        names = [mover["metadata"]["name"] for mover in self.movers()]
        return [
            process.pid
            for process in cgroups.processes(self._cluster.layout.machine_name)
            if any(name in word for name in names for word in procfs.command_line(process.pid))
        ]

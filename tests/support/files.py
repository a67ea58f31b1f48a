"""An application whose data is one large file on a volume, where pods run."""

from support.kube import Kubectl
from support.uploads import BYTES
from support.world import files_on_a_volume


class Files:
    """A volume with 200 MB of noise, which nothing makes smaller."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self._kubectl, self.namespace = kubectl, namespace

    def write(self) -> None:
        self._kubectl.apply(files_on_a_volume(self.namespace))
        self._in_pod(f"dd if=/dev/urandom of=/data/noise bs=1000000 count={BYTES // 1_000_000} 2>&1")

    def checksum(self) -> str:
        return self._in_pod("sha256sum /data/noise")

    def _in_pod(self, script: str) -> str:
        self._kubectl("rollout", "status", "statefulset/files", "-n", self.namespace, "--timeout=90s")
        return self._kubectl("exec", "-n", self.namespace, "files-0", "--", "sh", "-euc", script).stdout

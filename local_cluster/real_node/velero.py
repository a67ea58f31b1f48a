"""Velero as its users run it: server and node-agent in pods, from `velero install`; used by the real node.

What is installed is what the program itself would install, pointed at this machine's kubelet and S3.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

from local_cluster import images, velero
from local_cluster.errors import LocalClusterError
from local_cluster.files import write_atomically
from local_cluster.kube import write_kubeconfig
from local_cluster.parts import Site
from local_cluster.seaweedfs import BUCKET

SERVER, NODE_AGENT = "velero", "node-agent"
WORKLOADS: Mapping[str, str] = {
    SERVER: f"/apis/apps/v1/namespaces/{velero.NAMESPACE}/deployments/{SERVER}",
    NODE_AGENT: f"/apis/apps/v1/namespaces/{velero.NAMESPACE}/daemonsets/{NODE_AGENT}",
}

_NODE_AGENT_CONFIG = "node-agent-config"
_OS = "kubernetes.io/os"

# What ends the pods of a workload and keeps them away; `install` brings them back.
STOPPED: Mapping[str, dict[str, Any]] = {
    SERVER: {"spec": {"replicas": 0}},
    NODE_AGENT: {"spec": {"template": {"spec": {"nodeSelector": {_OS: "none"}}}}},
}


def install(site: Site, kubelet: str, s3: str, digests: Mapping[str, str], *, running: bool) -> None:
    """Have Velero's definitions, server and node-agent in the cluster as wanted.

    `kubelet` is the kubelet's root folder, `s3` the URL by which pods reach the bucket, `digests` the images by name:
    a pod whose image has changed is replaced. `running` says that the server lives, so that its verdict counts.
    """
    kube = site.kube()
    write_kubeconfig(site.layout.kubeconfig(SERVER), site.kube(SERVER), SERVER)
    write_atomically(velero.credentials_file(site), velero.credentials(site))
    for wanted in furnished(_printed(site, kubelet, s3, digests)):
        kube.apply(wanted)
    if not running:
        # The verdict of an earlier Velero must not be taken for one of this.
        kube.merge(velero.LOCATION, {"status": None})


def is_ready(site: Site) -> bool:
    """Whether the server reaches the bucket, and both workloads run as they were last applied."""
    kube = site.kube()
    return velero.is_available(kube.get(velero.LOCATION)) and all(
        runs_as_wanted(kube.get(path)) for path in WORKLOADS.values()
    )


def runs_as_wanted(workload: Mapping[str, Any] | None) -> bool:
    """Whether each pod of a Deployment or DaemonSet is ready and of its newest template."""
    if not workload or workload["status"].get("observedGeneration") != workload["metadata"]["generation"]:
        return False
    status = workload["status"]
    if workload["kind"] == "DaemonSet":
        wanted, there = status.get("desiredNumberScheduled"), status.get("currentNumberScheduled")
        ready, fresh = status.get("numberReady"), status.get("updatedNumberScheduled")
    else:
        wanted, there = workload["spec"].get("replicas"), status.get("replicas")
        ready, fresh = status.get("readyReplicas"), status.get("updatedReplicas")
    return bool(wanted) and wanted == there == ready == fresh


def _printed(site: Site, kubelet: str, s3: str, digests: Mapping[str, str]) -> list[dict[str, Any]]:
    program, access = site.program("velero"), f"--kubeconfig={site.layout.kubeconfig(SERVER)}"
    told = (f"--secret-file={velero.credentials_file(site)}", *arguments(kubelet, s3, site.url("s3"), digests))
    answer = subprocess.run(
        [program, access, "install", "--dry-run", "-o", "json", *told],
        env=site.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        raise LocalClusterError("`velero install --dry-run` failed.", answer.stderr[-400:])
    items: list[dict[str, Any]] = json.loads(answer.stdout)["items"]
    return items


def arguments(kubelet: str, s3: str, public_s3: str, digests: Mapping[str, str]) -> Iterator[str]:
    """What `velero install` is told; `s3` is for pods, `public_s3` for programs of this machine."""
    location = {"region": velero.REGION, "s3ForcePathStyle": "true", "s3Url": s3, "publicUrl": public_s3}
    used = "-".join(digests[name].rpartition(":")[2][:12] for name in (images.VELERO, images.VELERO_PLUGIN))
    yield from (
        f"--image={images.VELERO}",
        f"--plugins={images.VELERO_PLUGIN}",
        "--provider=aws",
        f"--bucket={BUCKET}",
        # Presigned URLs are for programs of this machine, which is not where pods find S3.
        f"--backup-location-config={','.join(f'{key}={value}' for key, value in location.items())}",
        "--use-volume-snapshots=false",
        "--use-node-agent",
        "--uploader-type=kopia",
        f"--kubelet-root-dir={kubelet}",
        f"--pod-annotations=vop.local/images={used}",
    )
    # A machine with two cores has no half a core to set aside, and no limit makes a backup slower than need be.
    yield from (f"--velero-pod-{what}=0" for what in ("cpu-request", "cpu-limit", "mem-request", "mem-limit"))


def furnished(printed: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """What `velero install` prints, with the flags of this project, in an order in which it can be applied."""
    for wanted in printed:
        if wanted["kind"] == "Deployment":
            wanted["spec"]["replicas"] = 1
            _container(wanted)["args"] += velero.SERVER_FLAGS
        if wanted["kind"] == "DaemonSet":
            yield _node_agent_config()
            _container(wanted)["args"] += [f"--node-agent-configmap={_NODE_AGENT_CONFIG}"]
            wanted["spec"]["template"]["spec"]["nodeSelector"] = {_OS: "linux"}
        yield wanted


def _container(workload: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = workload["spec"]["template"]["spec"]["containers"][0]
    return container


def _node_agent_config() -> dict[str, Any]:
    """Volumes are taken side by side; with the default of one, those that wait are looked at every 5 s only."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": _NODE_AGENT_CONFIG, "namespace": velero.NAMESPACE},
        "data": {"node-agent.json": json.dumps({"loadConcurrency": {"globalConfig": 4}})},
    }

"""The Velero server as a process of this machine, and what it expects in the cluster; used by `catalogue`."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local_cluster.errors import LocalClusterError
from local_cluster.files import write_atomically
from local_cluster.kube import admin_binding, write_kubeconfig
from local_cluster.parts import Part, Site
from local_cluster.ports import LOOPBACK
from local_cluster.seaweedfs import BUCKET

NAMESPACE = "velero"
REGION = "local"
PORTS = ("velero-metrics", "velero-profiler")
LOCATION = f"/apis/velero.io/v1/namespaces/{NAMESPACE}/backupstoragelocations/default"

# Of the server, wherever it runs.
SERVER_FLAGS = (
    # An outage of S3 shows in the location within 15 s instead of minutes: Velero looks every
    # 10 s (fixed) at the locations whose last validation is older than this.
    "--store-validation-frequency=5s",
    # With the default of one, Backups that wait for each other go on once a minute: 1.18 loses the wake-up.
    "--concurrent-backups=10",
    # Backups found in the bucket appear in a fresh cluster while somebody watches.
    "--backup-sync-period=15s",
)


def velero(site: Site) -> Part:
    """`velero server` with its AWS plugin."""
    argv = (
        site.program("velero"),
        "server",
        f"--namespace={NAMESPACE}",
        f"--kubeconfig={site.layout.kubeconfig('velero')}",
        f"--plugin-dir={site.layout.plugins}",
        f"--metrics-address={LOOPBACK}:{site.port('velero-metrics')}",
        f"--profiler-address={LOOPBACK}:{site.port('velero-profiler')}",
        *SERVER_FLAGS,
    )
    return Part(
        "velero",
        argv,
        ports=PORTS,
        needs=("kube-apiserver", "seaweedfs"),
        # Not by the location's `credential`: Velero writes that Secret to one file again for each backup, and backups
        # side by side read it half-written (1.18: "no EC2 IMDS role found").
        environment={"AWS_SHARED_CREDENTIALS_FILE": str(credentials_file(site))},
        prepare=lambda: _prepare(site),
        ready=lambda: is_available(site.kube().get(LOCATION)),
    )


def _prepare(site: Site) -> None:
    kube = site.kube()
    for wanted in (*_definitions(site), *objects(site), admin_binding("velero")):
        kube.apply(wanted)
    # The verdict of an earlier Velero must not be taken for one of this.
    kube.merge(LOCATION, {"status": None})
    write_kubeconfig(site.layout.kubeconfig("velero"), site.kube("velero"), "velero")
    write_atomically(credentials_file(site), credentials(site))


def _definitions(site: Site) -> list[dict[str, Any]]:
    """Velero's CRDs, from the program itself so that they always fit it."""
    answer = subprocess.run(
        [site.program("velero"), "install", "--crds-only", "--dry-run", "-o", "json"],
        env=site.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        raise LocalClusterError("`velero install --crds-only` failed.", answer.stderr[-400:])
    items: list[dict[str, Any]] = json.loads(answer.stdout)["items"]
    return items


def objects(site: Site) -> tuple[dict[str, Any], ...]:
    """The namespace, the location, and the Deployment that Velero asks about itself."""
    return (
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        _location(site.url("s3")),
        _deployment(),
    )


def credentials_file(site: Site) -> Path:
    """Where the keys of S3 lie in the format of the AWS libraries."""
    return site.layout.config / "velero-credentials"


def credentials(site: Site) -> str:
    """The keys of S3 in the format of the AWS libraries."""
    state = site.state
    return f"[default]\naws_access_key_id={state.s3_access_key}\naws_secret_access_key={state.s3_secret_key}\n"


def _location(s3: str) -> dict[str, Any]:
    return {
        "apiVersion": "velero.io/v1",
        "kind": "BackupStorageLocation",
        "metadata": {"name": "default", "namespace": NAMESPACE},
        "spec": {
            "provider": "aws",
            "default": True,
            "objectStorage": {"bucket": BUCKET},
            "config": {"region": REGION, "s3ForcePathStyle": "true", "s3Url": s3},
        },
    }


def _deployment() -> dict[str, Any]:
    """Velero reads its own Deployment when it restores pods; without one the restore is PartiallyFailed."""
    labels = {"deploy": "velero"}
    container = {"name": "velero", "image": "velero/velero"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "velero", "namespace": NAMESPACE},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def is_available(location: Mapping[str, Any] | None) -> bool:
    """Whether Velero can use the bucket."""
    return bool(location) and (location or {}).get("status", {}).get("phase") == "Available"

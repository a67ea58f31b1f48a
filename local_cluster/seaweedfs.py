"""SeaweedFS as the S3 that backups go to; used by `catalogue`."""

import json
from typing import Any

from local_cluster.files import write_atomically
from local_cluster.kube import http_ok
from local_cluster.parts import Part, Site
from local_cluster.ports import LOOPBACK

BUCKET = "velero"

_SERVERS = ("master", "volume", "filer", "admin")
PORTS = ("s3", "s3-grpc", *(f"{server}{suffix}" for server in _SERVERS for suffix in ("", "-grpc")))


def seaweedfs(site: Site) -> Part:
    """`weed mini`: master, volume server, filer and S3 in one process."""
    return Part(
        "seaweedfs",
        (*_storage_arguments(site), *_port_arguments(site)),
        ports=PORTS,
        prepare=lambda: _write_identities(site),
        ready=lambda: _serves(site),
    )


def _storage_arguments(site: Site) -> tuple[str, ...]:
    layout = site.layout
    return (
        site.program("weed"),
        "-logtostderr",
        "mini",
        f"-dir={layout.data('seaweedfs')}",
        f"-bucket={BUCKET}",
        f"-s3.config={layout.config / 's3.json'}",
        # The defaults lie in /tmp, where the sockets of two clusters would meet.
        f"-filer.localSocket={layout.run / 'filer.sock'}",
        f"-s3.localSocket={layout.run / 's3.sock'}",
        "-webdav=false",
        "-admin.ui=false",
        "-master.telemetry=false",
        "-volume.preStopSeconds=0",  # there is no other server that would take over meanwhile
    )


def _port_arguments(site: Site) -> tuple[str, ...]:
    servers = tuple(
        argument
        for server in ("s3", *_SERVERS)
        for argument in (
            f"-{server}.port={site.port(server)}",
            f"-{server}.port.grpc={site.port(f'{server}-grpc')}",
        )
    )
    return (f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}", "-s3.port.iceberg=0", "-s3.port.lance=0", *servers)


def _write_identities(site: Site) -> None:
    content = identities(site.state.s3_access_key, site.state.s3_secret_key)
    write_atomically(site.layout.config / "s3.json", json.dumps(content, indent=1))


def identities(access_key: str, secret_key: str) -> dict[str, Any]:
    """The one user of S3, who may do everything."""
    return {
        "identities": [
            {
                "name": BUCKET,
                "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            }
        ]
    }


def _serves(site: Site) -> bool:
    """S3 answers a little before the bucket is there; the filer tells about it without a signature."""
    return http_ok(f"{site.url('s3')}/healthz") and http_ok(f"{site.url('filer')}/buckets/{BUCKET}/")

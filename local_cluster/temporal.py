"""The Temporal development server with its UI; used by `catalogue`."""

from local_cluster.kube import http_ok
from local_cluster.parts import Part, Site
from local_cluster.ports import LOOPBACK

PORTS = ("temporal", "temporal-ui", "temporal-http", "temporal-metrics")

# The engine's own, created by `vop setup`; the server knows nothing of it.
NAMESPACE = "vworkspace"


def temporal(site: Site) -> Part:
    """`temporal server start-dev`, with its history in the state dir."""
    argv = (
        site.program("temporal"),
        "server",
        "start-dev",
        f"--ip={LOOPBACK}",
        f"--port={site.port('temporal')}",
        f"--ui-port={site.port('temporal-ui')}",
        f"--http-port={site.port('temporal-http')}",
        f"--metrics-port={site.port('temporal-metrics')}",
        f"--db-filename={site.layout.data('temporal') / 'temporal.db'}",
        "--ui-disable-news-fetch",
        "--log-level=warn",
    )
    return Part(
        "temporal",
        argv,
        ports=PORTS,
        environment={"TEMPORAL_VERSION_CHECK_DISABLED": "1"},
        ready=lambda: http_ok(f"{site.url('temporal-http')}/api/v1/namespaces/default"),
    )

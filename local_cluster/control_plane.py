"""etcd and the three Kubernetes servers; used by `catalogue`.

Flags differ from a production control plane only where loopback and a single machine allow it.
"""

import json
import secrets
import ssl
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

from local_cluster.files import write_atomically
from local_cluster.kube import http_ok, write_kubeconfig
from local_cluster.parts import Part, Site
from local_cluster.ports import LOOPBACK
from local_cluster.state import USERS

# Wide enough for benchmarks with thousands of services; pods get addresses next to it (see node).
SERVICE_RANGE = "10.0.0.0/16"

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_CERTIFICATE_DAYS = 300  # kube-apiserver makes its own for a year; renewed while there is time left


def etcd(site: Site) -> Part:
    """The store of the API server."""
    client, peer = site.url("etcd"), site.url("etcd-peer")
    argv = (
        site.program("etcd"),
        "--name=local",
        f"--data-dir={site.layout.data('etcd')}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=local={peer}",
        # A killed process loses nothing by it, only a power cut does; and it makes writes fast.
        "--unsafe-no-fsync",
        "--log-level=warn",
    )
    return Part("etcd", argv, ports=("etcd", "etcd-peer"), ready=lambda: http_ok(f"{client}/readyz"))


def apiserver(site: Site) -> Part:
    """kube-apiserver; its self-signed certificate is also the CA of every kubeconfig here."""
    layout = site.layout
    argv = (
        site.program("kube-apiserver"),
        f"--etcd-servers={site.url('etcd')}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={site.port('kube-apiserver')}",
        # No address of this machine is published: without this it looks for a default route, and
        # fails on a machine without a network.
        f"--advertise-address={LOOPBACK}",
        "--endpoint-reconciler-type=none",
        f"--cert-dir={layout.pki}",
        f"--service-account-key-file={_signing_key(layout.pki)}",
        f"--service-account-signing-key-file={_signing_key(layout.pki)}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--token-auth-file={layout.pki / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--allow-privileged=true",
        f"--audit-policy-file={layout.config / 'audit-policy.json'}",
        f"--audit-log-path={layout.audit_log}",
        "--audit-log-maxsize=64",  # megabytes
        "--audit-log-maxbackup=2",
        "--profiling=false",
        # For logs and exec; the name of the node is in no DNS.
        "--kubelet-preferred-address-types=InternalIP",
    )
    return Part(
        "kube-apiserver",
        argv,
        ports=("kube-apiserver",),
        needs=("etcd",),
        prepare=lambda: _prepare_apiserver(site),
        ready=lambda: site.kube().ready(),
    )


def _signing_key(pki: Path) -> Path:
    return pki / "service-account.key"


def _prepare_apiserver(site: Site) -> None:
    layout = site.layout
    lines = [f'{site.state.tokens[key]},{user},{user},"{group}"' for key, (user, group) in USERS.items()]
    write_atomically(layout.pki / "tokens.csv", "\n".join(lines) + "\n")
    write_atomically(layout.config / "audit-policy.json", json.dumps(audit_policy(), indent=1))
    if not _signing_key(layout.pki).exists():
        write_atomically(_signing_key(layout.pki), new_signing_key())
    discard_bad_certificate(layout.serving_certificate)


def discard_bad_certificate(certificate: Path) -> None:
    """Let kube-apiserver make a new pair where it was killed while writing, or the old one gets stale."""
    key = certificate.with_suffix(".key")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
        usable = time.time() - certificate.stat().st_mtime < _CERTIFICATE_DAYS * 86_400
    except (OSError, ssl.SSLError):
        usable = False
    if not usable:
        certificate.unlink(missing_ok=True)
        key.unlink(missing_ok=True)


def new_signing_key() -> str:
    """A P-256 key as PEM (RFC 5915). The public half is left out: its readers compute it."""
    secret = (secrets.randbelow(_P256_ORDER - 1) + 1).to_bytes(32, "big")
    prime256v1 = bytes.fromhex("a00a06082a8648ce3d030107")
    der = b"\x30\x31" + b"\x02\x01\x01" + b"\x04\x20" + secret + prime256v1
    return f"-----BEGIN EC PRIVATE KEY-----\n{b64encode(der).decode()}\n-----END EC PRIVATE KEY-----\n"


def audit_policy() -> dict[str, Any]:
    """Who asked for what, without bodies; benchmarks count the requests of a user in it.

    Left out is what runs by itself: the control plane's own users, leases and health checks.
    """
    machinery = ("kube-controller-manager", "kube-scheduler", "kubelet", "kwok")
    own_users = ["system:apiserver", *(USERS[name][0] for name in machinery)]
    leases = {"group": "coordination.k8s.io", "resources": ["leases"]}
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "users": own_users},
            # The controllers' own ServiceAccounts, see --use-service-account-credentials.
            {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
            {"level": "None", "resources": [leases]},
            {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*"]},
            {"level": "Metadata"},
        ],
    }


def controller_manager(site: Site) -> Part:
    """kube-controller-manager, each controller under its own ServiceAccount as kubeadm has it."""
    name = "kube-controller-manager"
    argv = (
        site.program(name),
        f"--kubeconfig={site.layout.kubeconfig(name)}",
        f"--service-account-private-key-file={_signing_key(site.layout.pki)}",
        f"--root-ca-file={site.layout.serving_certificate}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--secure-port=0",
        "--controllers=*,-nodeipam,-cloud-node-lifecycle",
        # Tests create and delete many namespaces; the default of 20 a second makes them wait.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    )
    return Part(
        name,
        argv,
        needs=("kube-apiserver",),
        prepare=lambda: _write_access(site, name),
        ready=lambda: site.kube().get("/api/v1/namespaces/default/serviceaccounts/default") is not None,
    )


def scheduler(site: Site) -> Part:
    """kube-scheduler; with its port closed nothing tells its readiness, a dead one is noticed later."""
    name = "kube-scheduler"
    argv = (
        site.program(name),
        f"--kubeconfig={site.layout.kubeconfig(name)}",
        "--leader-elect=false",
        "--secure-port=0",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    )
    return Part(name, argv, needs=("kube-apiserver",), prepare=lambda: _write_access(site, name))


def _write_access(site: Site, name: str) -> None:
    write_kubeconfig(site.layout.kubeconfig(name), site.kube(name), USERS[name][0])

"""The pods' network: one bridge with a /24 of its own, and the way from it to the two servers that pods use.

Pods reach the API server and S3 at addresses of the service range, turned to their ports on loopback;
nothing else of this machine, and nothing beyond it. Used by `machine`.
"""

import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from local_cluster.control_plane import SERVICE_RANGE
from local_cluster.errors import LocalClusterError
from local_cluster.files import wait_until

# Of these, the first that this machine has no route into: a company's VPN often takes all of 10.0.0.0/8.
POOLS = tuple(IPv4Network(text) for text in ("10.200.0.0/16", "172.29.0.0/16", "192.168.128.0/17"))
PREFIX = 24

API_ADDRESS = "10.0.0.1"  # the first of the service range: what pods read from KUBERNETES_SERVICE_HOST
API_PORT = 443
S3_ADDRESS = "10.0.0.2"
S3_PORT = 8333
KUBELET_PORT = 10250

# The system's tools lie in folders that are not on everybody's PATH, such as that of root after a plain `su`.
TOOLS_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"

_LINKS = Path("/sys/class/net")
_SYSCTL = Path("/proc/sys/net")
_DICE = random.Random()  # noqa: S311 (addresses are no secret)


def choose(reserved: Iterable[IPv4Network], taken: Iterable[IPv4Network], dice: random.Random = _DICE) -> IPv4Network:
    """A range that neither another cluster keeps nor this machine has a route into."""
    avoid = [*reserved, *taken]
    for pool in POOLS:
        candidates = [one for one in pool.subnets(new_prefix=PREFIX) if not any(map(one.overlaps, avoid))]
        if candidates:
            return dice.choice(candidates)
    raise LocalClusterError(
        f"No free address range for pods: this machine has routes into all of {', '.join(map(str, POOLS))}; "
        "remove one, or choose `--node kwok`."
    )


def reserved(state_files: Iterable[Path]) -> list[IPv4Network]:
    """Ranges that other clusters keep, running or not."""
    found = []
    for path in state_files:
        try:
            found.append(IPv4Network(json.loads(path.read_text())["pod_range"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def taken(own: str) -> dict[IPv4Network, str]:
    """What this machine has a route into, and through which device; `own` is the bridge that does not count."""
    return routed(_json("ip", "-json", "-4", "route", "show", "table", "all"), own)


def routed(routes: Iterable[Mapping[str, Any]], own: str) -> dict[IPv4Network, str]:
    """The same, from what `ip route` says."""
    elsewhere = (one for one in routes if one["dst"] != "default" and one.get("dev") != own)
    return {IPv4Network(one["dst"], strict=False): str(one.get("dev", "no device")) for one in elsewhere}


def require_free(wanted: IPv4Network, own: str) -> None:
    """Refuse a range that somebody else has got meanwhile: traffic would go astray without a word."""
    for network, device in taken(own).items():
        if network.overlaps(wanted):
            raise LocalClusterError(
                f"The address range {wanted} of this cluster's pods is taken: this machine has a route to {network} "
                f"through {device}. Remove that, or run `vop local up --new-ports` to move this cluster."
            )


def node_address(pods: IPv4Network) -> IPv4Address:
    """The bridge's own address: the node's, and the pods' gateway."""
    return pods.network_address + 1


def rules(name: str, pods: IPv4Network, api: int, s3: int) -> str:
    """The nftables rules (nft(8)), to be loaded in one transaction, whatever was there under that name.

    `api` and `s3` are ports on 127.0.0.1. The kubelet asks nobody for a password, so only root reaches its port.
    """
    kubelet = f"ip daddr {node_address(pods)} tcp dport {KUBELET_PORT}"
    return f"""table inet {name}
delete table inet {name}
table inet {name} {{
  chain from_pods {{
    type nat hook prerouting priority dstnat
    iifname {name} ip daddr {API_ADDRESS} tcp dport {API_PORT} dnat ip to 127.0.0.1:{api}
    iifname {name} ip daddr {S3_ADDRESS} tcp dport {S3_PORT} dnat ip to 127.0.0.1:{s3}
  }}
  chain to_machine {{
    type filter hook input priority filter
    ip daddr {pods} iifname != {{ {name}, lo }} drop
    iifname != {name} accept
    ct state established,related accept
    ct status dnat accept
    reject
  }}
  chain through_machine {{
    type filter hook forward priority filter
    iifname {name} oifname != {name} reject
    iifname != {name} oifname {name} reject
  }}
  chain from_machine {{
    type filter hook output priority filter
    {kubelet} meta skuid != 0 reject
  }}
}}
"""


def conflist(name: str, pods: IPv4Network) -> dict[str, Any]:
    """The CNI configuration: the one route of a pod leads to the service range.

    Not `isGateway`: the plugin would turn on forwarding for the whole machine.
    """
    route = {"dst": SERVICE_RANGE, "gw": str(node_address(pods))}
    ipam = {"type": "host-local", "ranges": [[{"subnet": str(pods), "gateway": route["gw"]}]], "routes": [route]}
    return {
        "cniVersion": "1.0.0",
        "name": name,
        "plugins": [{"type": "bridge", "bridge": name, "isGateway": False, "ipMasq": False, "ipam": ipam}],
    }


def exists(name: str) -> bool:
    """Whether the bridge is there."""
    return (_LINKS / name).exists()


def create(name: str, pods: IPv4Network, api: int, s3: int) -> None:
    """Have the bridge with its address and its rules; safe to repeat, also with other ports."""
    _command(["nft", "-f", "-"], rules(name, pods, api, s3))
    if not exists(name):
        _command(["ip", "link", "add", name, "type", "bridge"])
    version6 = _SYSCTL / "ipv6/conf" / name / "disable_ipv6"
    if version6.exists():
        version6.write_text("1")
    # Lets a packet that came through this bridge, and no other, be answered from 127.0.0.1.
    (_SYSCTL / "ipv4/conf" / name / "route_localnet").write_text("1")
    _command(["ip", "address", "replace", f"{node_address(pods)}/{PREFIX}", "dev", name])
    _command(["ip", "link", "set", name, "up"])


def remove(name: str) -> None:
    """Remove the bridge, what is plugged into it, and the rules; safe where nothing of that is."""
    for port in _ports(name):
        _quietly("ip", "link", "delete", port)
    if exists(name):
        _quietly("ip", "link", "delete", name)
    _quietly("nft", "delete", "table", "inet", name)
    if not wait_until(lambda: not exists(name), 5):
        raise LocalClusterError(f"The bridge {name} cannot be removed; remove it with `ip link delete {name}`.")


def _ports(name: str) -> list[str]:
    folder = _LINKS / name / "brif"
    return sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []


def _command(argv: list[str], text: str = "") -> str:
    answer = _run(argv, text)
    if answer.returncode != 0:
        raise LocalClusterError(f"`{' '.join(argv)}` failed.", answer.stderr.strip())
    return answer.stdout


def _json(*argv: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(_command(list(argv)) or "[]")
    return found


def _quietly(*argv: str) -> None:
    """A thing that went meanwhile is as good as removed; what only its tool can remove, is not removed without it."""
    if shutil.which(argv[0], path=TOOLS_PATH):
        _run(list(argv), "")


def _run(argv: list[str], text: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [shutil.which(argv[0], path=TOOLS_PATH) or argv[0], *argv[1:]],
            input=text,
            env={**os.environ, "PATH": TOOLS_PATH},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise LocalClusterError(f"`{argv[0]}` is missing; `scripts/node-packages` installs it.") from error

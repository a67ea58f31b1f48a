"""Where an HTTP check may go, and where it may not: pure, over objects as the API server returned them.

A tenant names the URL, and the engine stands inside the cluster's network. So a check goes to the pods of a Service in
the destination namespace, or to the address at which the cluster publishes an Ingress of it; names are never looked up
in a DNS that a tenant could write. Addresses of the machine, of links, and of the API server are refused.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from operation_engine.domain.resources.common import ApiModel

Manifest = Mapping[str, Any]
_SERVICE_SUFFIXES = ("", ".svc", ".svc.cluster.local")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class NoSuchPlace(ValueError):
    """The check may not go there, or there is nobody; the text says why."""


class Place(ApiModel):
    """A URL in its parts, as far as they are the tenant's word."""

    scheme: str
    host: str
    port: int
    path: str
    service: str | None = None
    """The Service of the destination that the host names; None where it must be an Ingress host."""


class Address(ApiModel):
    """Where the check goes: resolved once, by the API server's word."""

    ip: str
    port: int


def place_of(url: str, namespace: str) -> Place:
    """The URL's parts. Raises NoSuchPlace, ValueError's sentence for people, for what no check may ask."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise NoSuchPlace(f"{url[:200]!r} is no URL: {error}") from error
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in _DEFAULT_PORTS or not host or "@" in parts.netloc:
        raise NoSuchPlace(f"{url[:200]!r} is no plain http or https URL")
    if any(ord(c) <= 0x20 or ord(c) > 0x7E for c in url):
        raise NoSuchPlace(f"{url[:200]!r} holds characters that must be percent-encoded")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    service = _service(host, namespace)
    return Place(scheme=parts.scheme, host=host, port=port or _DEFAULT_PORTS[parts.scheme], path=path, service=service)


def _service(host: str, namespace: str) -> str | None:
    if _LABEL.fullmatch(host):
        return host
    for suffix in _SERVICE_SUFFIXES:
        name, dot, _ = host.removesuffix(suffix).partition(f".{namespace}")
        if dot and host == f"{name}.{namespace}{suffix}" and _LABEL.fullmatch(name):
            return name
    return None


def service_selector(service: Manifest) -> str:
    """The label selector of a Service's pods. Raises NoSuchPlace where it is not the API server's to choose them."""
    spec, name = service.get("spec", {}), service["metadata"]["name"]
    selector = spec.get("selector")
    if spec.get("type") == "ExternalName" or not selector:
        raise NoSuchPlace(f"Service {name} does not select pods: a check goes only to pods of the namespace")
    return ",".join(f"{key}={value}" for key, value in sorted(selector.items()))


def pod_address(service: Manifest, pods: Sequence[Manifest], port: int) -> Address:
    """A ready pod of the Service and the port behind the Service's own. Raises NoSuchPlace."""
    name, ports = service["metadata"]["name"], service.get("spec", {}).get("ports") or ()
    behind = next((p for p in ports if p.get("port") == port and p.get("protocol", "TCP") == "TCP"), None)
    if behind is None:
        known = ", ".join(str(p.get("port")) for p in ports) or "none"
        raise NoSuchPlace(f"Service {name} has no TCP port {port}; it has: {known}")
    for pod in pods:
        target = _target_port(behind.get("targetPort", port), pod)
        if _is_ready(pod) and target is not None:
            return Address(ip=pod["status"]["podIP"], port=target)
    raise NoSuchPlace(f"no pod behind Service {name} is ready")


def _is_ready(pod: Manifest) -> bool:
    """Ready, and with an address that is its own and not the node's."""
    status = pod.get("status", {})
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
    return ready and bool(status.get("podIP")) and not pod.get("spec", {}).get("hostNetwork", False)


def _target_port(target: Any, pod: Manifest) -> int | None:
    if isinstance(target, int):
        return target
    containers = pod.get("spec", {}).get("containers") or ()
    ports = (p for container in containers for p in container.get("ports") or ())
    return next((p["containerPort"] for p in ports if p.get("name") == target), None)


def ingress_address(place: Place, ingresses: Iterable[Manifest]) -> Address:
    """Where the cluster publishes the Ingress of the place's host. Raises NoSuchPlace."""
    if place.port not in _DEFAULT_PORTS.values():
        raise NoSuchPlace(f"an Ingress is asked on port 80 or 443, not on {place.port}")
    for ingress in ingresses:
        hosts = {rule.get("host") for rule in ingress.get("spec", {}).get("rules") or ()}
        if place.host in hosts:
            published = ingress.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
            ip = next((one["ip"] for one in published if one.get("ip")), None)
            if ip is None:
                raise NoSuchPlace(f"Ingress {ingress['metadata']['name']} has no address yet")
            return Address(ip=ip, port=place.port)
    raise NoSuchPlace(f"{place.host} is neither a Service nor the host of an Ingress of this namespace")


def refuse_own(address: Address, own: Iterable[str]) -> None:
    """Raises NoSuchPlace for addresses that no tenant's check may reach, whoever published them."""
    ip = ipaddress.ip_address(address.ip)
    ip = getattr(ip, "ipv4_mapped", None) or ip
    never = ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved
    if never or str(ip) in set(own):
        raise NoSuchPlace(f"{address.ip} is no address of an application")

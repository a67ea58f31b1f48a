"""Where an HTTP check goes: to the application of the namespace, and to nothing else that a URL could name."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from activities.probes import ask
from operation_engine.domain import probes
from operation_engine.domain.probes import Address, NoSuchPlace, Place

NS = "shop"


def service(**spec: Any) -> dict[str, Any]:
    plain = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"metadata": {"name": "web"}, "spec": plain | spec}


def pod(ready: str = "True", ip: str | None = "10.1.0.7", **spec: Any) -> dict[str, Any]:
    status = {"conditions": [{"type": "Ready", "status": ready}], "podIP": ip}
    container = {"name": "web", "ports": [{"name": "http", "containerPort": 9000}]}
    return {"metadata": {"name": "web-1"}, "spec": {"containers": [container], **spec}, "status": status}


def ingress(host: str = "shop.example.com", ip: str | None = "203.0.113.7") -> dict[str, Any]:
    published = {"loadBalancer": {"ingress": [{"ip": ip}]}} if ip else {}
    return {"metadata": {"name": "web"}, "spec": {"rules": [{"host": host}]}, "status": published}


@pytest.mark.parametrize(
    ("url", "name", "port", "path"),
    [
        ("http://web", "web", 80, "/"),
        ("http://web/healthz?deep=1", "web", 80, "/healthz?deep=1"),
        ("https://web.shop:8443/x", "web", 8443, "/x"),
        ("http://web.shop.svc/healthz", "web", 80, "/healthz"),
        ("http://web.shop.svc.cluster.local.", "web", 80, "/"),
    ],
)
def test_a_service_of_the_destination_can_be_named_in_every_usual_way(
    url: str, name: str, port: int, path: str
) -> None:
    place = probes.place_of(url, NS)
    assert (place.service, place.port, place.path) == (name, port, path)


@pytest.mark.parametrize(
    "host",
    ["web.other.svc", "web.shopping.svc", "a.web.shop.svc", "shop.example.com", "127.0.0.1", "169.254.169.254",
     "kubernetes.default.svc", "web.shop.svc.example.com", "[::1]"],
)  # fmt: skip
def test_every_other_host_is_no_service_of_the_destination(host: str) -> None:
    place = probes.place_of(f"http://{host}/", NS)
    assert place.service is None
    with pytest.raises(NoSuchPlace, match="neither a Service nor the host of an Ingress"):
        probes.ingress_address(place, [ingress("another.example.com")])


@pytest.mark.parametrize(
    "url",
    ["ftp://web/", "file:///etc/passwd", "web/healthz", "http://", "http://user:pw@web/", "http://web:99999/",
     "http://web:x/", "http://web/a b", "http://web/\r\nHost: other", "http://web/ü", "//web"],
)  # fmt: skip
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(NoSuchPlace):
        probes.place_of(url, NS)


def test_a_service_s_ready_pod_is_asked_on_the_port_behind_the_service_s() -> None:
    assert probes.pod_address(service(), [pod("False"), pod()], 80) == Address(ip="10.1.0.7", port=8080)
    named = service(ports=[{"port": 80, "targetPort": "http"}])
    assert probes.pod_address(named, [pod()], 80).port == 9000
    assert probes.pod_address(service(ports=[{"port": 81}]), [pod()], 81).port == 81


NOWHERE: dict[str, tuple[dict[str, Any], list[dict[str, Any]], str]] = {
    "no pod": (service(), [], "no pod behind Service web is ready"),
    "not ready": (service(), [pod("False")], "no pod behind Service web is ready"),
    "without an address": (service(), [pod(ip=None)], "no pod behind Service web is ready"),
    "on the node's network": (service(), [pod(hostNetwork=True)], "no pod behind Service web is ready"),
    "another port": (service(ports=[{"port": 443}]), [pod()], "has no TCP port 80; it has: 443"),
    "UDP": (service(ports=[{"port": 80, "protocol": "UDP"}]), [pod()], "has no TCP port 80"),
    "a port of no container": (service(ports=[{"port": 80, "targetPort": "x"}]), [pod()], "no pod behind"),
}


@pytest.mark.parametrize("what", NOWHERE)
def test_nobody_is_asked_where_no_pod_serves(what: str) -> None:
    found, pods, says = NOWHERE[what]
    with pytest.raises(NoSuchPlace, match=says):
        probes.pod_address(found, pods, 80)


@pytest.mark.parametrize("spec", [{"selector": None}, {"type": "ExternalName", "externalName": "kubernetes.default"}])
def test_a_service_that_selects_no_pods_could_lead_anywhere_and_is_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(NoSuchPlace, match="does not select pods"):
        probes.service_selector(service(**spec))
    assert probes.service_selector(service(selector={"b": "2", "a": "1"})) == "a=1,b=2"


def test_an_ingress_is_asked_where_the_cluster_publishes_it() -> None:
    place = probes.place_of("https://shop.example.com/", NS)
    assert probes.ingress_address(place, [ingress()]) == Address(ip="203.0.113.7", port=443)
    with pytest.raises(NoSuchPlace, match="has no address yet"):
        probes.ingress_address(place, [ingress(ip=None)])
    with pytest.raises(NoSuchPlace, match="port 80 or 443, not on 6443"):
        probes.ingress_address(probes.place_of("https://shop.example.com:6443/", NS), [ingress()])


@pytest.mark.parametrize(
    "ip", ["127.0.0.1", "::1", "169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1", "::ffff:127.0.0.1", "10.0.0.1"]
)
def test_addresses_that_are_nobody_s_application_are_refused(ip: str) -> None:
    with pytest.raises(NoSuchPlace, match="no address of an application"):
        probes.refuse_own(Address(ip=ip, port=80), own={"10.0.0.1", "api.example.com"})
    probes.refuse_own(Address(ip="10.1.0.7", port=80), own={"10.0.0.1"})


@pytest_asyncio.fixture
async def application() -> AsyncIterator[tuple[int, list[str]]]:
    """An application on loopback: its port, and the hosts that it was asked for."""
    hosts: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        hosts.append(request.headers["Host"])
        code = int(request.query.get("code", "200"))
        return web.Response(status=code, headers={"Location": "/?code=200"} if code == 302 else {}, body=b"x" * 1000)

    app = web.Application()
    app.router.add_get("/{any:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1], hosts
    await runner.cleanup()


async def asked(path: str, port: int) -> int:
    place = Place(scheme="http", host="web.shop.svc", port=80, path=path, service="web")
    async with aiohttp.ClientSession() as session:
        return await ask(session, place, Address(ip="127.0.0.1", port=port), timedelta(seconds=2))


@pytest.mark.parametrize("code", [200, 204, 302, 404, 500])
async def test_the_status_code_is_all_that_counts_and_no_redirect_is_followed(
    application: tuple[int, list[str]], code: int
) -> None:
    port, hosts = application
    assert await asked(f"/healthz?code={code}", port) == code
    assert hosts == ["web.shop.svc"]


async def test_where_nobody_listens_there_is_no_answer(application: tuple[int, list[str]], unused_port: int) -> None:
    with pytest.raises(aiohttp.ClientError):
        await asked("/", unused_port)


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

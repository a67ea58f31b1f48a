"""What decides whether programs are built again, and the flags they are built with."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from local_cluster import builder, families
from local_cluster.families import FAMILIES, Family

BY_NAME = {one.name: one for one in FAMILIES}
ETCD, KUBERNETES, VELERO = (BY_NAME[name] for name in ("etcd", "kubernetes", "velero"))


def key(family: Family = ETCD, **change: str) -> str:
    arguments: Mapping[str, str] = {"go_mod": "m", "go_sum": "s", "target": "linux/amd64", **change}
    return families.cache_key(family, **arguments)


@pytest.mark.parametrize("change", [{"go_mod": "other"}, {"go_sum": "other"}, {"target": "linux/arm64"}])
def test_another_source_or_machine_is_built_anew(change: dict[str, str]) -> None:
    assert key() == key()
    assert key(**change) != key()


def test_other_flags_are_built_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key()
    monkeypatch.setitem(families.GO_ENVIRONMENT, "CGO_ENABLED", "1")
    assert key() != before


def test_kubernetes_says_its_version_from_go_mod() -> None:
    go_mod = "require (\n\tk8s.io/kubernetes v1.36.3 // indirect\n)\n"
    flags = families.link_flags(KUBERNETES, go_mod)
    assert "version.gitVersion=v1.36.3 " in flags
    assert flags.endswith("version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36")


def test_a_kubelet_is_the_same_kubernetes_as_its_api_server() -> None:
    versions = {one.name: families.version(one, (one.folder / "go.mod").read_text()) for one in FAMILIES}
    assert versions["kubelet"] == versions["kubernetes"]
    assert "version.gitVersion=v1.2.3 " in families.link_flags(BY_NAME["kubelet"], "k8s.io/kubernetes v1.2.3")


def test_a_machine_builds_what_its_kind_of_node_needs() -> None:
    common = {"etcd", "kubernetes", "velero"}
    assert {one.name for one in families.needed("kwok")} == {*common, "kwok"}
    assert {one.name for one in families.needed("real")} == set(BY_NAME) - {"kwok"}


def test_tags_reach_the_compiler() -> None:
    arguments = families.build_arguments(BY_NAME["containerd"], "")
    assert arguments[arguments.index("-tags") + 1] == "no_btrfs,no_devmapper,no_zfs"
    assert "-tags" not in families.build_arguments(ETCD, "")


def test_velero_listens_on_no_port_that_has_no_flag() -> None:
    assert "metrics/server.DefaultBindAddress=0" in families.link_flags(VELERO, "")


def test_every_familys_modules_are_here_and_pinned() -> None:
    for source in builder.sources():
        assert families.version(source.family, source.go_mod).startswith("v")
        assert families.needed_go(source.go_mod) >= (1, 26)
        assert source.go_sum


def test_a_module_that_is_not_required_is_noticed() -> None:
    with pytest.raises(ValueError, match=r"etcd: go.mod requires no"):
        families.version(ETCD, "go 1.26\n")
    assert families.version(replace(ETCD, module="a.b/c"), "require a.b/c v1.2.3\n") == "v1.2.3"


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("go version go1.27rc1 linux/amd64", (1, 27)),
        ("1.26.0", (1, 26, 0)),
        ("1.26", (1, 26)),
        ("gccgo", (0,)),
    ],
)
def test_go_versions_are_numbers(text: str, version: tuple[int, ...]) -> None:
    assert families.parse_go_version(text) == version

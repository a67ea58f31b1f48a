"""`vop local …`: the local cluster for a person at a terminal."""

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from local_cluster import builder, choices, families
from local_cluster.cluster import LocalCluster
from local_cluster.errors import LocalClusterError
from local_cluster.files import MEGABYTE, write_atomically
from local_cluster.layout import cache_root
from local_cluster.progress import Printed, spoken
from local_cluster.real_node import machine
from local_cluster.state import NodeKind
from local_cluster.status import PartStatus


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def local() -> None:
    """A real Kubernetes control plane, Velero, S3 and Temporal as processes on this machine."""


@contextmanager
def _spoken_errors() -> Iterator[None]:
    """Print a sentence instead of a traceback."""
    try:
        yield
    except LocalClusterError as error:
        raise click.ClickException(str(error)) from error


def _state_dir(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--state-dir",
        default=".local",
        show_default=True,
        envvar="VOP_LOCAL_STATE_DIR",
        help="The folder that keeps the cluster.",
    )(command)


def _cluster(state_dir: str) -> LocalCluster:
    return LocalCluster(state_dir, Printed())


@local.command()
@_state_dir
@click.option(
    "--node",
    type=click.Choice([choices.AUTO, *(kind.value for kind in NodeKind)]),
    default=choices.AUTO,
    show_default=True,
    help="real: pods are containers of this machine; kwok: they only look so; auto: as before, or what can be.",
)
@click.option("--fresh", is_flag=True, help="Wipe the cluster first: objects, backups and histories.")
@click.option("--new-ports", is_flag=True, help="Keep the data and move to other free ports.")
def up(state_dir: str, node: str, fresh: bool, new_ports: bool) -> None:
    """Start what does not run; safe to repeat, also after a crash."""
    began = time.monotonic()
    with _spoken_errors():
        cluster = _cluster(state_dir)
        cluster.up(node=node, fresh=fresh, new_ports=new_ports)
        settings = cluster.env()
    click.echo(f"ready in {spoken(time.monotonic() - began)}; Temporal UI: {settings['TEMPORAL_UI_URL']}", err=True)
    hint = "" if state_dir == ".local" else f" --state-dir {shlex.quote(state_dir)}"
    click.echo(f'use it in this shell with: eval "$(vop local env{hint})"', err=True)


@local.command()
@_state_dir
def down(state_dir: str) -> None:
    """End every process of the cluster; what it keeps stays for the next `up`."""
    with _spoken_errors():
        cluster = _cluster(state_dir)
        cluster.down()
    click.echo(f"no process of the cluster in {cluster.layout.root} runs any more", err=True)


@local.command()
@_state_dir
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(state_dir: str, as_json: bool) -> None:
    """Show every part; the exit code is 0 only if all are ready."""
    with _spoken_errors():
        parts = _cluster(state_dir).status()
    if as_json:
        click.echo(json.dumps({name: _as_json(part) for name, part in parts.items()}, indent=1))
    else:
        for part in parts.values():
            click.echo(_row(part))
        click.echo(f"memory {sum(part.memory_bytes for part in parts.values()) // MEGABYTE} MB")
    sys.exit(0 if all(part.ready for part in parts.values()) else 3)


def _row(part: PartStatus) -> str:
    if part.pid is None or part.since is None:
        return f"{part.name:<24} stopped"
    state = "ready" if part.ready else "not ready"
    numbers = " ".join(f"{name}={port}" for name, port in part.ports.items())
    age, memory = spoken(time.time() - part.since), part.memory_bytes // MEGABYTE
    return f"{part.name:<24} {state:<10} pid {part.pid:<8} {age:>8} {memory:>5} MB  {numbers}".rstrip()


def _as_json(part: PartStatus) -> dict[str, Any]:
    return {
        "pid": part.pid,
        "ready": part.ready,
        "since": part.since,
        "memory_bytes": part.memory_bytes,
        "ports": dict(part.ports),
    }


@local.command()
@_state_dir
def env(state_dir: str) -> None:
    """Print shell exports, for `eval "$(vop local env)"`."""
    with _spoken_errors():
        cluster = _cluster(state_dir)
        settings = cluster.env()
    for name, value in settings.items():
        if name != "PATH":
            click.echo(f"export {name}={shlex.quote(value)}")
    click.echo(f'export PATH={shlex.quote(str(cluster.layout.bin))}:"$PATH"')


@local.command()
@_state_dir
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on until interrupted.")
@click.option("-n", "--lines", default=200, show_default=True, help="How many lines to begin with.")
def logs(state_dir: str, name: str, follow: bool, lines: int) -> None:
    """Print the end of a part's log."""
    with _spoken_errors():
        cluster = _cluster(state_dir)
        click.echo(cluster.logs(name, lines))
    if follow:
        _follow(cluster.log_file(name))


def _follow(path: Path) -> None:
    """Print what is appended; a log that was rotated is read from its new beginning."""
    offset = path.stat().st_size if path.exists() else 0
    while True:
        size = path.stat().st_size if path.exists() else 0
        if size != offset:
            with path.open("rb") as file:
                file.seek(offset if size > offset else 0)
                click.echo(file.read().decode(errors="replace"), nl=False)
                offset = file.tell()
        time.sleep(0.2)


@local.command()
def build() -> None:
    """Build what this machine can run into the user's cache, without starting anything."""
    with _spoken_errors():
        chosen = families.needed(NodeKind.KWOK) if machine.obstacles(Path.cwd()) else families.FAMILIES
        found = builder.programs(cache_root(), Printed(), chosen)
    for name, path in found.items():
        click.echo(f"{name:<24} {path}")


@local.command()
@_state_dir
@click.argument("name")
def start(state_dir: str, name: str) -> None:
    """Start one part."""
    with _spoken_errors():
        _cluster(state_dir).start(name)


@local.command()
@_state_dir
@click.argument("name")
def stop(state_dir: str, name: str) -> None:
    """End one part, such as velero, or a program started by `run`."""
    with _spoken_errors():
        _cluster(state_dir).stop(name)


@local.command()
@_state_dir
@click.argument("name")
@click.option("--env", "settings", multiple=True, metavar="K=V", help="Add to its environment.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(state_dir: str, name: str, settings: tuple[str, ...], command: tuple[str, ...]) -> None:
    """Start COMMAND as a part of this cluster: detached, logged, ended by `down`.

    One that runs under NAME with the same command is left alone, another one is replaced.
    """
    with _spoken_errors():
        pid = _cluster(state_dir).run(name, command, dict(_pair(one) for one in settings))
    click.echo(f"{name} runs as process {pid}", err=True)


def _pair(setting: str) -> tuple[str, str]:
    name, equals, value = setting.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"{setting!r} is not K=V", param_hint="--env")
    return name, value


@local.command()
@_state_dir
@click.option("--service-account", required=True, metavar="NS/NAME", help="Whose identity.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write there instead.")
def kubeconfig(state_dir: str, service_account: str, output: Path | None) -> None:
    """Print or write a kubeconfig with the identity of a ServiceAccount, valid for a year."""
    with _spoken_errors():
        text = _cluster(state_dir).kubeconfig_for(service_account)
        if output:
            write_atomically(output, text)
        else:
            click.echo(text, nl=False)

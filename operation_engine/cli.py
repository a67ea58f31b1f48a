"""`vop`: the command line. Commands of other distributions join through the entry point group `vop.commands`."""

import asyncio
import os
import sys
from importlib.metadata import entry_points
from typing import NoReturn

import click
from temporalio.service import RPCError

from operation_engine.doctor import examine
from operation_engine.processes import Part, run_process
from operation_engine.runtime import kubernetes, temporal
from operation_engine.runtime.settings import Settings, SettingsError, load_settings
from operation_engine.runtime.telemetry import engine_version


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(engine_version(), prog_name="vop")
def main() -> None:
    """The vWorkspace operation engine: Kubernetes Operations as durable Temporal workflows."""


@main.command()
def controller() -> None:
    """Watch Operations and start their workflows."""
    run_process(_settings(), Part.CONTROLLER)


@main.command()
def worker() -> None:
    """Run workflows and activities."""
    run_process(_settings(), Part.WORKER)


@main.command()
def run() -> None:
    """Controller and worker in one process, for a small installation."""
    run_process(_settings(), Part.CONTROLLER | Part.WORKER)


@main.command()
def setup() -> None:
    """Make the Temporal namespace and its search attributes. Safe to repeat."""
    settings = _settings()
    try:
        done = asyncio.run(temporal.set_up(settings))
    except (RPCError, RuntimeError) as error:
        raise click.ClickException(f"Temporal at {settings.temporal_address} refused: {error}") from error
    click.echo(f"made: {'; '.join(done)}" if done else f"Temporal namespace {settings.temporal_namespace} is set up")
    _leave(0)


@main.command()
def doctor() -> None:
    """Check everything the engine stands on, and say what to do about each fault."""
    try:
        _leave(asyncio.run(_doctor(_settings())))
    except kubernetes.NoCredentials as error:
        raise click.ClickException(str(error)) from error


async def _doctor(settings: Settings) -> int:
    faults = 0
    async with kubernetes.connect() as api:
        async for finding in examine(settings, api):
            if finding.fault is None:
                click.echo(f"{click.style('ok   ', fg='green')} {finding.subject}")
                continue
            faults += 1
            click.echo(f"{click.style('fault', fg='red')} {finding.subject}: {finding.fault}")
            click.echo(f"      to do: {finding.advice}")
    return 1 if faults else 0


def _leave(code: int) -> NoReturn:
    """End the process now: after a Temporal client the interpreter's own exit sometimes aborts (SIGABRT)."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _settings() -> Settings:
    try:
        return load_settings()
    except SettingsError as error:
        raise click.ClickException(str(error)) from error


def _join(group: click.Group) -> None:
    for entry in entry_points(group="vop.commands"):
        group.add_command(entry.load(), entry.name)


_join(main)

if __name__ == "__main__":
    main()

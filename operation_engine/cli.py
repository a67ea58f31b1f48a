"""`vop`: the command line. Commands of other distributions join through the entry point group `vop.commands`.

Each command imports what it needs when it runs: the engine's imports take two seconds of a processor, and `vop
local` wants none of them.
"""

import asyncio
import os
import sys
from importlib.metadata import entry_points, version
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from operation_engine.runtime.settings import Settings


class Commands(click.Group):
    """Our own commands, and those that others bring."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        brought = {entry.name for entry in entry_points(group="vop.commands")}
        return sorted({*super().list_commands(ctx), *brought})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        brought = entry_points(group="vop.commands", name=cmd_name)
        command: click.Command | None = next((entry.load() for entry in brought), None)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("vworkspace-operation-engine"), prog_name="vop")
def main() -> None:
    """The vWorkspace operation engine: Kubernetes Operations as durable Temporal workflows."""


@main.command()
def controller() -> None:
    """Watch Operations and start their workflows."""
    from operation_engine.processes import Part, run_process

    run_process(_settings(), Part.CONTROLLER)


@main.command()
def worker() -> None:
    """Run workflows and activities."""
    from operation_engine.processes import Part, run_process

    run_process(_settings(), Part.WORKER)


@main.command()
def run() -> None:
    """Controller and worker in one process, for a small installation."""
    from operation_engine.processes import Part, run_process

    run_process(_settings(), Part.CONTROLLER | Part.WORKER)


@main.command()
def setup() -> None:
    """Make the Temporal namespace and its search attributes. Safe to repeat."""
    from temporalio.service import RPCError

    from operation_engine.runtime import temporal

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
    from operation_engine.runtime import kubernetes

    try:
        _leave(asyncio.run(_doctor(_settings())))
    except kubernetes.NoCredentials as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.argument("operation", metavar="NAMESPACE/NAME")
def retry(operation: str) -> None:
    """Try again after a failed attempt that waits for a decision."""
    _decide("retry", operation)


@main.command()
@click.argument("operation", metavar="NAMESPACE/NAME")
def abort(operation: str) -> None:
    """Give up after a failed attempt that waits for a decision."""
    _decide("abort", operation)


def _decide(verb: str, operation: str) -> None:
    from temporalio.service import RPCError

    from operation_engine.deciding import Undecided
    from operation_engine.runtime import kubernetes

    settings = _settings()
    try:
        click.echo(asyncio.run(_decided(settings, verb, operation)))
    except (kubernetes.NoCredentials, Undecided) as error:
        raise click.ClickException(str(error)) from error
    except (RPCError, RuntimeError) as error:
        raise click.ClickException(f"Temporal at {settings.temporal_address} does not answer: {error}") from error
    _leave(0)


async def _decided(settings: "Settings", verb: str, operation: str) -> str:
    from operation_engine.deciding import decide
    from operation_engine.domain.decisions import Verb
    from operation_engine.runtime import kubernetes, temporal

    async with kubernetes.connect() as api:
        return await decide(api, await temporal.connect(settings), Verb(verb), operation)


async def _doctor(settings: "Settings") -> int:
    from operation_engine.doctor import examine
    from operation_engine.runtime import kubernetes

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


def _settings() -> "Settings":
    from operation_engine.runtime.settings import SettingsError, load_settings

    try:
        return load_settings()
    except SettingsError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()

"""`vop`: the command line. Commands of other distributions join through the entry point group `vop.commands`.

Each command imports what it needs when it runs: the engine's imports take two seconds of a processor, and `vop
local` wants none of them.
"""

import asyncio
import os
import sys
from importlib.metadata import entry_points, version
from pathlib import Path
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
@click.option("--skip", metavar="STEP", help="Go on without this step, such as SafetyBackup, where it failed.")
def retry(operation: str, skip: str | None) -> None:
    """Try again after a failed attempt that waits for a decision."""
    _decide("retry", operation, skip)


@main.command()
@click.argument("operation", metavar="NAMESPACE/NAME")
def abort(operation: str) -> None:
    """Give up after a failed attempt that waits for a decision."""
    _decide("abort", operation)


@main.command()
@click.argument("operation", metavar="NAMESPACE/NAME", required=False)
@click.option(
    "-f",
    "--file",
    "path",
    type=click.Path(path_type=Path),
    help="An Operation that is not applied yet; the API server checks it and keeps nothing.",
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Default: text.")
def plan(operation: str | None, path: Path | None, output: str) -> None:
    """Say what an Operation would do, without doing it.

    The steps that would run, the objects that would be created, changed, deleted or left as they are, and what
    nobody can tell beforehand. It is made with your own rights on the cluster, by the settings (VOP_...) of this
    shell: give them as the engine has them. Of all that could be written only Velero's DownloadRequests are.

    Exit code 3: the Operation would not go through, and the plan says why.
    """
    from operation_engine.planning import NoPlan
    from operation_engine.runtime import kubernetes

    if (operation is None) == (path is None):
        raise click.UsageError("Name one Operation: NAMESPACE/NAME, or -f FILE.")
    try:
        text, is_refused = asyncio.run(_planned(_settings(), operation, path, output))
    except (kubernetes.NoCredentials, NoPlan) as error:
        raise click.ClickException(str(error)) from error
    click.echo(text)
    _leave(3 if is_refused else 0)


async def _planned(settings: "Settings", operation: str | None, path: Path | None, output: str) -> tuple[str, bool]:
    from operation_engine import planning
    from operation_engine.domain.plans import render
    from operation_engine.runtime import kubernetes, temporal

    async with kubernetes.connect() as api:
        wanted = await planning.from_file(api, path) if path else await planning.existing(api, operation or "")
        client = await temporal.connect(settings, lazily=True)
        found = await planning.plan(api, client, settings, wanted)
    text = found.model_dump_json(by_alias=True, exclude_none=True, indent=2) if output == "json" else render(found)
    return text, found.is_refused


def _decide(verb: str, operation: str, skip: str | None = None) -> None:
    from temporalio.service import RPCError

    from operation_engine.deciding import Undecided
    from operation_engine.runtime import kubernetes

    settings = _settings()
    try:
        click.echo(asyncio.run(_decided(settings, verb, operation, skip)))
    except (kubernetes.NoCredentials, Undecided) as error:
        raise click.ClickException(str(error)) from error
    except (RPCError, RuntimeError) as error:
        raise click.ClickException(f"Temporal at {settings.temporal_address} does not answer: {error}") from error
    _leave(0)


async def _decided(settings: "Settings", verb: str, operation: str, skip: str | None) -> str:
    from operation_engine.deciding import decide
    from operation_engine.domain.decisions import Verb
    from operation_engine.runtime import kubernetes, temporal

    async with kubernetes.connect() as api:
        return await decide(api, await temporal.connect(settings), Verb(verb), operation, skip)


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

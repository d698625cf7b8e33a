"""The typer application: every command that is not on a script's way."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from tensordeck.cli import (
    backup_commands,
    env_command,
    exec_command,
    jobs_command,
    keys,
    open_command,
    serve_command,
    sign_in,
    transfer,
)

__all__ = ["application", "run"]

application = typer.Typer(
    name="tensordeck",
    help="The open, self-hosted home of TensorBoard experiments: code for Vertex AI TensorBoard "
    "runs against your own server, unchanged.",
    epilog="Start with `tensordeck serve`, then `tensordeck exec -- python your_script.py`.",
    no_args_is_help=True,
    rich_markup_mode=None,  # rich costs half a second, and --help should be instant
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        from tensordeck import __version__

        print(f"tensordeck {__version__}")
        raise typer.Exit


@application.callback()
def _tensordeck(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


# `cli.main` runs these three without this module; here they are for --help and for completion.
_AS_GIVEN = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def _serve(context: typer.Context) -> None:
    raise typer.Exit(serve_command.run(context.args))


def _exec(context: typer.Context) -> None:
    raise typer.Exit(exec_command.run(context.args))


def _env(context: typer.Context) -> None:
    raise typer.Exit(env_command.run(context.args))


application.command("serve", help=serve_command.SUMMARY, context_settings=_AS_GIVEN)(_serve)
application.command("exec", help=exec_command.SUMMARY, context_settings=_AS_GIVEN)(_exec)
application.command("env", help=env_command.SUMMARY, context_settings=_AS_GIVEN)(_env)
application.command("open")(open_command.open_resource)
application.command("upload")(transfer.upload)
application.command("export")(transfer.export)
application.add_typer(jobs_command.application, name="jobs")
application.command("backup")(backup_commands.backup)
application.command("restore")(backup_commands.restore)
application.command("verify")(backup_commands.verify)
application.command("migrate")(backup_commands.migrate)
application.command("sign-in")(sign_in.sign_in)
application.add_typer(keys.application, name="keys")


def run(arguments: Sequence[str]) -> int:
    """Runs a command line; returns its exit status. Raises as the command does."""
    try:
        application(list(arguments), prog_name="tensordeck")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    return 0

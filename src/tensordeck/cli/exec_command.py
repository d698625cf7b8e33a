"""`tensordeck exec`: runs a program against our server, unchanged."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from tensordeck.cli import target_options
from tensordeck.cli.endpoint import require_answer
from tensordeck.errors import FailedPrecondition
from tensordeck.redirect.environment import REMOVED, child_environment

__all__ = ["parser", "run"]

SUMMARY: Final = "Run a cloud program against your server, unchanged."


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    result = target_options.parser(
        "exec",
        "[OPTIONS] [--] COMMAND [ARGUMENT ...]",
        SUMMARY,
        "examples:\n"
        "  tensordeck exec -- python create_tensorboard.py\n"
        "  tensordeck exec -- gcloud ai tensorboards list --region=us-central1\n"
        "\n"
        "The program replaces this one: its exit status and signals are its own. Where gcloud is\n"
        "not installed, a built-in command answers `gcloud ai tensorboards` and `custom-jobs`.",
    )
    result.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return result


def run(arguments: Sequence[str]) -> int:
    """Runs the program.

    Returns:
        The program's status, on systems that can't replace a process; elsewhere not at all.

    Raises:
        TensordeckError: If no server answers or the program can't be started.
    """
    options_parser = parser()
    options = options_parser.parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        options_parser.error("say what to run, e.g. tensordeck exec -- python script.py")
    endpoint = target_options.endpoint_of(options)
    require_answer(endpoint)
    environ = {name: value for name, value in os.environ.items() if name not in REMOVED}
    environ |= child_environment(endpoint)
    try:
        return _start(command, environ)
    except FileNotFoundError as error:
        if command[0] == "gcloud":
            from tensordeck.cli import gcloud

            return gcloud.main(endpoint, environ, command[1:])
        raise FailedPrecondition(f"{command[0]}: no such program.") from error
    except OSError as error:
        raise FailedPrecondition(f"{command[0]} can't be started: {error.strerror}.") from error


def _start(command: list[str], environ: dict[str, str]) -> int:
    if sys.platform == "win32":
        # exec on Windows starts a second process and lets the shell believe we ended.
        import subprocess

        return subprocess.run(command, env=environ, check=False).returncode
    sys.stdout.flush()
    os.execvpe(command[0], command, environ)  # noqa: S606 -- running it is the command's purpose
    raise AssertionError

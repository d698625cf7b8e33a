"""`tensordeck env`: prints the environment that `exec` gives, for a shell to take over."""

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tensordeck.cli import target_options
from tensordeck.cli.endpoint import require_answer
from tensordeck.redirect.environment import REMOVED, child_environment

__all__ = ["FORMATS", "parser", "run"]

SUMMARY: Final = "Print the environment of `exec`, for a shell."


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    result = target_options.parser(
        "env",
        "[OPTIONS]",
        SUMMARY,
        'examples:\n  eval "$(tensordeck env)"\n  tensordeck env --format fish | source',
    )
    result.add_argument(
        "--format",
        choices=tuple(FORMATS),
        default="sh",
        help="who reads it [default: sh, for bash and zsh too]",
    )
    return result


def run(arguments: Sequence[str]) -> int:
    """Prints the variables.

    Raises:
        TensordeckError: If no server answers.
    """
    options = parser().parse_args(arguments)
    endpoint = target_options.endpoint_of(options)
    require_answer(endpoint)
    sys.stdout.write(FORMATS[options.format](child_environment(endpoint)))
    sys.stdout.flush()
    return 0


def _sh(variables: Mapping[str, str]) -> str:
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join([*lines, f"unset {' '.join(REMOVED)}", ""])


def _fish(variables: Mapping[str, str]) -> str:
    def quoted(value: str) -> str:
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"

    lines = [f"set -gx {name} {quoted(value)}" for name, value in variables.items()]
    return "\n".join([*lines, *(f"set -e {name}" for name in REMOVED), ""])


def _powershell(variables: Mapping[str, str]) -> str:
    lines = [
        "$env:" + name + " = '" + value.replace("'", "''") + "'"
        for name, value in variables.items()
    ]
    removals = [f"Remove-Item Env:{name} -ErrorAction SilentlyContinue" for name in REMOVED]
    return "\n".join([*lines, *removals, ""])


def _json(variables: Mapping[str, str]) -> str:
    return json.dumps(variables, indent=2) + "\n"


FORMATS: Final[dict[str, Callable[[Mapping[str, str]], str]]] = {
    "sh": _sh,
    "fish": _fish,
    "powershell": _powershell,
    "json": _json,
}

"""The `tensordeck` command: its entry point, and what all commands share about failing.

`exec` and `env` stand before every script that a user starts, and `serve` before every answer.
They are plain argparse over the standard library and add some 25 ms; the other commands are a
typer application, whose import alone costs five times that.
"""

import sys
from collections.abc import Sequence
from typing import Final

from tensordeck.errors import TensordeckError

__all__ = ["main"]

FAILED: Final = 1
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells report it


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line.

    Args:
        arguments: What follows the program's name; `sys.argv` when None.

    Returns:
        The exit status: 0, 1 for a failure that was told in one line on standard error, 2 for
        a command line that can't be understood. `exec` does not return where the system can
        replace the process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["exec"]:
            from tensordeck.cli import exec_command

            return exec_command.run(given[1:])
        if given[:1] == ["env"]:
            from tensordeck.cli import env_command

            return env_command.run(given[1:])
        if given[:1] == ["serve"]:
            from tensordeck.cli import serve_command

            return serve_command.run(given[1:])
        from tensordeck.cli.app import run

        return run(given)
    except TensordeckError as error:
        print(f"tensordeck: {error.message}", file=sys.stderr)
        return FAILED
    except SystemExit as end:  # argparse's, for --help and for what it can't understand
        return int(end.code or 0)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output left (`tensordeck env | head`); nothing is wrong. Closing
        # the stream here keeps the interpreter from complaining about it at exit.
        sys.stderr.close()
        return FAILED

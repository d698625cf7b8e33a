"""Brings the help texts in docs/cli.md up to date: `python tools/cli_reference.py`."""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import typer

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
BLOCK = re.compile(r"<!-- help: ([\w -]+) -->\n.*?<!-- end -->", re.DOTALL)


def help_of(command: str) -> str:
    """What a command prints for `--help`, 100 columns wide."""
    from tensordeck.cli import main  # noqa: PLC0415 -- reads COLUMNS when it is imported

    out = io.StringIO()
    with (
        patch.dict(os.environ, {"COLUMNS": "100", "NO_COLOR": "1"}),
        contextlib.redirect_stdout(out),
        contextlib.suppress(SystemExit),
    ):
        main([*command.split()[1:], "--help"])
    return "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines())


def commands() -> Iterator[str]:
    """Every command and group, as one types it."""
    from tensordeck.cli.app import application  # noqa: PLC0415 -- as above

    def walk(name: str, command: object) -> Iterator[str]:
        yield name
        for child, below in getattr(command, "commands", {}).items():
            yield from walk(f"{name} {child}", below)

    yield from walk("tensordeck", typer.main.get_command(application))


def refreshed(page: str) -> str:
    """The page with present help texts."""
    return BLOCK.sub(
        lambda block: f"<!-- help: {block[1]} -->\n```text\n{help_of(block[1])}\n```\n<!-- end -->",
        page,
    )


if __name__ == "__main__":
    PAGE.write_text(refreshed(PAGE.read_text()))

"""What the commands about jobs have in common: which job, and how to print."""

from enum import StrEnum
from typing import Annotated

import typer

__all__ = ["AsFormat", "Format", "JobId"]


class Format(StrEnum):
    """How a command prints."""

    TEXT = "text"
    JSON = "json"


JobId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The job's number or full name, or its training pipeline's, or the address of "
        "either that the client printed.",
    ),
]
AsFormat = Annotated[Format, typer.Option("--format", help="For people, or for programs.")]

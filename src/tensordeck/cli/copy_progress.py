"""How a long copy looks on a terminal."""

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tensordeck.moving.progress import Progress, Step, silent

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

__all__ = ["in_bytes", "shown_progress"]

_UNITS = ("B", "kB", "MB", "GB", "TB")


@contextlib.contextmanager
def shown_progress() -> Iterator[Progress]:
    """Shows a bar for each thing that is done; says nothing into a file or a pipe."""
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    with Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows, {task.fields[blobs]} of objects"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    ) as bar:
        yield _Bars(bar)


class _Bars:
    """A bar for each thing that is done."""

    def __init__(self, bar: "Bar") -> None:
        self._bar = bar
        self._doing = ""
        self._task: TaskID | None = None

    def __call__(self, step: Step) -> None:
        if self._task is None or step.doing != self._doing:
            self._doing = step.doing
            self._task = self._bar.add_task(step.doing, total=None, blobs="")
        self._bar.update(
            self._task,
            completed=step.done,
            total=step.total or None,
            blobs=in_bytes(step.blob_bytes),
        )


def in_bytes(size: int) -> str:
    """A number of bytes for people: 12.3 MB."""
    value = float(size)
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("the last unit returns")

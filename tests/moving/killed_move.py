"""A move in a process of its own that kills itself, as an out-of-memory killer would.

Arguments: the move, its source, its target, what it does when it is to be killed (empty for
anything), and at which step of that.
"""

import os
import signal
import sys
from pathlib import Path

from tensordeck.moving import backup, migration
from tensordeck.moving.progress import Step
from tensordeck.settings import Settings

move, source, target, doing, steps = sys.argv[1:]
left = [int(steps)]


def place(text: str) -> Settings:
    data_dir, _, database_url = text.partition("|")
    return Settings(data_dir=Path(data_dir), database_url=database_url)


def progress(step: Step) -> None:
    left[0] -= doing in ("", step.doing)
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)


if move == "migrate":
    migration.migrate(place(source), place(target), progress=progress)
elif move == "backup":
    backup.back_up(place(source), target, progress=progress)
else:
    backup.restore(source, place(target), progress=progress)

"""Positions: how far each event file was uploaded, kept between two uploads.

A small JSON file for each pair of log directory and experiment. A position counts only while the
experiment and the run that it was uploaded to still exist: both are known by their time of
creation, so that deleting one on the server makes the next upload send everything again.
"""

import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Self

from tensordeck.whole_file import write_whole

__all__ = ["FilePosition", "Positions", "default_folder"]

log = logging.getLogger(__name__)

_VERSION: Final = 1


def default_folder() -> Path:
    """Where positions are kept: the user's state folder (XDG base directories)."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "tensordeck" / "uploads"


@dataclass(frozen=True, slots=True)
class FilePosition:
    """What was uploaded of one event file.

    Attributes:
        run: The run's full name on the server.
        position: The offset behind the last record that the server has, in bytes.
        head: A checksum of the file's first bytes, None while it has fewer.
    """

    run: str
    position: int
    head: int | None


@dataclass(slots=True)
class Positions:
    """The positions of one upload.

    Attributes:
        path: The file that holds them.
        experiment_created: When the experiment was created, as the server says it.
        run_created: The same for each run, by its full name.
        files: By path relative to the log directory.
    """

    path: Path
    experiment_created: str = ""
    run_created: dict[str, str] = field(default_factory=dict)
    files: dict[str, FilePosition] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path, logdir: str, url: str, experiment: str) -> Self:
        """Reads the positions of an earlier upload; empty ones when there are none.

        Args:
            folder: Where such files are kept.
            logdir: The log directory's own key.
            url: The server.
            experiment: The experiment's full name.
        """
        key = f"{logdir}\n{url}\n{experiment}"
        path = folder / f"{hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()[:32]}.json"
        try:
            stored = json.loads(path.read_text())
            if stored["version"] != _VERSION:
                return cls(path)
            files = {name: FilePosition(**item) for name, item in stored["files"].items()}
            return cls(path, stored["experiment_created"], stored["run_created"], files)
        except FileNotFoundError:
            return cls(path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s can't be read (%s): everything is uploaded again.", path, error)
            return cls(path)

    def keep_only(self, experiment_created: str, run_created: dict[str, str]) -> None:
        """Forgets what was uploaded to an experiment or to runs that are no longer there."""
        if self.experiment_created != experiment_created:
            self.files.clear()
        self.experiment_created = experiment_created
        alive = {run for run, time in run_created.items() if self.run_created.get(run) == time}
        self.files = {name: file for name, file in self.files.items() if file.run in alive}
        self.run_created = dict(run_created)

    def save(self) -> None:
        """Writes the file, whole or not at all.

        Positions only save work: where they can't be kept, the upload goes on with a warning.
        """
        content = {
            "version": _VERSION,
            "experiment_created": self.experiment_created,
            "run_created": self.run_created,
            "files": {name: asdict(file) for name, file in self.files.items()},
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, json.dumps(content).encode())
        except OSError as error:
            log.warning("Positions can't be kept in %s: %s.", self.path, error)

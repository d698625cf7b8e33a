"""What the launcher on a node is told of its replica: a file in the attempt's folder."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from tensordeck.jobs.process.json_file import write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One replica, ready to be run.

    Attributes:
        name: The replica's.
        folder: The attempt's folder.
        module: Python module to run, or empty.
        command: What to run if there is no module.
        args: Arguments after either.
        packages: The user's packages, as files.
        env: Its variables, the image's included.
        files: What else must be there on the node.
        grace_seconds: Between SIGTERM and SIGKILL.
        addresses: The addresses that the job's variables give its replicas, by their names, the
            primary's first; empty if it is alone.
    """

    name: str
    folder: str
    module: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    packages: tuple[str, ...]
    env: Mapping[str, str]
    files: tuple[str, ...]
    grace_seconds: float
    addresses: Mapping[str, str]

    @property
    def replica_folder(self) -> Path:
        """The replica's own folder."""
        return Path(self.folder) / "replicas" / self.name

    def write(self) -> Path:
        """Writes the file, for nobody but us: it holds the replica's variables."""
        self.replica_folder.mkdir(parents=True, exist_ok=True)
        write_json(self.replica_folder / "task.json", asdict(self))
        return self.replica_folder / "task.json"

    @classmethod
    def read(cls, file: Path) -> Self:
        """Reads what `write` has written."""
        document = json.loads(file.read_text())
        lists = {key: tuple(document[key]) for key in ("command", "args", "packages", "files")}
        return cls(**{**document, **lists})


@dataclass(frozen=True, slots=True)
class End:
    """How the launcher says a replica has ended.

    Attributes:
        exit_code: What the program ended with; None if it was never begun.
        reason: Why not, then.
    """

    exit_code: int | None
    reason: str = ""

    def write(self, folder: Path) -> None:
        """Leaves word in the replica's own folder."""
        write_json(folder / "end.json", asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """What `write` left; None if nothing."""
        try:
            return cls(**json.loads((folder / "end.json").read_text()))
        except FileNotFoundError:
            return None


__all__ = ["End", "Task"]

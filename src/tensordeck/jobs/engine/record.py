"""What is asked for and known of an attempt that an engine runs, in the attempt's folder.

launch.json          what to run; written first, so that any server can go on from there
replicas/NAME.json   how a replica is, as far as was seen, and since when it runs
cancel               the job is to end
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tensordeck.jobs.executor import Launch, Machine, Phase, Replica, ReplicaStatus
from tensordeck.jobs.process.json_file import write_json


@dataclass(frozen=True, slots=True)
class Seen:
    """How a replica was when somebody looked last.

    Attributes:
        status: How.
        running_since: When it was first seen running, in seconds since 1970; 0 if never.
    """

    status: ReplicaStatus
    running_since: float = 0.0


class AttemptRecord:
    """The record of one attempt.

    Attributes:
        path: Where it is; nothing in there is the job's.
    """

    def __init__(self, folder: Path) -> None:
        """Reads nothing yet.

        Args:
            folder: The attempt's folder.
        """
        self.path = folder / "engine"
        self._launch = self.path / "launch.json"
        self._cancel = self.path / "cancel"

    def write_launch(self, launch: Launch) -> None:
        """Keeps a launch, for nobody but us: it holds the replicas' variables."""
        document = asdict(launch)
        document["folder"] = str(launch.folder)
        for replica in document["replicas"]:
            replica["packages"] = [str(path) for path in replica["packages"]]
        self.path.mkdir(exist_ok=True)
        write_json(self._launch, document)

    def launch(self) -> Launch | None:
        """The launch; None if none was kept, or its folder is gone."""
        try:
            document = json.loads(self._launch.read_text())
        except FileNotFoundError:
            return None
        return Launch(
            **{
                **document,
                "folder": Path(document["folder"]),
                "replicas": tuple(map(_replica, document["replicas"])),
            }
        )

    def write_seen(self, seen: Seen) -> None:
        """Keeps how a replica is."""
        document = {**asdict(seen.status), "running_since": seen.running_since}
        write_json(self._seen(seen.status.name), document)

    def seen(self, name: str) -> Seen | None:
        """How a replica was; None if nobody has looked yet."""
        try:
            document = json.loads(self._seen(name).read_text())
        except FileNotFoundError:
            return None
        running_since = document.pop("running_since")
        status = ReplicaStatus(**{**document, "phase": Phase(document["phase"])})
        return Seen(status, running_since)

    def request_cancel(self) -> None:
        """Asks for the end of all replicas."""
        self._cancel.touch()

    @property
    def cancel_requested(self) -> bool:
        """Whether somebody asked."""
        return self._cancel.exists()

    def _seen(self, name: str) -> Path:
        return self.path / f"{name}.json"


def _replica(document: Mapping[str, Any]) -> Replica:
    return Replica(
        **{
            **document,
            "machine": Machine(**document["machine"]),
            "packages": tuple(map(Path, document["packages"])),
            "command": tuple(document["command"]),
            "args": tuple(document["args"]),
        }
    )


__all__ = ["AttemptRecord", "Seen"]

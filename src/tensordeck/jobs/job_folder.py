"""What lies where in the folder of a job's attempt."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tensordeck.jobs.bucket_paths import BucketPaths
from tensordeck.jobs.executor import Handle
from tensordeck.whole_file import write_whole

__all__ = ["NOTE", "JobFolder", "JobsFolder", "Note"]


NOTE: Final = "attempt.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What was started in a folder.

    Attributes:
        job: The job's full name.
        executor: What runs it.
        handle: By what the executor finds it again; empty as long as nothing was started, and
            when it was ended for good.
    """

    job: str
    executor: str
    handle: Handle


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The folder of one attempt: `<data directory>/jobs/<job id>/<attempt>`.

    Attributes:
        path: The folder itself.
    """

    path: Path

    @property
    def buckets(self) -> BucketPaths:
        """Cloud Storage as the job sees it."""
        return BucketPaths(self.path / "gcs")

    @property
    def key(self) -> Path:
        """The key file of the job's service account."""
        return self.path / "service-account.json"

    @property
    def packages(self) -> Path:
        """The packages that the replicas install."""
        return self.path / "packages"

    def home(self, replica: str) -> Path:
        """A replica's `HOME`, e.g. that of `workerpool0-0`."""
        return self.path / "home" / replica

    @property
    def gcloud(self) -> Path:
        """The job's gcloud configuration."""
        return self.path / "gcloud"

    @property
    def event_files(self) -> Path:
        """`AIP_TENSORBOARD_LOG_DIR` of a job without an output directory."""
        return self.path / "tensorboard"

    @property
    def system_metrics(self) -> Path:
        """Event files of what the replicas use, one folder a replica."""
        return self.path / "system"

    @property
    def positions(self) -> Path:
        """How far the event files have been uploaded."""
        return self.path / "positions"

    @property
    def logs(self) -> Path:
        """What the replicas printed."""
        return self.path / "logs"

    def note(self) -> "Note | None":
        """What was started here, as far as anybody left word of it."""
        try:
            return Note(**json.loads((self.path / NOTE).read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def leave_note(self, note: "Note") -> None:
        """Leaves word of what was started, for a server that knows only the folder."""
        write_whole(self.path / NOTE, json.dumps(asdict(note)).encode())


class JobsFolder:
    """All folders of jobs in a data directory.

    Args:
        data_dir: The data directory.
    """

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir.absolute() / "jobs"

    def attempt(self, job_id: str, attempt: int) -> JobFolder:
        """The folder of an attempt, which may not exist yet."""
        return JobFolder(self.path / job_id / str(attempt))

    def place(self) -> str:
        """A name for this data directory that no other one has, made at the first call.

        A job's processes are where its folder is: who holds this data directory may take them up
        again, whichever process or host that is.
        """
        file = self.path / "place"
        if not file.is_file():
            self.path.mkdir(parents=True, exist_ok=True)
            write_whole(file, uuid.uuid4().hex.encode(), keep=True)
        return file.read_text()

    def attempts(self) -> Iterator[tuple[str, int, JobFolder]]:
        """Job id, attempt and folder of all that is here."""
        if not self.path.is_dir():
            return
        for job in sorted(self.path.iterdir()):
            if job.is_dir() and job.name.isdecimal():
                for attempt in sorted(job.iterdir()):
                    if attempt.name.isdecimal():
                        yield job.name, int(attempt.name), JobFolder(attempt)

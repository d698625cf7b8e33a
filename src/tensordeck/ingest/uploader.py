"""Uploading log directories: once, or for as long as it grows.

Like the official `upload_tb_log` and `start_upload_tb_log`, with what users miss there: no
TensorFlow, no size limit on tensors, every plugin, several requests at a time, retries while the
server is away, and a second upload that sends only what is new.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from tensordeck.errors import InvalidArgument
from tensordeck.ingest.bucket_folder import BucketFolder
from tensordeck.ingest.connection import Connection, Target
from tensordeck.ingest.event_files import EventFile
from tensordeck.ingest.experiment import Experiment
from tensordeck.ingest.log_directory import FoundFile, LogDirectory, LogFolder
from tensordeck.ingest.positions import FilePosition, Positions, default_folder
from tensordeck.ingest.profiles import ProfileFile
from tensordeck.ingest.summaries import Point, Series, SummaryDecoder
from tensordeck.ingest.warn import Warn, warn_in_log
from tensordeck.ingest.write_requests import Columns, size_of

__all__ = ["Progress", "Target", "upload"]

_POINTS_PER_BATCH: Final = 50_000
_BYTES_PER_BATCH: Final = 32 << 20
_FOREVER: Final = 365 * 86_400.0
_LOOKING_SHARE: Final = 9.0
"""Looking for growth takes a tenth of the time at most, however many files there are."""
_SAVING_SHARE: Final = 19.0
"""Saving positions takes a twentieth."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an upload is.

    Attributes:
        experiment: The experiment's full name.
        files: Event files and files of profiles found.
        runs: Runs that this upload has written to.
        series: Series that it has written to.
        points: Points that the server has acknowledged; a step that was logged twice counts once.
    """

    experiment: str
    files: int = 0
    runs: int = 0
    series: int = 0
    points: int = 0


def upload(
    logdir: Path | str | Sequence[LogDirectory],
    experiment: str,
    target: Target,
    *,
    follow: bool = False,
    progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
    abandon: threading.Event | None = None,
    poll_seconds: float = 1.0,
    patience: float = 60.0,
    positions: Path | None = None,
    again: bool = False,
    warn: Warn = warn_in_log,
) -> Progress:
    """Uploads the event files below a directory, or several, into an experiment.

    Each directory with event files is a run. Points that an earlier upload brought are not sent
    again, unless their run or experiment was deleted in between.

    Args:
        logdir: The log directory or directories; `gs://BUCKET/FOLDER` is one on the server.
        experiment: The experiment's id; it is made if it does not exist.
        target: The server and the instance.
        follow: Go on, looking for growth, until `stop` is set. The directory may then appear
            later, and the server may be away for any time.
        progress: Called after each batch that the server has acknowledged.
        stop: Ends following: what is there is still uploaded, once.
        abandon: Ends waiting for a server that is away; the same event as `stop` unless given.
        poll_seconds: How often to look for growth.
        patience: How long to go on trying while the server is away, when not following (any more).
        positions: Folder that remembers how far uploads went; default: the user's state folder.
        again: Send everything, whatever an earlier upload brought.
        warn: Told which files and values had to be skipped.

    Returns:
        What was done in all.

    Raises:
        tensordeck.errors.InvalidArgument: If the directory does not exist or an argument is bad.
        tensordeck.errors.TensordeckError: What the server answered.
    """
    if not target.tensorboard:
        raise InvalidArgument("The target names no tensorboard instance.")
    stop = stop or threading.Event()
    with Connection(target, patience=patience, stop=abandon or stop) as connection:
        directories = _folders(logdir, connection)
        for directory in directories:
            if not follow and not directory.exists():
                raise InvalidArgument(f"{directory} is not a directory.")
        # Opening it tells of mistakes at once.
        opened = Experiment(connection, target.tensorboard, experiment, warn)
        connection.patience = _FOREVER if follow else patience
        told = progress or (lambda _: None)
        touched: dict[str, set[str]] = {}
        uploads: list[_Upload] = []

        def so_far() -> Progress:
            return Progress(
                opened.name,
                files=sum(part.files for part in uploads),
                runs=len(touched),
                series=sum(map(len, touched.values())),
                points=sum(part.points for part in uploads),
            )

        for directory in directories:
            known = Positions.load(
                positions or default_folder(), directory.key, target.url, opened.name
            )
            known.keep_only(
                "" if again else opened.created,
                {run.name: run.created for run in opened.runs.values()},
            )
            known.experiment_created = opened.created
            uploads.append(_Upload(directory, opened, known, touched, lambda: told(so_far()), warn))
        with ThreadPoolExecutor(1) as sender:

            def look() -> float:
                """Uploads what is new; returns how long to wait, at least, to the next time."""
                for part in uploads:
                    part.round(sender)
                return _LOOKING_SHARE * sum(part.looking_seconds for part in uploads)

            try:
                pause = look()
                while follow and not stop.wait(max(poll_seconds, pause)):
                    pause = look()
                if follow:
                    connection.patience = patience
                    look()
            finally:
                for part in uploads:
                    part.save()
        return so_far()


def _folders(
    logdir: Path | str | Sequence[LogDirectory], connection: Connection
) -> Sequence[LogFolder]:
    if isinstance(logdir, str) and logdir.startswith(BucketFolder.SCHEME):
        return [BucketFolder(logdir, connection)]
    return [LogDirectory(Path(logdir))] if isinstance(logdir, str | Path) else logdir


class _Batch:
    """Points on their way, and the positions that count once they have arrived."""

    def __init__(self) -> None:
        self.points: dict[tuple[str, Series], Columns] = {}
        self.count = 0
        self.bytes = 0
        self.marks: dict[str, tuple[str, int, int | None]] = {}

    def add(self, run: str, point: Point) -> None:
        """Takes a point; of a repeated step the last one counts."""
        columns = self.points.setdefault((run, point.series), {})
        value = point.value
        if isinstance(value, tuple) and math.isnan(point.wall_time) and point.step in columns:
            # Files of a profile's session gather in its one point.
            value = (*cast("tuple[bytes, ...]", columns[point.step][1]), *value)
        columns[point.step] = (point.wall_time, value)
        self.count += 1
        self.bytes += size_of(point.value)

    @property
    def is_full(self) -> bool:
        return self.count >= _POINTS_PER_BATCH or self.bytes >= _BYTES_PER_BATCH


class _Upload:
    """One directory's part in a call of `upload`.

    Batches are sent one after the other, so that of a repeated step the last one wins; while one
    is under way, the next is read.

    Attributes:
        files: Files found at the last look.
        looking_seconds: How long that took.
        points: Points that the server has acknowledged.
    """

    def __init__(
        self,
        directory: LogFolder,
        experiment: Experiment,
        positions: Positions,
        touched: dict[str, set[str]],
        tell: Callable[[], None],
        warn: Warn,
    ) -> None:
        self._directory = directory
        self._experiment = experiment
        self._positions = positions
        self._touched = touched
        self._tell = tell
        self._warn = warn
        self._files: dict[str, EventFile | ProfileFile] = {}
        self._decoders: dict[str, SummaryDecoder] = {}
        self._under_way: tuple[Future[None], _Batch] | None = None
        self._is_unsaved = False
        self._save_not_before = 0.0
        self.files = 0
        self.looking_seconds = 0.0
        self.points = 0

    def round(self, sender: ThreadPoolExecutor) -> None:
        """Uploads what is new, and returns when the server has it."""
        batch = _Batch()
        for run, name, file in self._grown():
            for point in file.points(self._decoder(run)):
                batch.add(run, point)
                if batch.is_full:
                    batch.marks[name] = (run, file.position, file.head)
                    self._send(batch, sender)
                    batch = _Batch()
            batch.marks[name] = (run, file.position, file.head)
        if batch.marks:
            self._send(batch, sender)
        self._finish()

    def save(self) -> None:
        """Remembers what has arrived."""
        if self._is_unsaved:
            began = time.monotonic()
            self._positions.save()
            now = time.monotonic()
            self._is_unsaved = False
            self._save_not_before = now + _SAVING_SHARE * (now - began)

    def _grown(self) -> list[tuple[str, str, EventFile | ProfileFile]]:
        """Finds the files that may have something new."""
        began = time.thread_time()
        self.files, grown = 0, []
        for one in self._directory.files():
            self.files += 1
            file = self._files.get(one.name)
            if file is None:
                file = self._files[one.name] = self._opened(one)
            if file.may_have_grown():
                grown.append((one.run, one.name, file))
        self.looking_seconds = time.thread_time() - began
        return grown

    def _opened(self, found: FoundFile) -> EventFile | ProfileFile:
        known = self._positions.files.get(found.name)
        position = known.position if known else 0
        if found.session:
            last = found.name.rpartition("/")[2]
            return ProfileFile(found.file, last, found.session, position, self._warn)
        return EventFile(found.file, position, known.head if known else None, warn=self._warn)

    def _decoder(self, run: str) -> SummaryDecoder:
        """The decoder of a run's files; it must know the series that earlier uploads made."""
        if run not in self._decoders:
            existing = self._experiment.runs.get(run)
            if existing and not existing.is_new:
                self._experiment.load_series(existing)
            self._decoders[run] = SummaryDecoder(
                run, existing.series if existing else None, self._warn
            )
        return self._decoders[run]

    def _send(self, batch: _Batch, sender: ThreadPoolExecutor) -> None:
        self._finish()
        self._under_way = (sender.submit(self._experiment.write, batch.points), batch)

    def _finish(self) -> None:
        """Waits for the batch under way and remembers that it arrived."""
        if self._under_way is None:
            return
        (future, batch), self._under_way = self._under_way, None
        future.result()
        runs = self._experiment.runs
        for name, (run, position, head) in batch.marks.items():
            if run in runs:  # a file without points makes no run
                self._positions.files[name] = FilePosition(runs[run].name, position, head)
        self._positions.run_created = {run.name: run.created for run in runs.values()}
        self._is_unsaved = True
        if time.monotonic() >= self._save_not_before:
            self.save()
        for run, series in batch.points:
            self._touched.setdefault(run, set()).add(series.tag)
        self.points += sum(map(len, batch.points.values()))
        self._tell()

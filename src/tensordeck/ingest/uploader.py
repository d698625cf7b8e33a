"""Uploading a log directory: once, or for as long as it grows.

Like the official `upload_tb_log` and `start_upload_tb_log`, with what users miss there: no
TensorFlow, no size limit on tensors, every plugin, several requests at a time, retries while the
server is away, and a second upload that sends only what is new.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tensordeck.errors import InvalidArgument
from tensordeck.ingest.connection import Connection, Target
from tensordeck.ingest.event_files import EventFile
from tensordeck.ingest.experiment import Columns, Experiment, size_of
from tensordeck.ingest.log_directory import find_event_files
from tensordeck.ingest.positions import FilePosition, Positions, default_folder
from tensordeck.ingest.summaries import Point, Series, SummaryDecoder

__all__ = ["Progress", "Target", "upload"]

log = logging.getLogger(__name__)

_POINTS_PER_BATCH: Final = 50_000
_BYTES_PER_BATCH: Final = 32 << 20
_FOREVER: Final = 365 * 86_400.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an upload is.

    Attributes:
        experiment: The experiment's full name.
        files: Event files found.
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
    logdir: Path,
    experiment: str,
    target: Target,
    *,
    follow: bool = False,
    progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
    poll_seconds: float = 1.0,
    patience: float = 60.0,
    positions: Path | None = None,
    again: bool = False,
) -> Progress:
    """Uploads the event files below a directory into an experiment.

    Each directory with event files is a run. Points that an earlier upload brought are not sent
    again, unless their run or experiment was deleted in between.

    Args:
        logdir: The log directory.
        experiment: The experiment's id; it is made if it does not exist.
        target: The server and the instance.
        follow: Go on, looking for growth, until `stop` is set. The directory may then appear
            later, and the server may be away for any time.
        progress: Called after each batch that the server has acknowledged.
        stop: Ends following: what is there is still uploaded, once.
        poll_seconds: How often to look for growth.
        patience: How long to go on trying while the server is away, when not following.
        positions: Folder that remembers how far uploads went; default: the user's state folder.
        again: Send everything, whatever an earlier upload brought.

    Returns:
        What was done in all.

    Raises:
        tensordeck.errors.InvalidArgument: If the directory does not exist or an argument is bad.
        tensordeck.errors.TensordeckError: What the server answered.
    """
    if not follow and not logdir.is_dir():
        raise InvalidArgument(f"{logdir} is not a directory.")
    if not target.tensorboard:
        raise InvalidArgument("The target names no tensorboard instance.")
    stop = stop or threading.Event()
    with Connection(target, patience=patience, stop=stop) as connection:
        opened = Experiment(connection, target.tensorboard, experiment)  # tells of mistakes at once
        connection.patience = _FOREVER if follow else patience
        known = Positions.load(positions or default_folder(), logdir, target.url, opened.name)
        known.keep_only(
            "" if again else opened.created, {run.name: run.created for run in opened.runs.values()}
        )
        known.experiment_created = opened.created
        upload = _Upload(logdir, opened, known, progress or (lambda _: None))
        with ThreadPoolExecutor(1) as sender:
            upload.round(sender)
            while follow and not stop.wait(poll_seconds):
                upload.round(sender)
            if follow:
                upload.round(sender)
        return upload.progress


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
        columns[point.step] = (point.wall_time, point.value)
        self.count += 1
        self.bytes += size_of(point.value)

    @property
    def is_full(self) -> bool:
        return self.count >= _POINTS_PER_BATCH or self.bytes >= _BYTES_PER_BATCH


class _Upload:
    """The state of one call of `upload`.

    Batches are sent one after the other, so that of a repeated step the last one wins; while one
    is under way, the next is read.
    """

    def __init__(
        self,
        logdir: Path,
        experiment: Experiment,
        positions: Positions,
        tell: Callable[[Progress], None],
    ) -> None:
        self._logdir = logdir
        self._experiment = experiment
        self._positions = positions
        self._tell = tell
        self._files: dict[str, EventFile] = {}
        self._decoders: dict[str, SummaryDecoder] = {}
        self._touched: set[tuple[str, str]] = set()
        self._under_way: tuple[Future[None], _Batch] | None = None
        self.progress = Progress(experiment.name)

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

    def _grown(self) -> Iterator[tuple[str, str, EventFile]]:
        """Finds the files that may have something new."""
        found = 0
        for run, path in find_event_files(self._logdir):
            found += 1
            name = path.relative_to(self._logdir).as_posix()
            file = self._files.get(name)
            if file is None:
                known = self._positions.files.get(name)
                file = EventFile(path, known.position, known.head) if known else EventFile(path)
                self._files[name] = file
            if file.may_have_grown():
                yield run, name, file
        self.progress = replace(self.progress, files=found)

    def _decoder(self, run: str) -> SummaryDecoder:
        """The decoder of a run's files; it must know the series that earlier uploads made."""
        if run not in self._decoders:
            existing = self._experiment.runs.get(run)
            if existing and not existing.is_new:
                self._experiment.load_series(existing)
            self._decoders[run] = SummaryDecoder(run, existing.series if existing else None)
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
        self._positions.save()
        self._touched.update((run, series.tag) for run, series in batch.points)
        self.progress = replace(
            self.progress,
            runs=len({run for run, _ in self._touched}),
            series=len(self._touched),
            points=self.progress.points + sum(map(len, batch.points.values())),
        )
        self._tell(self.progress)

"""An experiment on the server, as an uploader writes to it: runs, series, points, blobs."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from tensordeck import errors, protos
from tensordeck.ingest.connection import Connection
from tensordeck.ingest.log_directory import run_id
from tensordeck.ingest.summaries import Series, ValueType
from tensordeck.ingest.warn import Warn, warn_in_log
from tensordeck.ingest.write_requests import Columns, SeriesPoints, halves, write_requests
from tensordeck.names import shown

__all__ = ["Experiment", "Run"]

_CREATED_PER_REQUEST: Final = 1000
_CONCURRENT_REQUESTS: Final = 4


@dataclass(slots=True)
class Run:
    """A run on the server.

    Attributes:
        name: Its full resource name.
        created: When it was created, as the server says it.
        is_new: Whether this upload made it: it then has no series yet.
        series: What is known of its series, by tag; filled by `Experiment.load_series`.
        ids: The series' full names by tag.
        refused: Tags that the server would not take, with a warning given already.
    """

    name: str
    created: str
    is_new: bool
    series: dict[str, Series] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)


class Experiment:
    """One experiment and its runs. Not thread-safe, but its requests run in parallel.

    Attributes:
        name: Its full resource name.
        created: When it was created, as the server says it.
        runs: The runs by display name, which is the log directory's name of them.
    """

    def __init__(
        self,
        connection: Connection,
        tensorboard: str,
        experiment_id: str,
        warn: Warn = warn_in_log,
    ) -> None:
        """Opens an experiment; makes it if there is none.

        Args:
            connection: To the server.
            tensorboard: The instance's full name.
            experiment_id: The experiment's id.
            warn: Told which series the server can't take.

        Raises:
            errors.NotFound: If the instance does not exist.
            errors.InvalidArgument: If the id is not a valid one.
        """
        self._connection = connection
        self._warn = warn
        connection.call(
            "GetTensorboard",
            protos.message("GetTensorboardRequest")(name=tensorboard),
            "Tensorboard",
        )
        self.name = f"{tensorboard}/experiments/{experiment_id}"
        experiment = self._get_or_create(tensorboard, experiment_id)
        self.created = _time_text(experiment.create_time)
        self.runs: dict[str, Run] = {}
        self._refused_runs: set[str] = set()
        self._load_runs()

    def add_runs(self, names: Iterable[str]) -> None:
        """Makes the runs that do not exist yet, but for those that the server refuses."""
        wanted = [name for name in names if name not in self._refused_runs]
        try:
            self._create_runs(wanted)
        except errors.AlreadyExists:  # another uploader was faster
            self._load_runs()
            self._create_runs(wanted)

    def load_series(self, run: Run) -> None:
        """Reads which series a run has already."""
        request = protos.message("ListTensorboardTimeSeriesRequest")(
            parent=run.name, page_size=1000
        )
        for page in self._connection.pages("ListTensorboardTimeSeries", request):
            for series in page.tensorboard_time_series:
                run.ids[series.display_name] = series.name
                run.series[series.display_name] = Series(
                    series.display_name,
                    ValueType(series.value_type),
                    series.plugin_name,
                    series.plugin_data,
                    series.description,
                )

    def write(self, points: Mapping[tuple[str, Series], Columns]) -> None:
        """Writes points; returns when the server has acknowledged all.

        What the server refuses as invalid is left out with a warning: one bad name must not keep
        everything else back.

        Args:
            points: By run (its display name) and series.

        Raises:
            errors.TensordeckError: What the server answered. Some points may be stored; writing
                them again does no harm.
        """
        self.add_runs(dict.fromkeys(run for run, _ in points))
        points = {key: columns for key, columns in points.items() if key[0] in self.runs}
        self._add_series(points)
        with ThreadPoolExecutor(_CONCURRENT_REQUESTS) as pool:
            requests = write_requests(self.name, self._placed(points))
            for done in [pool.submit(self._send, request) for request in requests]:
                done.result()

    def _get_or_create(self, tensorboard: str, experiment_id: str) -> Any:
        get = protos.message("GetTensorboardExperimentRequest")(name=self.name)
        create = protos.message("CreateTensorboardExperimentRequest")(
            parent=tensorboard,
            tensorboard_experiment={"display_name": experiment_id},
            tensorboard_experiment_id=experiment_id,
        )
        try:
            return self._connection.call("GetTensorboardExperiment", get, "TensorboardExperiment")
        except errors.NotFound:
            try:
                return self._connection.call(
                    "CreateTensorboardExperiment", create, "TensorboardExperiment"
                )
            except errors.AlreadyExists:  # another uploader was faster
                return self._connection.call(
                    "GetTensorboardExperiment", get, "TensorboardExperiment"
                )

    def _create_runs(self, names: list[str]) -> None:
        taken = {run.name.rpartition("/")[2] for run in self.runs.values()}
        create = protos.message("CreateTensorboardRunRequest")
        requests = []
        for name in names:
            if name not in self.runs:
                identifier = run_id(name, taken)
                taken.add(identifier)
                requests.append(
                    create(
                        parent=self.name,
                        tensorboard_run={"display_name": name},
                        tensorboard_run_id=identifier,
                    )
                )
        for part in _parts(requests, _CREATED_PER_REQUEST):
            for request, run in self._created("TensorboardRuns", "tensorboard_runs", part):
                name = request.tensorboard_run.display_name
                if isinstance(run, errors.InvalidArgument):
                    self._refused_runs.add(name)
                    self._warn(
                        f"The run {shown(name)} can't be made, and is left out: {run.message}"
                    )
                else:
                    self.runs[name] = Run(run.name, _time_text(run.create_time), True)

    def _load_runs(self) -> None:
        request = protos.message("ListTensorboardRunsRequest")(parent=self.name, page_size=1000)
        for page in self._connection.pages("ListTensorboardRuns", request):
            for run in page.tensorboard_runs:
                known = Run(run.name, _time_text(run.create_time), False)
                self.runs.setdefault(run.display_name, known)

    def _add_series(self, points: Iterable[tuple[str, Series]]) -> None:
        """Makes the series that do not exist yet; sorts out those that can't be written."""
        wanted: list[tuple[Run, Series]] = []
        for run_display_name, series in points:
            run = self.runs[run_display_name]
            have = run.series.get(series.tag)
            if have is None and series.tag not in run.refused:
                wanted.append((run, series))
            elif (
                have is not None
                and have.value_type is not series.value_type
                and series.tag not in run.refused
            ):
                run.refused.add(series.tag)
                self._warn(
                    f"{run.name} has {series.tag!r} as a series of {have.value_type.name}: "
                    f"its values of kind {series.value_type.name} are skipped."
                )
        for part in _parts(wanted, _CREATED_PER_REQUEST):
            self._create_series(part)

    def _create_series(self, wanted: list[tuple[Run, Series]]) -> None:
        create = protos.message("CreateTensorboardTimeSeriesRequest")
        requests = [
            create(
                parent=run.name,
                tensorboard_time_series={
                    "display_name": series.tag,
                    "value_type": int(series.value_type),
                    "plugin_name": series.plugin_name,
                    "plugin_data": series.plugin_data,
                    "description": series.description,
                },
            )
            for run, series in wanted
        ]
        made = self._created("TensorboardTimeSeries", "tensorboard_time_series", requests)
        for (run, series), (_, new) in zip(wanted, made, strict=True):
            if isinstance(new, errors.InvalidArgument):
                run.refused.add(series.tag)
                self._warn(
                    f"The series {shown(series.tag)} of {run.name} can't be made, and is left "
                    f"out: {new.message}"
                )
            else:
                run.series[series.tag] = series
                run.ids[series.tag] = new.name

    def _created(self, kind: str, field: str, requests: list[Any]) -> Iterator[tuple[Any, Any]]:
        """Makes resources in one call, or in several when the server refuses some of them.

        Args:
            kind: What is made, as the method's name has it.
            field: Where the reply holds them.
            requests: What to make.

        Yields:
            Each request, in order, with what was made or the InvalidArgument that it met.
        """
        if not requests:
            return
        batch = protos.message(f"BatchCreate{kind}Request")(parent=self.name, requests=requests)
        try:
            reply = self._connection.call(f"BatchCreate{kind}", batch, f"BatchCreate{kind}Response")
        except errors.InvalidArgument as error:
            if len(requests) == 1:
                yield requests[0], error
                return
            middle = len(requests) // 2
            yield from self._created(kind, field, requests[:middle])
            yield from self._created(kind, field, requests[middle:])
            return
        yield from zip(requests, getattr(reply, field), strict=True)

    def _placed(self, points: Mapping[tuple[str, Series], Columns]) -> Iterator[SeriesPoints]:
        """The points that can be written, with the names of where they go."""
        for (run_display_name, series), columns in points.items():
            run = self.runs[run_display_name]
            if series.tag not in run.refused:
                series_id = run.ids[series.tag].rpartition("/")[2]
                yield SeriesPoints(run.name, series_id, series.value_type, columns)

    def _send(self, request: Any) -> None:
        try:
            self._connection.call(
                "WriteTensorboardExperimentData", request, "WriteTensorboardExperimentDataResponse"
            )
        except errors.InvalidArgument as error:
            parts = halves(request)
            if not parts:
                self._warn(f"Points are left out, because the server refuses them: {error.message}")
            for part in parts:
                self._send(part)


def _time_text(timestamp: Any) -> str:
    return f"{timestamp.seconds}.{timestamp.nanos:09d}"


def _parts(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]

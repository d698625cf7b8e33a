"""Making an instance and reading what it holds, through the public API."""

from dataclasses import dataclass, replace

from tensordeck import protos
from tensordeck.ingest.connection import Connection, Target

PARENT = "projects/ingest/locations/us-central1"


def target_of(server) -> Target:
    """The server as its owner reaches it, without an instance."""
    return Target(url=server.url, credentials=server.data_dir / "credentials" / "owner.json")


def create_instance(target: Target) -> Target:
    """Makes a new instance; returns the target with its name."""
    request = protos.message("CreateTensorboardRequest")(
        parent=PARENT, tensorboard={"display_name": "ingest"}
    )
    with Connection(target) as connection:
        done = connection.call("CreateTensorboard", request, "google.longrunning.Operation")
    made = protos.message("Tensorboard").FromString(done.response.value)
    return replace(target, tensorboard=made.name)


@dataclass
class Reader:
    """Reads an experiment back, by run display name and tag."""

    target: Target

    def runs(self, experiment: str) -> dict[str, str]:
        """Full names of the runs by display name."""
        request = protos.message("ListTensorboardRunsRequest")(
            parent=f"{self.target.tensorboard}/experiments/{experiment}", page_size=1000
        )
        with Connection(self.target) as connection:
            pages = list(connection.pages("ListTensorboardRuns", request))
        return {run.display_name: run.name for page in pages for run in page.tensorboard_runs}

    def series(self, run: str) -> dict:
        """Messages of a run's series by tag."""
        request = protos.message("ListTensorboardTimeSeriesRequest")(parent=run, page_size=1000)
        with Connection(self.target) as connection:
            pages = list(connection.pages("ListTensorboardTimeSeries", request))
        return {s.display_name: s for page in pages for s in page.tensorboard_time_series}

    def points(self, series: str) -> list:
        """All points of a series."""
        request = protos.message("ReadTensorboardTimeSeriesDataRequest")(
            tensorboard_time_series=series, max_data_points=-1
        )
        with Connection(self.target) as connection:
            reply = connection.call(
                "ReadTensorboardTimeSeriesData", request, "ReadTensorboardTimeSeriesDataResponse"
            )
        return list(reply.time_series_data.values)

    def scalars(self, experiment: str) -> dict[str, dict[str, list[tuple[int, float]]]]:
        """Steps and values of all scalar series."""
        return {
            run: {
                tag: [(point.step, point.scalar.value) for point in self.points(series.name)]
                for tag, series in self.series(name).items()
                if series.value_type == 1
            }
            for run, name in self.runs(experiment).items()
        }

"""The services over a real embedded store, called as the dispatcher calls them."""

import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from msgspec import structs

from tensordeck import protos
from tensordeck.access import Caller
from tensordeck.services.call import Call
from tensordeck.services.custom_jobs import JobService
from tensordeck.services.metadata import MetadataService
from tensordeck.services.models import ModelService
from tensordeck.services.tensorboard import TensorboardService
from tensordeck.services.training_pipelines import PipelineService
from tensordeck.settings import Settings
from tensordeck.store import Store, open_store

CALL = Call(Caller("owner@tensordeck.local", "test"))
SCALAR, TENSOR, BLOBS = 1, 2, 3
PROJECTS = itertools.count()
DEFINITION = "gs://google-cloud-aiplatform/schema/trainingjob/definition/custom_task_1.0.0.yaml"
POOL = {
    "machine_spec": {"machine_type": "n1-standard-4"},
    "replica_count": 1,
    "python_package_spec": {
        "executor_image_uri": "us-docker.pkg.dev/vertex-ai/training/pytorch-cpu.2-4:latest",
        "package_uris": ["gs://bucket/trainer.tar.gz"],
        "python_module": "trainer.task",
    },
}
"""A worker pool that nothing is wrong with."""


@dataclass(frozen=True)
class Api:
    """Calls an RPC by its name with the fields of its request.

    Attributes:
        place: A project and region of this test's own: tests share a store.
    """

    store: Store
    services: tuple[object, ...]
    place: str
    context: Call = CALL

    @property
    def metadata_store(self) -> str:
        return f"{self.place}/metadataStores/default"

    def __call__(self, rpc: str, **fields: Any) -> Any:
        method = re.sub(r"(?<!^)(?=[A-Z])", "_", rpc).lower()
        request = protos.message(f"{rpc}Request")(**fields)
        if rpc.startswith("Write"):
            request = request.SerializeToString()
        for service in self.services:
            if handler := getattr(service, method, None):
                reply = handler(request, self.context)
                return reply.message() if isinstance(reply, protos.Encoded) else reply
        raise AssertionError(f"no service has {method}")

    def over(self, **context: Any) -> "Api":
        """The same services for another kind of caller."""
        return replace(self, context=structs.replace(self.context, **context))

    def another_process(self) -> "Api":
        """Services that remember nothing of what these ones do, over the same store."""
        return make_api(self.store, self.place)

    def board(self, **fields: Any) -> str:
        """A new instance's name."""
        fields = {"display_name": "board", **fields}
        return self("CreateTensorboard", parent=self.place, tensorboard=fields).name

    def experiment(self, board: str = "", experiment_id: str = "exp", **fields: Any) -> str:
        return self(
            "CreateTensorboardExperiment",
            parent=board or self.board(),
            tensorboard_experiment_id=experiment_id,
            tensorboard_experiment=fields,
        ).name

    def run(self, experiment: str = "", run_id: str = "run", **fields: Any) -> str:
        return self(
            "CreateTensorboardRun",
            parent=experiment or self.experiment(),
            tensorboard_run_id=run_id,
            tensorboard_run=fields,
        ).name

    def series(
        self, run: str = "", tag: str = "loss", value_type: int = SCALAR, **fields: Any
    ) -> str:
        return self(
            "CreateTensorboardTimeSeries",
            parent=run or self.run(),
            tensorboard_time_series={"display_name": tag, "value_type": value_type, **fields},
        ).name

    def job(self, **fields: Any) -> str:
        """A new custom job's name; the fields are those of its spec."""
        spec = {"worker_pool_specs": [POOL], **fields}
        custom_job = {"display_name": "job", "job_spec": spec}
        return self("CreateCustomJob", parent=self.place, custom_job=custom_job).name

    def pipeline(self, inputs: dict[str, Any] | None = None, **fields: Any) -> str:
        """A new training pipeline's name."""
        pipeline = protos.message("TrainingPipeline")(
            **{"display_name": "pipeline", "training_task_definition": DEFINITION, **fields}
        )
        protos.from_json(
            {"worker_pool_specs": [POOL], **(inputs or {})}, pipeline.training_task_inputs
        )
        return self("CreateTrainingPipeline", parent=self.place, training_pipeline=pipeline).name

    def write(self, series: str, points: list[dict[str, Any]], value_type: int = SCALAR) -> None:
        run, series_id = series.split("/timeSeries/")
        self(
            "WriteTensorboardRunData",
            tensorboard_run=run,
            time_series_data=[
                {
                    "tensorboard_time_series_id": series_id,
                    "value_type": value_type,
                    "values": points,
                }
            ],
        )

    def write_scalars(self, series: str, values: dict[int, float], wall: int = 1_700_000_000):
        self.write(
            series,
            [
                {"step": step, "wall_time": {"seconds": wall + step}, "scalar": {"value": value}}
                for step, value in values.items()
            ],
        )

    def read(self, series: str, **fields: Any) -> Any:
        return self(
            "ReadTensorboardTimeSeriesData", tensorboard_time_series=series, **fields
        ).time_series_data

    def scalars(self, series: str, **fields: Any) -> dict[int, float]:
        fields = {"max_data_points": -1, **fields}
        return {p.step: p.scalar.value for p in self.read(series, **fields).values}


def make_api(store: Store, place: str) -> Api:
    services = (
        TensorboardService(store),
        MetadataService(store),
        JobService(store),
        PipelineService(store),
        ModelService(store),
    )
    return Api(store, services, place)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = open_store(Settings(data_dir=tmp_path_factory.mktemp("store")))
    yield store
    store.close()


@pytest.fixture(scope="session")
def api_factory(store: Store) -> Callable[[str], Api]:
    return lambda place: make_api(store, place)


@pytest.fixture
def api(store: Store) -> Api:
    return make_api(store, f"projects/p{next(PROJECTS)}/locations/us-central1")

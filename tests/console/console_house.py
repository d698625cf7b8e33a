"""A store with pages over it, and two browsers: a stranger's and the owner's."""

from dataclasses import dataclass

from starlette.testclient import TestClient

from tensordeck.access import LocalAccess
from tensordeck.store import Store
from tensordeck.store.resources import Experiment, Run, Tensorboard

PLACE = "projects/vision/locations/us-central1"
INSTANCE = f"{PLACE}/tensorboards/42"


@dataclass
class House:
    """A store, who may enter, and two browsers."""

    store: Store
    access: LocalAccess
    stranger: TestClient
    owner: TestClient

    def instance(self, name: str = INSTANCE, **fields: object) -> Tensorboard:
        return self.store.catalog.create(Tensorboard(name=name, **fields))

    def experiment(self, experiment_id: str, **fields: object) -> Experiment:
        name = f"{INSTANCE}/experiments/{experiment_id}"
        return self.store.catalog.create(Experiment(name=name, **fields))

    def run(self, experiment: Experiment, run_id: str, **fields: object) -> Run:
        fields = {"display_name": run_id, **fields}
        return self.store.catalog.create(Run(name=f"{experiment.name}/runs/{run_id}", **fields))

"""TensorboardService: instances, experiments, runs, time series and their points."""

from tensordeck.services.collection import Backing
from tensordeck.services.data_read import DataRead
from tensordeck.services.data_write import DataWrite
from tensordeck.services.experiments import Experiments
from tensordeck.services.runs import Runs
from tensordeck.services.tensorboards import Tensorboards
from tensordeck.services.time_series import TimeSeriesCollection
from tensordeck.store import Store


class TensorboardService(
    Tensorboards, Experiments, Runs, TimeSeriesCollection, DataWrite, DataRead
):
    """All 30 calls, each a method of its snake_case name: `(request, call) -> reply`.

    Calls that are long-running in the API return the finished resource, or an Empty message.

    Args:
        store: Where everything rests.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(Backing(store))

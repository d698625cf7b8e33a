"""Hyperparameters by the data provider: TensorBoard's own plugin makes the same table of them."""

import json

import pytest
from google.protobuf import json_format
from tensorboard import context, errors
from tensorboard.data import provider
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import (
    api_pb2,
    backend_context,
    get_experiment,
    list_session_groups,
)

from tensordeck.board.data_provider import StoreDataProvider
from tensordeck.board.listing import Listings
from tensordeck.names import board_id
from tensordeck.store.resources import Run
from tests.board.logged import add_curves, log_run

REGEX, INTERVAL, DISCRETE = (
    provider.HyperparameterFilterType.REGEX,
    provider.HyperparameterFilterType.INTERVAL,
    provider.HyperparameterFilterType.DISCRETE,
)
STATUSES = list(range(4))


@pytest.fixture(scope="module")
def experiment(house):
    """Runs with parameters and curves; metrics that were logged as such are no curves."""
    name = house.experiment("provided")
    for number in range(5):
        params = {"lr": number / 10, "net": ("vgg", "resnet")[number % 2], "fast": number > 2}
        if number == 4:
            del params["lr"]
        run = log_run(house.store.catalog, name, f"run-{number}", params)
        add_curves(house.store, run, {"loss": [1.0, 10.0 - number], "accuracy": [number]})
    below = house.store.catalog.create(Run(name=f"{name}/runs/v", display_name="run-1/validation"))
    add_curves(house.store, below, {"loss": [0.5]})
    return name


@pytest.fixture(scope="module")
def data_provider(house):
    return StoreDataProvider(house.store, Listings(house.store.catalog))


@pytest.fixture
def ask_both(house, experiment, data_provider):
    """The same question to TensorBoard's plugin over our provider, and to our board."""
    plugin = backend_context.Context(base_plugin.TBContext(data_provider=data_provider))
    handlers = {
        "experiment": (get_experiment.Handler, api_pb2.GetExperimentRequest),
        "session_groups": (list_session_groups.Handler, api_pb2.ListSessionGroupsRequest),
    }

    def ask(path, request):
        handler, message = handlers[path]
        parsed = json_format.ParseDict(request, message())
        address = board_id(experiment)
        theirs = handler(context.RequestContext(), plugin, address, parsed).run()
        with house.client() as client:
            url = f"{house.path(experiment)}data/plugin/hparams/{path}"
            ours = client.post(url, content=json.dumps(request)).json()
        plain = json_format.MessageToDict(theirs, always_print_fields_with_no_presence=True)
        return plain, ours

    return ask


@pytest.mark.parametrize("limit", [0, 1])
def test_columns_are_those_of_the_plugin(ask_both, limit):
    theirs, ours = ask_both("experiment", {"hparamsLimit": limit})
    assert ours == theirs
    assert len(ours["hparamInfos"]) == (limit or 3)


@pytest.mark.parametrize(
    "columns",
    [
        [],
        [{"hparam": "lr", "order": "ORDER_DESC"}],
        [{"hparam": "net", "order": "ORDER_ASC"}, {"hparam": "lr", "order": "ORDER_DESC"}],
        [{"hparam": "net", "filterRegexp": "s.e"}],
        [{"hparam": "lr", "filterInterval": {"minValue": 0.1, "maxValue": 0.2}}],
        [{"hparam": "fast", "filterDiscrete": [True]}],
        [{"hparam": "lr", "includeInResult": True}, {"hparam": "net", "includeInResult": False}],
        [
            {"metric": {"tag": "loss"}, "filterInterval": {"minValue": 7.5, "maxValue": 9}},
            {"hparam": "lr", "order": "ORDER_DESC"},
        ],
    ],
)
def test_rows_are_those_of_the_plugin(ask_both, columns):
    request = {"colParams": columns, "sliceSize": 100, "allowedStatuses": STATUSES}
    theirs, ours = ask_both("session_groups", request)
    for row in (row for reply in (theirs, ours) for row in reply["sessionGroups"]):
        for session in row["sessions"]:  # a provider can't tell these
            for field in ("status", "startTimeSecs"):
                del session[field]
    assert ours == theirs
    assert ours["sessionGroups"]


def read(data_provider, experiment, **request):
    groups = data_provider.read_hyperparameters(experiment_ids=[board_id(experiment)], **request)
    return [(g.root.run, {v.hyperparameter_name for v in g.hyperparameter_values}) for g in groups]


def test_parameters_of_filters_and_sorts_are_included(data_provider, experiment):
    found = read(
        data_provider,
        experiment,
        filters=[provider.HyperparameterFilter("net", DISCRETE, ["vgg"])],
        sort=[provider.HyperparameterSort("fast", provider.HyperparameterSortDirection.DESCENDING)],
        hparams_to_include=[],
    )
    both = {"net", "fast"}
    assert found == [("run-4", both), ("run-0", both), ("run-2", both)]


def test_bad_requests_are_public_errors(data_provider, experiment):
    broken = provider.HyperparameterFilter("net", REGEX, "(")
    with pytest.raises(errors.InvalidArgumentError, match="regular expression"):
        read(data_provider, experiment, filters=[broken])
    with pytest.raises(errors.NotFoundError):
        read(data_provider, experiment + "-not")
    with pytest.raises(errors.InvalidArgumentError):
        data_provider.list_hyperparameters(experiment_ids=[])

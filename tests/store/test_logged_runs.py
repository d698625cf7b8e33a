"""What the official client logged for runs: read, chosen and ordered."""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensordeck.store.contract import Catalog
from tensordeck.store.logged_runs import ParameterFilter, ParameterOrder
from tensordeck.store.resources import Artifact, Context, Experiment, MetadataStore, Run
from tests.store.samples import PLACE, changed
from tests.strategies import texts

STORE = f"{PLACE}/metadataStores/default"
ABOVE = f"{STORE}/contexts/e"

PARAMS: dict[str, dict[str, object]] = {
    "r0": {"lr": 0.1, "net": "resnet", "fast": True, "layers": 3},
    "r1": {"lr": 10, "net": "vgg", "fast": False},
    "r2": {"lr": math.nan, "net": 'odd "net" $.[0]', "layers": "many"},
    "r3": {"nested": {"lr": 5}, "listed": [1]},
}


def log(catalog: Catalog, run: str, *, linked_to: str = "", **metadata: object) -> str:
    """Makes a run's context and artifact, as the official client does; returns the context."""
    run_id = run.rpartition("/")[2]
    context, artifact = f"{ABOVE}-{run_id}", f"{STORE}/artifacts/e-{run_id}-tb-run"
    catalog.create(
        Context(name=context, schema_title="system.ExperimentRun", metadata=dict(metadata))
    )
    catalog.create(
        Artifact(
            name=artifact,
            schema_title="google.VertexTensorboardRun",
            metadata={"resourceName": linked_to or run},
        )
    )
    catalog.add_links("member", context, [artifact])
    catalog.add_links("child", ABOVE, [context])
    return context


@pytest.fixture
def runs(catalog: Catalog, experiment: Experiment, metadata_store: MetadataStore) -> dict[str, Run]:
    """Runs with logged parameters, and one that nothing was logged for."""
    catalog.create(Context(name=ABOVE, schema_title="system.Experiment"))
    made = {}
    for run_id in (*PARAMS, "r4"):
        made[run_id] = catalog.create(
            Run(name=f"{experiment.name}/runs/{run_id}", display_name=run_id)
        )
        if run_id in PARAMS:
            log(catalog, made[run_id].name, _params=PARAMS[run_id])
    return made


def ranked(
    catalog: Catalog,
    experiment: Experiment,
    runs: dict[str, Run],
    *filters: ParameterFilter,
    order: tuple[ParameterOrder, ...] = (),
    given: dict[str, dict[str, float | str | bool]] | None = None,
) -> list[str]:
    """The ids of the runs that pass, in order; of equal rank, in order of creation."""
    found = catalog.ranked_runs(
        [experiment.name],
        given={runs[run].pk: values for run, values in (given or {}).items()},
        filters=filters,
        order=order,
    )
    return [
        name
        for name, run in sorted(runs.items(), key=lambda item: found.get(item[1].pk, ()))
        if run.pk in found
    ]


def test_what_was_logged_is_found_by_run(
    catalog: Catalog, experiment: Experiment, runs: dict[str, Run]
) -> None:
    context = log(
        catalog, runs["r4"].name, _params={"a": 1}, _metrics={"loss": math.inf}, _state="COMPLETE"
    )
    found = catalog.logged_runs(experiment.name)
    assert set(found) == {run.pk for run in runs.values()}
    logged = found[runs["r4"].pk]
    assert logged.params == {"a": 1}
    assert logged.metrics == {"loss": math.inf}
    assert logged.state == "COMPLETE"
    assert logged.create_time == catalog.get(Context, context).create_time


def test_metadata_of_another_form_counts_as_nothing(
    catalog: Catalog, experiment: Experiment, runs: dict[str, Run]
) -> None:
    log(catalog, runs["r4"].name, _params=[1, 2], _metrics="loss", _state=7)
    logged = catalog.logged_runs(experiment.name)[runs["r4"].pk]
    assert (logged.params, logged.metrics) == ({}, {})
    by_lr = ParameterOrder("lr")
    assert ranked(catalog, experiment, runs, order=(by_lr,))[0] == "r0"


def test_only_the_run_that_the_artifact_names_has_the_parameters(
    catalog: Catalog, experiment: Experiment, runs: dict[str, Run]
) -> None:
    other = catalog.create(Experiment(name=f"{PLACE}/tensorboards/1/experiments/other"))
    elsewhere = catalog.create(Run(name=f"{other.name}/runs/r4"))
    log(catalog, runs["r4"].name, linked_to=elsewhere.name, _params={"secret": 1})
    assert runs["r4"].pk not in catalog.logged_runs(experiment.name)
    assert catalog.logged_runs(other.name) == {}  # the context is not below its experiment's
    assert catalog.logged_stamps([other.name]) == {other.name: ""}


def test_stamps_change_with_what_is_logged_and_only_then(
    catalog: Catalog, experiment: Experiment, runs: dict[str, Run]
) -> None:
    def stamp() -> str:
        return catalog.logged_stamps([experiment.name])[experiment.name]

    seen = [stamp()]
    context = log(catalog, runs["r4"].name)
    seen.append(stamp())
    catalog.update(Context, context, changed(metadata={"_params": {"a": 1}}))
    seen.append(stamp())
    catalog.delete(Context, context)
    assert len(set(seen)) == 3
    assert stamp() == seen[0]  # all is as it was
    series_stamp = catalog.stamps([experiment.name])
    catalog.update(Context, f"{ABOVE}-r0", changed(metadata={}))
    assert catalog.stamps([experiment.name]) == series_stamp
    assert stamp() not in seen
    assert stamp() == stamp()


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (ParameterOrder("lr"), ["r0", "r1", "r2", "r3", "r4"]),
        (ParameterOrder("lr", descending=True), ["r1", "r0", "r2", "r3", "r4"]),
        (ParameterOrder("lr", missing_first=True), ["r2", "r3", "r4", "r0", "r1"]),
        (
            ParameterOrder("lr", descending=True, missing_first=True),
            ["r2", "r3", "r4", "r1", "r0"],
        ),
        (ParameterOrder("net"), ["r2", "r0", "r1", "r3", "r4"]),
        (ParameterOrder("net", descending=True), ["r1", "r0", "r2", "r3", "r4"]),
        (ParameterOrder("layers"), ["r0", "r2", "r1", "r3", "r4"]),
        (ParameterOrder("fast"), ["r1", "r0", "r2", "r3", "r4"]),
        (ParameterOrder("nested"), ["r0", "r1", "r2", "r3", "r4"]),
        (ParameterOrder("$.lr"), ["r0", "r1", "r2", "r3", "r4"]),
    ],
)
def test_runs_are_ordered_by_a_parameter(
    catalog: Catalog,
    experiment: Experiment,
    runs: dict[str, Run],
    order: ParameterOrder,
    expected: list[str],
) -> None:
    assert ranked(catalog, experiment, runs, order=(order,)) == expected


def test_equal_values_have_equal_ranks(
    catalog: Catalog, experiment: Experiment, runs: dict[str, Run]
) -> None:
    given = {runs["r4"].pk: {"lr": 0.1}}
    order = [ParameterOrder("lr"), ParameterOrder("net", missing_first=True)]
    found = catalog.ranked_runs([experiment.name], given=given, filters=[], order=order)
    assert found[runs["r4"].pk][0] == found[runs["r0"].pk][0] == 1
    assert found[runs["r4"].pk][1] < found[runs["r0"].pk][1]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (ParameterFilter("lr", interval=(0.0, 1.0), missing=False), ["r0"]),
        (ParameterFilter("lr", interval=(0.0, 1.0)), ["r0", "r2", "r3", "r4"]),
        (ParameterFilter("lr", interval=(1.0, math.inf), missing=False), ["r1"]),
        (ParameterFilter("lr", missing=False), ["r0", "r1"]),
        (ParameterFilter("net", values=('odd "net" $.[0]', "vgg"), missing=False), ["r1", "r2"]),
        (ParameterFilter("net", values=(), missing=False), []),
        (ParameterFilter("fast", values=(True,), missing=False), ["r0"]),
        (ParameterFilter("layers", values=(True, 3, "many"), missing=False), ["r0", "r2"]),
        (ParameterFilter("layers", values=(True, "3"), missing=False), []),
        (ParameterFilter("layers", interval=(0, 9), values=(4,), missing=False), []),
        (ParameterFilter("x' OR 1=1 --", missing=False), []),
    ],
)
def test_runs_are_chosen_by_a_parameter(
    catalog: Catalog,
    experiment: Experiment,
    runs: dict[str, Run],
    condition: ParameterFilter,
    expected: list[str],
) -> None:
    assert ranked(catalog, experiment, runs, condition) == expected


def test_given_parameters_stand_where_none_is_logged(
    catalog: Catalog, experiment: Experiment, runs: dict[str, Run]
) -> None:
    given: dict[str, dict[str, float | str | bool]] = {
        "r0": {"lr": 99.0},  # logged: 0.1
        "r2": {"lr": 3.0},  # logged: NaN, which is none
        "r4": {"lr": 0.01, "net": "alexnet"},
    }
    by_lr = ParameterOrder("lr")
    expected = ["r4", "r0", "r2", "r1", "r3"]
    assert ranked(catalog, experiment, runs, order=(by_lr,), given=given) == expected
    few = ParameterFilter("net", values=("alexnet", "vgg"), missing=False)
    assert ranked(catalog, experiment, runs, few, order=(by_lr,), given=given) == ["r4", "r1"]


def test_more_values_than_a_statement_takes_parameters_are_no_matter(
    catalog: Catalog, experiment: Experiment, runs: dict[str, Run]
) -> None:
    many = tuple(f"net-{n}" for n in range(40_000))
    assert ranked(catalog, experiment, runs, ParameterFilter("net", (*many, "vgg"))) == [
        "r1",
        "r3",
        "r4",
    ]


def test_runs_of_several_experiments_are_ranked_together(
    catalog: Catalog, experiment: Experiment, runs: dict[str, Run]
) -> None:
    other = catalog.create(Experiment(name=f"{PLACE}/tensorboards/1/experiments/other"))
    run = catalog.create(Run(name=f"{other.name}/runs/r"))
    found = catalog.ranked_runs(
        [experiment.name, other.name],
        given={run.pk: {"lr": 1.0}},
        filters=[ParameterFilter("lr", missing=False)],
        order=[ParameterOrder("lr")],
    )
    assert found == {runs["r0"].pk: (1,), run.pk: (2,), runs["r1"].pk: (3,)}


SCALARS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1.0, 2.0]),
    st.booleans(),
    texts,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(values=st.lists(st.none() | SCALARS, min_size=5, max_size=5), order=st.data())
def test_any_values_are_ranked_as_by_a_sort(
    catalog: Catalog,
    experiment: Experiment,
    runs: dict[str, Run],
    values: list[float | str | bool | None],
    order: st.DataObject,
) -> None:
    """Numbers by size, truth values as 0 and 1, then texts by code point."""
    key = order.draw(texts, "name")
    wanted = ParameterOrder(key, order.draw(st.booleans()), order.draw(st.booleans()))
    by_pk = {run.pk: value for run, value in zip(runs.values(), values, strict=True)}
    found = catalog.ranked_runs(
        [experiment.name],
        given={pk: {key: value} for pk, value in by_pk.items() if value is not None},
        filters=[],
        order=[wanted],
    )
    present = {
        pk: (isinstance(value, str), value) for pk, value in by_pk.items() if value is not None
    }
    ranks = {one: at for at, one in enumerate(sorted(set(present.values())))}
    if wanted.descending:
        ranks = {one: len(ranks) - at for one, at in ranks.items()}
    missing = -1 if wanted.missing_first else len(ranks) + 1
    expected = {pk: ranks[present[pk]] if pk in present else missing for pk in by_pk}
    levels = sorted(set(expected.values()))
    assert found == {pk: (levels.index(rank) + 1,) for pk, rank in expected.items()}
    for value in set(present.values()):
        chosen = catalog.ranked_runs(
            [experiment.name],
            given={pk: {key: one} for pk, one in by_pk.items() if one is not None},
            filters=[ParameterFilter(key, values=(value[1],), missing=False)],
            order=[],
        )
        assert set(chosen) == {
            pk for pk, one in present.items() if one == value and is_same_type(by_pk[pk], value[1])
        }


def is_same_type(left: object, right: object) -> bool:
    """Whether two values would be one in a list: True is not 1 there."""
    return isinstance(left, bool) == isinstance(right, bool)

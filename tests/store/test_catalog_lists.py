"""Lists: whose children, in which order, page after page while rows come and go."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tensordeck import errors
from tensordeck.filters import parse_filter
from tensordeck.store.contract import Catalog
from tensordeck.store.resources import (
    Bucket,
    Context,
    Experiment,
    MetadataStore,
    Operation,
    Resource,
    Run,
    StoredObject,
    Tensorboard,
    TimeSeries,
)
from tests.store.samples import PLACE, changed
from tests.strategies import close_texts

SHARED_STORE = settings(
    max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
FRESH = itertools.count()


def ids(catalog: Catalog, kind: type[Resource], parent: str, **query: object) -> list[str]:
    """The last ids of everything that a list holds, over all its pages."""
    return [
        record.name.rsplit("/", 1)[-1]
        for page in pages(catalog, kind, parent, **query)
        for record in page
    ]


def pages(
    catalog: Catalog, kind: type[Resource], parent: str, **query: object
) -> Iterator[list[Resource]]:
    """A list's pages, each read when it is asked for."""
    token = ""
    while True:
        page = catalog.list(kind, parent, page_token=token, **query)
        yield page.items
        token = page.next_token
        if not token:
            return


def fresh_run(catalog: Catalog, experiment: Experiment) -> Run:
    """A run that no other example uses."""
    i = next(FRESH)
    return catalog.create(Run(name=f"{experiment.name}/runs/fresh-{i}", display_name=f"fresh-{i}"))


def series_of(run: Run, number: int) -> TimeSeries:
    """A series of a run, not yet made."""
    return TimeSeries(
        name=f"{run.name}/timeSeries/{number}",
        display_name=f"tag {number}",
        description="ab"[number % 2],
    )


def make_series(catalog: Catalog, run: Run, number: int) -> TimeSeries:
    """A series of a run."""
    return catalog.create(series_of(run, number))


def test_a_list_is_in_order_of_creation(catalog: Catalog, run: Run) -> None:
    for number in (3, 1, 2):
        make_series(catalog, run, number)

    assert ids(catalog, TimeSeries, run.name) == ["3", "1", "2"]
    assert catalog.list(TimeSeries, run.name, page_size=3).next_token == ""
    assert [len(page) for page in pages(catalog, TimeSeries, run.name, page_size=2)] == [2, 1]


def test_a_list_holds_only_the_parents_children(catalog: Catalog, tensorboard: Tensorboard) -> None:
    for name in ("e", "e2", "E"):
        catalog.create(Experiment(name=f"{tensorboard.name}/experiments/{name}"))
    catalog.create(Run(name=f"{tensorboard.name}/experiments/e/runs/r", display_name="r"))
    catalog.create(Run(name=f"{tensorboard.name}/experiments/e2/runs/r2", display_name="r"))

    assert ids(catalog, Run, f"{tensorboard.name}/experiments/e") == ["r"]
    assert ids(catalog, Run, f"{tensorboard.name}/experiments/E") == []


def test_a_list_below_what_is_missing_is_not_found(
    catalog: Catalog, tensorboard: Tensorboard
) -> None:
    for kind, parent in [
        (Experiment, f"{PLACE}/tensorboards/none"),
        (Run, f"{tensorboard.name}/experiments/none"),
        (Run, f"{PLACE}/tensorboards/none/experiments/-"),
        (TimeSeries, f"{tensorboard.name}/experiments/none/runs/-"),
        (StoredObject, "no-bucket"),
    ]:
        with pytest.raises(errors.NotFound, match="not found"):
            catalog.list(kind, parent)


@pytest.fixture
def forest(catalog: Catalog) -> Catalog:
    """Two instances here and one elsewhere, with experiments a, b and runs 1, 2 each."""
    here, elsewhere = PLACE, PLACE.replace("us-central1", "asia-east1")
    for place, board in [(here, "x"), (here, "y"), (elsewhere, "z")]:
        catalog.create(Tensorboard(name=f"{place}/tensorboards/{board}"))
        for experiment in "ab":
            name = f"{place}/tensorboards/{board}/experiments/{experiment}"
            catalog.create(Experiment(name=name))
            for run in "12":
                run_id = f"{board}{experiment}{run}"
                catalog.create(Run(name=f"{name}/runs/{run_id}", display_name=run))
    return catalog


@pytest.mark.parametrize(
    ("parent", "expected"),
    [
        ("tensorboards/x/experiments/-", "xa1 xa2 xb1 xb2"),
        ("tensorboards/-/experiments/a", "xa1 xa2 ya1 ya2"),
        ("tensorboards/-/experiments/-", "xa1 xa2 xb1 xb2 ya1 ya2 yb1 yb2"),
        ("tensorboards/-/experiments/none", ""),
    ],
)
def test_a_wildcard_stands_for_every_parent(forest: Catalog, parent: str, expected: str) -> None:
    assert ids(forest, Run, f"{PLACE}/{parent}", page_size=3) == expected.split()


def test_a_wildcard_stands_for_every_place(forest: Catalog) -> None:
    assert ids(forest, Tensorboard, "projects/p/locations/-") == ["x", "y", "z"]
    assert ids(forest, Tensorboard, "projects/-/locations/asia-east1") == ["z"]
    assert ids(forest, Tensorboard, "projects/other/locations/-") == []
    assert ids(forest, Tensorboard, PLACE) == ["x", "y"]
    assert ids(forest, Tensorboard, "") == ["x", "y", "z"]
    assert len(ids(forest, Run, "projects/-/locations/-/tensorboards/-/experiments/b")) == 6


@pytest.mark.parametrize(
    "parent",
    ["projects/p", "projects/p/locations/-/tensorboards/-", "x", "projects/p/locations/l/runs/-"],
)
def test_a_parent_of_another_form_is_refused(forest: Catalog, parent: str) -> None:
    with pytest.raises((errors.InvalidArgument, errors.NotFound)):
        forest.list(Run, parent)


def test_operations_are_listed_by_place(catalog: Catalog) -> None:
    catalog.create(Operation(name=f"{PLACE}/operations/1"))
    catalog.create(Operation(name=f"{PLACE}/tensorboards/5/operations/2"))
    catalog.create(Operation(name="projects/p/locations/elsewhere/operations/3"))

    assert ids(catalog, Operation, PLACE) == ["1", "2"]


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        ("display_name", "b c a"),
        ("displayName desc", "a c b"),
        ("description, display_name desc", "a b c"),
        ("description desc, display_name", "c b a"),
        ("labels.team", "c b a"),
        ("labels.team desc", "a b c"),
        ("create_time desc", "b a c"),
        ("create_time", "c a b"),
        ("update_time desc, name", "a b c"),
        ("name desc", "c b a"),
    ],
)
@pytest.mark.parametrize("page_size", [1, 2, 50])
def test_a_list_is_ordered_by_any_field(
    catalog: Catalog, experiment: Experiment, order_by: str, expected: str, page_size: int
) -> None:
    for name, title, description, labels, create_time in [
        ("a", "z", "1", {}, 20),
        ("b", "X", "1", {"team": "é"}, 30),
        ("c", "y", "2", {"team": "a"}, 10),
    ]:
        catalog.create(
            Run(
                name=f"{experiment.name}/runs/{name}",
                display_name=title,
                description=description,
                labels=labels,
                create_time=create_time,
                update_time=100,
            )
        )

    found = ids(catalog, Run, experiment.name, order_by=order_by, page_size=page_size)

    assert found == expected.split()


def test_a_document_is_ordered_by_its_members(
    catalog: Catalog, metadata_store: MetadataStore
) -> None:
    for name, metadata in [
        ("text", {"lr": "low"}),
        ("none", {}),
        ("big", {"lr": 10}),
        ("small", {"lr": 2.5}),
        ("list", {"lr": [1]}),
    ]:
        catalog.create(Context(name=f"{metadata_store.name}/contexts/{name}", metadata=metadata))

    for order_by in ("metadata.lr.number_value", "metadata.lr"):
        found = ids(catalog, Context, metadata_store.name, order_by=order_by, page_size=2)
        assert found == ["small", "big", "text", "list", "none"]


@pytest.mark.parametrize(
    "order_by", ["nothing", "pk", "labels", "display_name.x", "parent_pk", "display_name asc desc"]
)
def test_an_order_by_an_unknown_field_is_refused(
    catalog: Catalog, experiment: Experiment, order_by: str
) -> None:
    with pytest.raises(errors.InvalidArgument, match="order_by"):
        catalog.list(Run, experiment.name, order_by=order_by)


@SHARED_STORE
@given(
    page_size=st.integers(1, 4),
    order_by=st.sampled_from(["", "display_name desc", "description, create_time desc", "name"]),
    steps=st.lists(
        st.tuples(st.sampled_from(["add", "remove", "page"]), st.integers(0, 30)), max_size=25
    ),
)
@example(page_size=1, order_by="", steps=[("remove", 0), ("page", 0)] * 5)
def test_pages_stay_right_while_rows_come_and_go(
    catalog: Catalog,
    experiment: Experiment,
    page_size: int,
    order_by: str,
    steps: list[tuple[str, int]],
) -> None:
    """What was there all the time is seen exactly once, and nothing is seen twice."""
    run = fresh_run(catalog, experiment)
    made = catalog.create_many([series_of(run, number) for number in range(0, 20, 2)])
    alive = {int(series.name.rsplit("/", 1)[1]): series.pk for series in made}
    always = set(alive.values())
    seen: list[int] = []
    reader = pages(catalog, TimeSeries, run.name, page_size=page_size, order_by=order_by)
    for step, number in steps:
        if step == "page":
            seen += [record.pk for record in next(reader, [])]
        elif step == "add" and number not in alive:
            alive[number] = make_series(catalog, run, number).pk
        elif step == "remove" and number in alive:
            catalog.delete(TimeSeries, f"{run.name}/timeSeries/{number}")
            always.discard(alive.pop(number))
    seen += [record.pk for page in reader for record in page]

    assert len(seen) == len(set(seen))
    assert always <= set(seen)


def test_a_token_fits_only_its_query(catalog: Catalog, experiment: Experiment, run: Run) -> None:
    for number in range(4):
        make_series(catalog, run, number)
    other = fresh_run(catalog, experiment)
    token = catalog.list(TimeSeries, run.name, page_size=1).next_token

    for query in (
        {"parent": other.name},
        {"parent": run.name, "order_by": "display_name"},
        {"parent": run.name, "filter": parse_filter("display_name=x")},
        {"parent": run.name, "name_prefix": "1"},
    ):
        with pytest.raises(errors.InvalidArgument, match="page_token"):
            catalog.list(TimeSeries, page_token=token, **query)
    with pytest.raises(errors.InvalidArgument, match="page_token"):
        catalog.list(Run, experiment.name, page_token=token)
    assert len(catalog.list(TimeSeries, run.name, page_size=7, page_token=token).items) == 3


@SHARED_STORE
@given(data=st.data())
def test_an_altered_token_is_refused(
    catalog: Catalog, experiment: Experiment, data: st.DataObject
) -> None:
    for number in range(2):
        name = f"{experiment.name}/runs/{number}"
        if catalog.find(Run, name) is None:
            catalog.create(Run(name=name, display_name=f"{number}"))
    token = catalog.list(Run, experiment.name, page_size=1).next_token
    at = data.draw(st.integers(0, len(token) - 1))
    altered = data.draw(
        st.one_of(
            st.text(min_size=1, max_size=40),
            st.characters().map(lambda c: token[:at] + c + token[at + 1 :]),
            st.just(token[:at] or "x"),
            st.just(token + "="),
        ).filter(lambda text: text != token)
    )

    with pytest.raises(errors.InvalidArgument, match="page_token"):
        catalog.list(Run, experiment.name, page_token=altered)


@pytest.mark.parametrize("page_size", [0, -1])
def test_a_page_holds_something(catalog: Catalog, page_size: int) -> None:
    with pytest.raises(errors.InvalidArgument, match="page_size"):
        catalog.list(Tensorboard, "", page_size=page_size)


OBJECTS = ["", "a", "a/", "a/b", "a/b/c", "aB", "a%", "a_", "b", "é", "😀", "\ufffd", "z\U0010ffff"]


@pytest.fixture
def bucket(catalog: Catalog) -> str:
    """A bucket with objects, made in no order, and a neighbour whose name starts alike."""
    for name in ("bucket", "bucket2"):
        catalog.create(Bucket(name=name))
        for key in reversed(OBJECTS):
            if key:
                catalog.create(StoredObject(name=f"{name}/{key}", generation=1, size=0))
    return "bucket"


@pytest.mark.parametrize("prefix", [*OBJECTS, "A", "a/b/", "aa", "\U0010ffff", "a*"])
@pytest.mark.parametrize("start", ["", "a/b", "b", "zz"])
def test_objects_are_listed_by_name(catalog: Catalog, bucket: str, prefix: str, start: str) -> None:
    found = [
        record.name.removeprefix("bucket/")
        for page in pages(
            catalog, StoredObject, bucket, name_prefix=prefix, start_at=start, page_size=3
        )
        for record in page
    ]

    keys = [key for key in OBJECTS if key]
    assert found == sorted(key for key in keys if key.startswith(prefix) and key >= start)


@SHARED_STORE
@given(names=st.lists(close_texts.filter(bool), unique=True, max_size=8), prefix=close_texts)
def test_any_prefix_is_taken_literally(catalog: Catalog, names: list[str], prefix: str) -> None:
    bucket = f"bucket-{next(FRESH)}"
    catalog.create(Bucket(name=bucket))
    catalog.create_many(
        [StoredObject(name=f"{bucket}/{name}", generation=1, size=0) for name in names]
    )

    found = catalog.list(StoredObject, bucket, name_prefix=prefix).items

    assert [record.name.partition("/")[2] for record in found] == sorted(
        name for name in names if name.startswith(prefix)
    )


def test_a_changed_row_stays_on_its_page(catalog: Catalog, experiment: Experiment) -> None:
    for i in range(3):
        catalog.create(Run(name=f"{experiment.name}/runs/{i}", display_name=f"{i}"))
    reader = pages(catalog, Run, experiment.name, page_size=1)
    next(reader)

    catalog.update(Run, f"{experiment.name}/runs/0", changed(description="new"))

    assert [record.display_name for page in reader for record in page] == ["1", "2"]


def test_long_lists_read_an_index(catalog: Catalog, experiment: Experiment) -> None:
    """An experiment with 2,000 runs, one of which has 10,000 series, lists whole."""
    catalog.create_many(
        [Run(name=f"{experiment.name}/runs/{i}", display_name=f"{i}") for i in range(2000)]
    )
    run = f"{experiment.name}/runs/7"
    for start in range(0, 10_000, 1000):
        catalog.create_many(
            [
                TimeSeries(name=f"{run}/timeSeries/{i}", display_name=f"tag {i}")
                for i in range(start, start + 1000)
            ]
        )

    assert len(ids(catalog, Run, experiment.name, page_size=1000)) == 2000
    assert len(set(ids(catalog, TimeSeries, run, page_size=1000))) == 10_000
    assert catalog.count_children(TimeSeries, [run]) == {run: 10_000}

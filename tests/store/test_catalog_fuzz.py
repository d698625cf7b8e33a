"""Whatever a caller sends, the catalog answers or raises one of our own errors."""

import contextlib

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tensordeck import errors
from tensordeck.filters import parse_filter
from tensordeck.store.contract import Catalog
from tensordeck.store.resources import Context, Experiment, Resource, Run, StoredObject, Tensorboard
from tests.store.samples import PLACE
from tests.strategies import close_texts, resource_names

SHARED_STORE = settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
KINDS: st.SearchStrategy[type[Resource]] = st.sampled_from(
    [Tensorboard, Experiment, Run, Context, StoredObject]
)
NAMES = st.one_of(
    resource_names(),
    st.text(max_size=20),
    st.builds(
        "projects/{}/locations/{}/tensorboards/{}/experiments/{}".format,
        *[st.sampled_from(["-", "p", "us-central1", "1", "e", "", "%"])] * 4,
    ),
    st.sampled_from(["", "-", "/", PLACE, f"{PLACE}/tensorboards/1", "bucket"]),
)
FIELDS = st.sampled_from(
    [
        "name",
        "display_name",
        "createTime",
        "labels",
        "labels.a",
        'labels."\\""',
        "metadata.a.number_value",
        "state",
        "run_count",
        "is_default",
        "parent_contexts",
        "value_type",
        "nothing",
    ]
)
VALUES = st.one_of(
    st.sampled_from(["*", "true", "1", "1e400", "-0", "9" * 30, "2026-01-01T00:00:00Z", "SCALAR"]),
    close_texts.map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'),
)
COMPARISONS = st.builds(
    "{}{}{}".format, FIELDS, st.sampled_from(["=", "!=", "<", "<=", ">", ">=", ":"]), VALUES
)
FILTERS = st.lists(
    st.one_of(COMPARISONS, COMPARISONS.map("(NOT {})".format), st.just('in_context("x")')),
    max_size=4,
).map(" OR ".join)
ORDERS = st.lists(st.builds("{} {}".format, FIELDS, st.sampled_from(["", "desc", "x"]))).map(
    ",".join
)


@SHARED_STORE
@given(
    kind=KINDS,
    parent=NAMES,
    text=FILTERS,
    order_by=ORDERS,
    page_size=st.integers(-1, 3),
    token=st.one_of(st.just(""), st.text(max_size=30)),
    prefix=st.text(max_size=5),
)
@example(
    kind=Tensorboard,
    parent=PLACE,
    text="run_count=" + "9" * 30,
    order_by="",
    page_size=1,
    token="",
    prefix="",
)
def test_a_list_answers_or_says_what_is_wrong(
    catalog: Catalog,
    kind: type[Resource],
    parent: str,
    text: str,
    order_by: str,
    page_size: int,
    token: str,
    prefix: str,
) -> None:
    if catalog.find(Tensorboard, f"{PLACE}/tensorboards/1") is None:
        catalog.create(Tensorboard(name=f"{PLACE}/tensorboards/1", labels={"a": '"'}))
        catalog.create(Experiment(name=f"{PLACE}/tensorboards/1/experiments/e"))

    with contextlib.suppress(errors.InvalidArgument, errors.NotFound):
        page = catalog.list(
            kind,
            parent,
            filter=parse_filter(text),
            order_by=order_by,
            page_size=page_size,
            page_token=token,
            name_prefix=prefix,
        )
        assert len(page.items) <= page_size


@SHARED_STORE
@given(kind=KINDS, name=NAMES | st.text())
@example(kind=Tensorboard, name="\x00")
def test_any_name_is_found_or_not(catalog: Catalog, kind: type[Resource], name: str) -> None:
    with contextlib.suppress(errors.InvalidArgument):
        assert catalog.find_many(kind, [name]).keys() <= {name}
    with contextlib.suppress(errors.InvalidArgument, errors.NotFound):
        catalog.delete(kind, name)
    with contextlib.suppress(errors.InvalidArgument, errors.NotFound):
        catalog.links("child", source=name)
    with contextlib.suppress(errors.InvalidArgument, errors.NotFound):
        catalog.add_links("child", name, [name])

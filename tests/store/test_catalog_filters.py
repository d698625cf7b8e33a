"""Filters on the catalog: what the client sends, and any filter against an oracle in Python."""

import operator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tensordeck import errors
from tensordeck.filters import All, Any_, Comparison, Filter, Function, Not, parse_filter
from tensordeck.store.contract import Catalog
from tensordeck.store.resources import (
    Artifact,
    Context,
    CustomJob,
    Execution,
    Experiment,
    JobState,
    MetadataStore,
    Resource,
    Run,
    Tensorboard,
    TimeSeries,
    TrainingPipeline,
    ValueType,
)
from tests.store.samples import PLACE
from tests.strategies import close_texts, documents, filters

STORE = f"{PLACE}/metadataStores/default"


def matches(catalog: Catalog, kind: type[Resource], parent: str, text: str) -> set[str]:
    """The last ids of what a filter lets through."""
    page = catalog.list(kind, parent, filter=parse_filter(text), page_size=1000)
    assert page.next_token == ""
    return {record.name.rsplit("/", 1)[-1] for record in page.items}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("is_default=true", "b"),
        ("isDefault = false", "a c"),
        ("NOT is_default=true", "a c"),
        ("is_default != TRUE", "a c"),
        ("display_name = some-name", "a"),
        ('displayName = "some name"', "b"),
        ("display_name = some*", "a b"),
        ("display_name = *name", "a b"),
        ("display_name = so*ame", "a b"),
        ("display_name = *e-n*", "a"),
        ("display_name = *", "a b c"),
        ("display_name = SOME*", ""),
        ('display_name:"e n"', "b"),
        ("display_name:*", "a b"),
        ("display_name < some-z", "a b c"),
        (f'name = "{PLACE}/tensorboards/a"', "a"),
        ("name = *ards/c", "c"),
        ("labels.team = red", "a"),
        ("labels.team != red", "b c"),
        ("labels.team:*", "a b"),
        ("labels:team", "a b"),
        ("labels:*", "a b"),
        ('labels."odd.key\\"\'%" = "x y"', "b"),
        ("labels.team = r* OR labels.team = *e", "a b"),
        ("labels.none = x", ""),
        ("create_time < 2026-01-01T00:00:00Z", "a b"),
        ('create_time >= "2020-01-01T00:00:00.5+00:00"', "b c"),
        ('create_time = "2020-01-01T01:00:00+01:00"', "a"),
        ('create_time > "1970-01-01T00:00:00Z" AND create_time < "2020-01-01T00:00:01Z"', "a"),
        ('create_time < "2020-01-01T00:00:00.0000001Z"', "a"),
        ('create_time >= "2020-01-01T00:00:00.0000001Z"', "b c"),
        ('create_time = "2020-01-01T00:00:00.0000001Z"', ""),
        ("run_count = 0", "a b c"),
        ("run_count > 0", ""),
        ("is_default=true OR labels.team=red", "a b"),
        ("is_default=false labels.team=red", "a"),
        ("-(is_default=true OR labels.team=red)", "c"),
        ("encryption_spec.kms_key_name = k", "c"),
        ('display_name = "\' OR 1=1 --"', ""),
    ],
)
def test_instances(catalog: Catalog, text: str, expected: str) -> None:
    catalog.create_many(
        [
            Tensorboard(
                name=f"{PLACE}/tensorboards/a",
                display_name="some-name",
                labels={"team": "red"},
                create_time=1_577_836_800_000_000,  # 2020-01-01T00:00:00Z
            ),
            Tensorboard(
                name=f"{PLACE}/tensorboards/b",
                display_name="some name",
                is_default=True,
                labels={"team": "blue", "odd.key\"'%": "x y"},
                create_time=1_577_836_801_000_000,
            ),
            Tensorboard(name=f"{PLACE}/tensorboards/c", kms_key_name="k"),
        ]
    )

    assert matches(catalog, Tensorboard, PLACE, text) == set(expected.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('state="{}_SUCCEEDED" AND display_name:"my_job_*"', "done"),
        ('state!="{}_FAILED" OR display_name="my_job_4"', "new done broken"),
        ("state = {}_QUEUED OR state = {}_RUNNING", "new"),
        ("state = 5", "broken"),
        ('NOT display_name="my_job_4"', "new done"),
        ("labels.team:*", "done"),
        ('start_time < "2100-01-01T00:00:00Z"', "done broken"),
        ('startTime <= "1970-01-01T00:00:01Z"', "done"),
        ('end_time > "1970-01-01T00:00:02Z"', "broken"),
        ("end_time:*", "done broken"),
        ("NOT start_time:*", "new"),
        ("error.code = 3", "broken"),
    ],
)
@pytest.mark.parametrize(
    ("kind", "prefix"), [(CustomJob, "JOB_STATE"), (TrainingPipeline, "PIPELINE_STATE")]
)
def test_training(catalog: Catalog, kind: type[Resource], prefix: str, text: str, expected: str):
    second = 1_000_000
    for name, title, state, fields in [
        ("new", "other", JobState.QUEUED, {}),
        (
            "done",
            "my_job_1",
            JobState.SUCCEEDED,
            {"start_time": second, "end_time": 2 * second, "labels": {"team": "a"}},
        ),
        (
            "broken",
            "my_job_4",
            JobState.FAILED,
            {"start_time": 2 * second, "end_time": 3 * second, "error": {"code": 3}},
        ),
    ]:
        full_name = f"{PLACE}/{kind.kind}/{name}"
        catalog.create(kind(name=full_name, display_name=title, state=state, **fields))

    assert matches(catalog, kind, PLACE, text.replace("{}", prefix)) == set(expected.split())


@pytest.mark.parametrize("field", ["lease_owner", "handle.pid", "attempt", "cancel_requested"])
def test_what_runs_a_job_is_nobody_else_s_business(catalog: Catalog, field: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="can't be searched by"):
        matches(catalog, CustomJob, PLACE, f"{field} = 1")


def test_the_uploader_finds_a_series_by_its_tag(catalog: Catalog, run: Run) -> None:
    tags = ["loss", "Loss", 'a "b"', "é/😀", "lo\\ss", "l%", "l_ss"]
    for i, tag in enumerate(tags):
        catalog.create(TimeSeries(name=f"{run.name}/timeSeries/{i}", display_name=tag))

    for i, text in enumerate(
        [
            'display_name = "loss"',
            'display_name = "Loss"',
            'display_name = "a \\"b\\""',
            'display_name = "\\u00e9/\\ud83d\\ude00"',
            'display_name = "lo\\\\ss"',
            'display_name = "l%"',
            'display_name = "l_ss"',
        ]
    ):
        assert matches(catalog, TimeSeries, run.name, text) == {str(i)}


def test_enums_go_by_name_or_number(
    catalog: Catalog, run: Run, metadata_store: MetadataStore
) -> None:
    for kind in ValueType:
        name = f"{run.name}/timeSeries/{kind.name.lower().replace('_', '-')}"
        catalog.create(TimeSeries(name=name, display_name=kind.name, value_type=kind))
    catalog.create(Artifact(name=f"{STORE}/artifacts/live", state=2))
    catalog.create(Execution(name=f"{STORE}/executions/done", state=3))

    assert matches(catalog, TimeSeries, run.name, 'value_type="SCALAR"') == {"scalar"}
    assert matches(catalog, TimeSeries, run.name, "value_type = 2") == {"tensor"}
    assert matches(catalog, TimeSeries, run.name, "value_type != SCALAR") == {
        "tensor",
        "blob-sequence",
    }
    assert matches(catalog, Artifact, STORE, "state=LIVE") == {"live"}
    assert matches(catalog, Execution, STORE, 'state="COMPLETE"') == {"done"}
    assert matches(catalog, Execution, STORE, "state=FAILED") == set()


@pytest.fixture
def lineage(catalog: Catalog, metadata_store: MetadataStore) -> Catalog:
    """Experiments E and F with runs, executions and artifacts, as the client makes them."""
    for name, title in [
        ("E", "system.Experiment"),
        ("F", "system.Experiment"),
        ("E-r", "system.ExperimentRun"),
        ("F-r", "system.ExperimentRun"),
        ("E-p", "system.PipelineRun"),
    ]:
        catalog.create(
            Context(
                name=f"{STORE}/contexts/{name}",
                display_name=name,
                schema_title=title,
                metadata={
                    "field": 10.0,
                    "text": name,
                    "a:b": name == "E",
                    "_metrics": {"loss": 0.5 if name == "E-r" else 2},
                    "nothing": None,
                },
            )
        )
    for name, title in [("m", "google.ClassificationMetrics"), ("v", "google.VertexModel")]:
        catalog.create(
            Artifact(name=f"{STORE}/artifacts/{name}", schema_title=title, uri=f"https://{name}")
        )
    catalog.create(Execution(name=f"{STORE}/executions/x", schema_title="system.Run"))
    catalog.add_links("child", f"{STORE}/contexts/E", [f"{STORE}/contexts/E-{i}" for i in "rp"])
    catalog.add_links("child", f"{STORE}/contexts/F", [f"{STORE}/contexts/F-r"])
    catalog.add_links("member", f"{STORE}/contexts/E-r", [f"{STORE}/artifacts/m"])
    catalog.add_links("member", f"{STORE}/contexts/E-r", [f"{STORE}/executions/x"])
    return catalog


RUNS = 'schema_title="system.ExperimentRun" OR schema_title="system.PipelineRun"'
E, F, E_R = (f"{STORE}/contexts/{i}" for i in ("E", "F", "E-r"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('schema_title="system.Experiment"', "E F"),
        ('schema_title="system.Experiment" AND (display_name = E)', "E"),
        (f'schema_title="system.ExperimentRun" AND parent_contexts:"{E}"', "E-r"),
        (f'({RUNS}) AND parent_contexts:"{E}"', "E-r E-p"),
        (f'schema_title="system.PipelineRun" AND parent_contexts:"{E}"', "E-p"),
        (f'parent_contexts:"{E}","{F}"', "E-r E-p F-r"),
        (f'parentContexts : "{F}"', "F-r"),
        (f'NOT parent_contexts:"{E}"', "E F F-r"),
        ("parent_contexts:*", "E-r E-p F-r"),
        (f'child_contexts:"{E_R}"', "E"),
        ('parent_contexts:"none"', ""),
        ("metadata.field.number_value = 10.0 AND display_name=E", "E"),
        ("metadata.field.number_value > 10", ""),
        ("metadata.text.string_value = E*", "E E-r E-p"),
        ("metadata.field.string_value = 10", ""),
        ('metadata."a:b".bool_value = true', "E"),
        ("metadata._metrics.loss.number_value <= 0.5", "E-r"),
        ("metadata._metrics.loss >= 1", "E F F-r E-p"),
        ("metadata._metrics:loss", ""),
        ("metadata._metrics.loss:*", "E F E-r F-r E-p"),
        ("metadata.text.deeper = E", ""),
        ("metadata.nothing = null", ""),
        ("metadata.nothing:*", "E F E-r F-r E-p"),
    ],
)
def test_contexts(lineage: Catalog, text: str, expected: str) -> None:
    assert matches(lineage, Context, STORE, text) == set(expected.split())


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (Execution, f'(schema_title="system.Run") AND in_context("{E_R}")', "x"),
        (Execution, f'schema_title="system.Run" AND in_context("{E}")', ""),
        (Execution, f'in_context("{E_R}")', "x"),
        (Artifact, f'schema_title="google.ClassificationMetrics" AND in_context("{E_R}")', "m"),
        (Artifact, f'in_context("{E_R}") AND schema_title="google.ExperimentModel"', ""),
        (Artifact, f'in_context("{E_R}")', "m"),
        (Artifact, f'NOT in_context("{E_R}")', "v"),
        (Artifact, f'in_context("{E}", "{E_R}")', "m"),
        (Artifact, 'schema_title="google.VertexModel" AND uri="https://v"', "v"),
        (Artifact, 'uri = "https://m"', "m"),
    ],
)
def test_artifacts_and_executions(
    lineage: Catalog, kind: type[Resource], text: str, expected: str
) -> None:
    assert matches(lineage, kind, STORE, text) == set(expected.split())


@pytest.mark.parametrize(
    ("kind", "text", "word"),
    [
        (Tensorboard, "nothing = 1", 'character 1: tensorboards can\'t be searched by "nothing"'),
        (Tensorboard, "run_count = 1 AND (nothing = 1)", "character 20"),
        (Tensorboard, "pk = 1", "pk"),
        (Tensorboard, "display_name.x = 1", "display_name.x"),
        (Tensorboard, "is_default = 1", "character 1"),
        (Tensorboard, "is_default > true", "character 1"),
        (Tensorboard, "a=1 AND run_count = x", "a"),
        (Tensorboard, "run_count = x", "character 1"),
        (Tensorboard, "run_count = 1_000", "number"),
        (Tensorboard, "run_count = nan", "number"),
        (Tensorboard, "  create_time > yesterday", "character 3"),
        (Tensorboard, 'create_time > "2026-13-01T00:00:00Z"', "RFC 3339"),
        (Tensorboard, 'create_time > "2026-01-01"', "RFC 3339"),
        (Tensorboard, "labels = x", "labels.KEY"),
        (Tensorboard, 'in_context("x")', "in_context"),
        (Artifact, "in_context()", "in_context"),
        (Artifact, 'f("x")', "f"),
        (Artifact, "state = NONSENSE", "LIVE"),
        (Context, "parent_contexts > x", "parent_contexts"),
        (Context, "metadata.x.number_value = abc", "number"),
    ],
)
def test_what_does_not_fit_is_refused(
    lineage: Catalog, kind: type[Resource], text: str, word: str
) -> None:
    with pytest.raises(errors.InvalidArgument, match="filter") as caught:
        lineage.list(
            kind, STORE if kind in {Artifact, Context} else PLACE, filter=parse_filter(text)
        )

    assert word in str(caught.value)


def test_the_widest_filter_is_answered(catalog: Catalog, tensorboard: Tensorboard) -> None:
    text = " OR ".join(f"labels.l{i} = {i}" for i in range(199))

    assert matches(catalog, Tensorboard, PLACE, text) == set()
    assert matches(catalog, Tensorboard, PLACE, f"display_name=first OR {text}") == {"1"}
    nested = "NOT (" * 50 + "display_name=first" + ")" * 50
    assert matches(catalog, Tensorboard, PLACE, nested) == {"1"}


ORDERINGS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def evaluate(tree: Filter, record: Context) -> bool:
    """What a filter means for a context, without SQL."""
    match tree:
        case All(operands):
            return all(evaluate(operand, record) for operand in operands)
        case Any_(operands):
            return any(evaluate(operand, record) for operand in operands)
        case Not(operand):
            return not evaluate(operand, record)
        case Function():
            raise NotImplementedError
    value = tree.value[0]
    if tree.op == "!=":
        same = Comparison(tree.path, "=", tree.value, 0, tree.wildcard)
        return not evaluate(same, record)
    subject: Any = getattr(record, tree.path[0])
    if tree.path[0] == "create_time":
        number = int(value.removeprefix("1970-01-01T00:00:0").removesuffix("Z"))
        return holds(subject, tree.op, number * 1_000_000)
    if isinstance(subject, str):
        if tree.op == ":" and value == "*":
            return subject != ""
        if tree.op == ":" and not (tree.wildcard and "*" in value):
            return value in subject
        return text_holds(subject, tree.op, value, wildcard=tree.wildcard)
    for key in tree.path[1:]:
        if not isinstance(subject, dict) or key not in subject:
            return False
        subject = subject[key]
    if tree.op == ":" and value == "*":
        return True
    if isinstance(subject, str):
        return text_holds(subject, tree.op, value, wildcard=tree.wildcard)
    if isinstance(subject, bool):
        return tree.op not in ORDERINGS and value == str(subject).lower()
    if isinstance(subject, int | float) and value.lstrip("-").isdigit() and value.isascii():
        return holds(subject, tree.op, int(value))
    return False


def holds(subject: Any, op: str, value: Any) -> bool:
    """A comparison of two of a kind."""
    return ORDERINGS[op](subject, value) if op in ORDERINGS else subject == value


def text_holds(subject: str, op: str, value: str, *, wildcard: bool) -> bool:
    """A comparison of texts, with stars at an end."""
    if op in ORDERINGS or not wildcard or "*" not in value:
        return holds(subject, op, value)
    if len(value) > 1 and value[0] == value[-1] == "*":
        return value[1:-1] in subject
    start, _, end = value.partition("*")
    return len(subject) >= len(start + end) and subject.startswith(start) and subject.endswith(end)


CONTEXTS = st.builds(
    Context,
    name=st.just(""),
    display_name=close_texts,
    labels=st.dictionaries(close_texts, close_texts, max_size=2),
    metadata=documents,
    create_time=st.integers(1, 5).map(lambda second: second * 1_000_000),
)
OPS = st.sampled_from(["=", "!=", "<", "<=", ">", ">=", ":"])
VALUES = close_texts | st.sampled_from(["*", "true", "false", "1", "0", "-2", "null"])
COMPARISONS = st.one_of(
    st.builds(
        Comparison,
        st.one_of(
            st.just(("display_name",)),
            st.tuples(st.just("labels"), close_texts),
            st.tuples(st.just("metadata"), close_texts),
            st.tuples(st.just("metadata"), close_texts, close_texts),
        ),
        OPS,
        st.tuples(VALUES),
        wildcard=st.booleans(),
    ),
    st.builds(
        Comparison,
        st.just(("create_time",)),
        OPS.filter(lambda op: op != ":"),
        st.tuples(st.integers(0, 6).map(lambda second: f"1970-01-01T00:00:0{second}Z")),
    ),
)


@settings(
    max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(contexts=st.lists(CONTEXTS, min_size=1, max_size=4), tree=filters(COMPARISONS))
@example(
    contexts=[Context(name="", metadata={"a": {"a": True}})],
    tree=Not(Comparison(("metadata", "a", "a"), "=", ("true",))),
)
def test_any_filter_means_what_the_oracle_says(
    catalog: Catalog, contexts: list[Context], tree: Filter
) -> None:
    store = f"{PLACE}/metadataStores/oracle"
    if catalog.find(MetadataStore, store):
        catalog.delete(MetadataStore, store)
    catalog.create(MetadataStore(name=store))
    records = catalog.create_many(
        [replace(context, name=f"{store}/contexts/{i}") for i, context in enumerate(contexts)]
    )

    found = catalog.list(Context, store, filter=tree).items

    assert found == [record for record in records if evaluate(tree, record)]


def test_a_filter_meets_a_wildcard_parent(
    catalog: Catalog, tensorboard: Tensorboard, run: Run
) -> None:
    other = catalog.create(Experiment(name=f"{tensorboard.name}/experiments/other"))
    catalog.create(Run(name=f"{other.name}/runs/r2", display_name="r2"))

    parent = f"{tensorboard.name}/experiments/-"
    assert matches(catalog, Run, parent, "display_name=r2") == {"r2"}

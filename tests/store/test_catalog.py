"""Resources one by one: create, read, update, delete, and the rules between them."""

import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tensordeck import errors
from tensordeck.settings import Settings
from tensordeck.store.catalog import SqlCatalog
from tensordeck.store.contract import Catalog
from tensordeck.store.database import Database, open_database
from tensordeck.store.resources import (
    Artifact,
    Bucket,
    Context,
    Credential,
    CustomJob,
    Execution,
    Experiment,
    JobState,
    MetadataSchema,
    MetadataStore,
    Model,
    ModelVersion,
    Operation,
    Resource,
    Run,
    StoredObject,
    Tensorboard,
    TimeSeries,
    TrainingPipeline,
    UploadSession,
    ValueType,
)
from tests.store.samples import PLACE, changed
from tests.strategies import documents, texts

SHARED_STORE = settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)

STORE = f"{PLACE}/metadataStores/default"
BOARD = f"{PLACE}/tensorboards/1"
NODE = {"display_name": "d", "description": "é", "labels": {"a": "b"}, "schema_title": "t"}

EVERY_KIND: list[Resource] = [
    Tensorboard(
        name=BOARD, display_name="x", description="😀", labels={"a": "b"}, kms_key_name="key"
    ),
    Experiment(name=f"{BOARD}/experiments/e", display_name="e", labels={"c": ""}, source="s"),
    Run(name=f"{BOARD}/experiments/e/runs/r", display_name="r", description="d", labels={"l": "m"}),
    TimeSeries(
        name=f"{BOARD}/experiments/e/runs/r/timeSeries/t",
        display_name="loss/train",
        value_type=ValueType.TENSOR,
        plugin_name="histograms",
        plugin_data=b"\0\xff",
    ),
    MetadataStore(name=STORE, description="d"),
    MetadataSchema(
        name=f"{STORE}/metadataSchemas/s", schema="{}", schema_version="0.0.1", schema_type=1
    ),
    Context(name=f"{STORE}/contexts/c", **NODE, metadata={"lr": 0.1, "n": {"x": [1, None, True]}}),
    Artifact(name=f"{STORE}/artifacts/a", **NODE, uri="gs://b/o", state=2),
    Execution(name=f"{STORE}/executions/x", **NODE, state=3),
    Operation(name=f"{PLACE}/operations/1", payload=b"\0done"),
    Credential(
        name="key-1",
        credential_kind="server",
        principal="a@b.c",
        secret_hash="00",
        public_key="PEM",
        secret=b"\1\0",
        revoked=True,
    ),
    Bucket(name="bucket", project="p", labels={"a": "b"}, extra={"x": 1}, iam_policy={"b": []}),
    StoredObject(
        name="bucket/dir//file name.txt",
        generation=2**62,
        size=2**40,
        md5=bytes(16),
        crc32c=2**32 - 1,
        content_type="text/plain",
        blob_key="k",
        metadata={"k": "v"},
        extra={"contentEncoding": "gzip"},
    ),
    UploadSession(
        name="up", object_name="bucket/o", received=7, parts=("a", "b"), request={"x": 1}
    ),
    CustomJob(
        name=f"{PLACE}/customJobs/1",
        display_name="d",
        labels={"a": "b"},
        job_spec={"workerPoolSpecs": [{"replicaCount": "1"}]},
        kms_key_name="key",
        state=JobState.CANCELLING,
        start_time=2**50,
        end_time=2**50 + 1,
        error={"code": 3, "message": "é"},
        principal="a@b.c",
        pipeline=f"{PLACE}/trainingPipelines/1",
        attempt=2,
        executor="process",
        handle={"folder": "/f", "pid": 7},
        lease_owner="server",
        lease_until=2**50,
        cancel_requested=True,
    ),
    TrainingPipeline(
        name=f"{PLACE}/trainingPipelines/1",
        display_name="d",
        labels={"a": "b"},
        definition="gs://d.yaml",
        inputs={"worker_pool_specs": [{"replica_count": 1.0}, {}, None]},
        metadata={"backingCustomJob": f"{PLACE}/customJobs/1"},
        input_data_config={"datasetId": "1"},
        model_to_upload={"displayName": "m"},
        model_id="m",
        parent_model=f"{PLACE}/models/1",
        kms_key_name="key",
        state=JobState.FAILED,
        start_time=2**50,
        end_time=2**50 + 1,
        error={"code": 3, "message": "é"},
        custom_job=f"{PLACE}/customJobs/1",
    ),
    Model(
        name=f"{PLACE}/models/1",
        display_name="d",
        description="é",
        labels={"a": "b"},
        aliases={"default": "2"},
        last_version=2,
    ),
    ModelVersion(
        name=f"{PLACE}/models/1/versions/2",
        description="d",
        labels={"a": "b"},
        artifact_uri="gs://b/m",
        spec={"containerSpec": {"imageUri": "i"}},
        training_pipeline=f"{PLACE}/trainingPipelines/1",
    ),
]


def test_every_kind_comes_back_as_it_went_in(catalog: Catalog) -> None:
    for resource in EVERY_KIND:
        created = catalog.create(resource)

        assert created.pk > 0
        assert created.revision == 1
        assert created.update_time == created.create_time > 1_700_000_000_000_000
        assert catalog.get(type(resource), resource.name) == created
        own = {"pk": 0, "create_time": 0, "update_time": 0}
        own |= {"run_pk": 0} if isinstance(created, TimeSeries) else {}
        assert replace(created, **own) == resource


def test_a_series_knows_its_run(catalog: Catalog, run: Run) -> None:
    series = catalog.create(TimeSeries(name=f"{run.name}/timeSeries/1", display_name="a"))

    assert series.run_pk == run.pk


def test_given_times_are_kept(catalog: Catalog) -> None:
    given_times = Tensorboard(name=BOARD, create_time=5, update_time=7)

    assert catalog.create(given_times).create_time == 5
    assert catalog.get(Tensorboard, BOARD).update_time == 7


@SHARED_STORE
@given(text=texts, document=documents)
def test_texts_and_documents_keep_every_character(
    catalog: Catalog, text: str, document: dict[str, object]
) -> None:
    store = catalog.find(MetadataStore, STORE) or catalog.create(MetadataStore(name=STORE))
    name = f"{store.name}/contexts/c"
    if catalog.find(Context, name):
        catalog.delete(Context, name)

    catalog.create(Context(name=name, display_name=text, metadata=document))

    found = catalog.get(Context, name)
    assert found.display_name == text
    assert found.metadata == document


def test_documents_keep_numbers_that_json_has_not(
    catalog: Catalog, metadata_store: MetadataStore
) -> None:
    metadata = {
        "loss": float("nan"),
        "best": [float("inf"), {"$number": "nan"}],
        "deep": {"$number": float("-inf")},
        "$object": {"$object": {"$number": 1}},
    }
    name = f"{metadata_store.name}/contexts/c"

    catalog.create(Context(name=name, metadata=metadata))

    found = catalog.get(Context, name).metadata
    assert found["loss"] != found["loss"]
    assert {**found, "loss": 0} == {**metadata, "loss": 0}


@pytest.mark.parametrize(
    "bad", ["\0", "a\0b", "\ud800", "a\udfffb"], ids=["nul", "inner nul", "high", "low"]
)
def test_text_that_no_database_takes_is_refused(catalog: Catalog, bad: str) -> None:
    with pytest.raises(errors.InvalidArgument):
        catalog.create(Tensorboard(name=BOARD, display_name=bad))
    assert catalog.find(Tensorboard, BOARD) is None
    assert catalog.create(Tensorboard(name=BOARD)).pk


def test_a_number_beyond_64_bits_is_refused(catalog: Catalog) -> None:
    catalog.create(Bucket(name="b"))

    with pytest.raises(errors.InvalidArgument):
        catalog.create(StoredObject(name="b/o", generation=2**63, size=0))


def test_what_is_missing_is_not_found(catalog: Catalog, run: Run) -> None:
    missing = f"{run.name}/timeSeries/none"

    assert catalog.find(TimeSeries, missing) is None
    assert catalog.find_many(Run, [run.name, missing]) == {run.name: run}
    for call in (
        lambda: catalog.get(TimeSeries, missing),
        lambda: catalog.update(TimeSeries, missing, changed(description="x")),
        lambda: catalog.delete(TimeSeries, missing),
    ):
        with pytest.raises(errors.NotFound, match=missing):
            call()


def test_a_child_needs_its_parent(catalog: Catalog) -> None:
    with pytest.raises(errors.NotFound, match="experiments/none"):
        catalog.create(Run(name=f"{BOARD}/experiments/none/runs/r", display_name="r"))


def test_a_name_is_taken_once(catalog: Catalog, run: Run) -> None:
    with pytest.raises(errors.AlreadyExists, match="already exists"):
        catalog.create(Run(name=run.name, display_name="another"))


def test_names_count_by_case(catalog: Catalog, run: Run) -> None:
    assert catalog.create(Run(name=run.name.replace("/r", "/R"), display_name="R"))


@pytest.mark.parametrize("kind", [Run, TimeSeries])
def test_a_display_name_is_unique_below_one_parent(
    catalog: Catalog, experiment: Experiment, run: Run, kind: type[Run | TimeSeries]
) -> None:
    parent = experiment if kind is Run else run
    first, second = (
        catalog.create(kind(name=f"{parent.name}/{kind.kind}/{i}", display_name=i)) for i in "12"
    )

    with pytest.raises(errors.AlreadyExists, match="already exists"):
        catalog.create(kind(name=f"{parent.name}/{kind.kind}/3", display_name="1"))
    with pytest.raises(errors.AlreadyExists, match="already exists"):
        catalog.update(kind, second.name, changed(display_name="1"))
    assert catalog.get(kind, second.name) == second
    assert catalog.update(kind, first.name, changed(display_name="1")).display_name == "1"


def test_the_same_display_name_below_another_parent(
    catalog: Catalog, tensorboard: Tensorboard, run: Run
) -> None:
    other = catalog.create(Experiment(name=f"{tensorboard.name}/experiments/other"))

    assert catalog.create(Run(name=f"{other.name}/runs/r", display_name=run.display_name))


def test_many_are_added_in_their_order(catalog: Catalog, run: Run) -> None:
    series = [
        TimeSeries(name=f"{run.name}/timeSeries/{i}", display_name=f"tag {i}") for i in range(2500)
    ]

    created = catalog.create_many(series)

    assert [record.name for record in created] == [record.name for record in series]
    assert [record.pk for record in created] == sorted({record.pk for record in created})
    names = [record.name for record in series]
    assert catalog.find_many(TimeSeries, names) == {record.name: record for record in created}
    assert catalog.create_many([]) == []


@pytest.mark.parametrize(
    "spoiler",
    [
        ("timeSeries/1", "another"),
        ("timeSeries/new", "tag 1"),
        ("timeSeries/there", "another"),
        ("timeSeries/new", "there"),
    ],
    ids=["name twice", "display name twice", "name taken", "display name taken"],
)
def test_many_are_added_all_or_none(catalog: Catalog, run: Run, spoiler: tuple[str, str]) -> None:
    catalog.create(TimeSeries(name=f"{run.name}/timeSeries/there", display_name="there"))
    series = [
        TimeSeries(name=f"{run.name}/timeSeries/{i}", display_name=f"tag {i}") for i in range(5)
    ]
    series.append(TimeSeries(name=f"{run.name}/{spoiler[0]}", display_name=spoiler[1]))

    with pytest.raises(errors.AlreadyExists, match="already exists"):
        catalog.create_many(series)

    assert len(catalog.list(TimeSeries, run.name).items) == 1


def test_several_kinds_are_added_all_or_none(catalog: Catalog) -> None:
    model = Model(name=f"{PLACE}/models/1", display_name="m")
    version = ModelVersion(name=f"{model.name}/versions/1")
    job = CustomJob(name=f"{PLACE}/customJobs/1")
    catalog.create(job)

    with pytest.raises(errors.AlreadyExists, match="CustomJob"):
        catalog.create_many([model, version, job])
    assert catalog.find(Model, model.name) is None

    made = catalog.create_many([model, version])
    assert [record.name for record in made] == [model.name, version.name]
    assert catalog.get(ModelVersion, version.name) == made[1]


def test_a_model_s_versions_go_with_it(catalog: Catalog) -> None:
    for number in (1, 2):
        model = f"{PLACE}/models/{number}"
        catalog.create_many([Model(name=model), ModelVersion(name=f"{model}/versions/1")])

    catalog.delete(Model, f"{PLACE}/models/1")

    assert catalog.find(ModelVersion, f"{PLACE}/models/1/versions/1") is None
    assert catalog.find(ModelVersion, f"{PLACE}/models/2/versions/1") is not None


def test_an_update_writes_what_changed(catalog: Catalog, tensorboard: Tensorboard) -> None:
    updated = catalog.update(
        Tensorboard,
        tensorboard.name,
        changed(labels={"x": "y"}, pk=99, name="other", create_time=1, revision=77, run_count=5),
    )

    assert updated.labels == {"x": "y"}
    assert updated.revision == tensorboard.revision + 1
    assert updated.update_time >= tensorboard.update_time
    assert (updated.pk, updated.name, updated.create_time, updated.run_count) == (
        tensorboard.pk,
        tensorboard.name,
        tensorboard.create_time,
        0,
    )
    assert catalog.get(Tensorboard, tensorboard.name) == updated


def test_a_change_that_raises_writes_nothing(catalog: Catalog, tensorboard: Tensorboard) -> None:
    def refuse(_record: Tensorboard) -> Tensorboard:
        raise errors.Aborted("stale")

    with pytest.raises(errors.Aborted, match="stale"):
        catalog.update(Tensorboard, tensorboard.name, refuse)

    assert catalog.get(Tensorboard, tensorboard.name) == tensorboard


def test_twenty_threads_that_update_one_row_lose_nothing(
    catalog: Catalog, tensorboard: Tensorboard
) -> None:
    def add_ten() -> None:
        for _ in range(10):
            catalog.update(
                Tensorboard,
                tensorboard.name,
                lambda record: replace(record, labels={"count": record.labels.get("count", 0) + 1}),
            )

    threads = [threading.Thread(target=add_ten) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = catalog.get(Tensorboard, tensorboard.name)
    assert found.labels == {"count": 200}
    assert found.revision == 201


def test_of_threads_that_create_one_name_one_wins(catalog: Catalog, experiment: Experiment) -> None:
    outcomes: list[str] = []

    def create(i: int) -> None:
        try:
            catalog.create(Run(name=f"{experiment.name}/runs/one", display_name=f"{i}"))
            outcomes.append("made")
        except errors.AlreadyExists:
            outcomes.append("there")

    threads = [threading.Thread(target=create, args=(i,)) for i in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["made"] + ["there"] * 19


def test_one_instance_of_a_place_is_the_default(catalog: Catalog) -> None:
    def defaults() -> set[str]:
        found = catalog.list(Tensorboard, "").items
        return {record.name for record in found if record.is_default}

    elsewhere = PLACE.replace("us-central1", "europe-west4")
    a, b, c = f"{PLACE}/tensorboards/a", f"{PLACE}/tensorboards/b", f"{elsewhere}/tensorboards/c"
    catalog.create(Tensorboard(name=a, is_default=True))
    catalog.create(Tensorboard(name=c, is_default=True))
    assert defaults() == {a, c}

    catalog.create(Tensorboard(name=b, is_default=True))
    assert defaults() == {b, c}
    assert catalog.get(Tensorboard, a).revision == 2

    catalog.update(Tensorboard, a, changed(is_default=True))
    assert defaults() == {a, c}

    catalog.update(Tensorboard, a, changed(is_default=False))
    assert defaults() == {c}


def test_an_instance_counts_its_runs(catalog: Catalog, tensorboard: Tensorboard, run: Run) -> None:
    catalog.create(Tensorboard(name=f"{PLACE}/tensorboards/empty"))

    counts = {r.name: r.run_count for r in catalog.list(Tensorboard, PLACE).items}

    assert counts == {tensorboard.name: 1, f"{PLACE}/tensorboards/empty": 0}
    assert catalog.get(Tensorboard, tensorboard.name).run_count == 1


def test_children_are_counted_by_parent(catalog: Catalog, experiment: Experiment, run: Run) -> None:
    empty = catalog.create(Experiment(name=f"{experiment.name}2"))
    missing = f"{experiment.name}3"

    counts = catalog.count_children(Run, [experiment.name, empty.name, missing])

    assert counts == {experiment.name: 1, empty.name: 0, missing: 0}


def test_a_deletion_takes_all_below_and_nothing_else(catalog: Catalog) -> None:
    for resource in EVERY_KIND:
        catalog.create(resource)
    sibling = catalog.create(Tensorboard(name=f"{BOARD}1"))

    catalog.delete(Tensorboard, BOARD)

    gone = {Tensorboard, Experiment, Run, TimeSeries}
    for resource in EVERY_KIND:
        assert (catalog.find(type(resource), resource.name) is None) == (type(resource) in gone)
    assert catalog.get(Tensorboard, sibling.name) == sibling


def test_several_go_together_with_all_below_them(catalog: Catalog) -> None:
    for number in range(3):
        catalog.create(MetadataStore(name=f"{PLACE}/metadataStores/{number}"))
        catalog.create(Context(name=f"{PLACE}/metadataStores/{number}/contexts/c"))
    stores = [f"{PLACE}/metadataStores/{number}" for number in range(3)]

    assert catalog.delete_many(MetadataStore, [stores[0], stores[2], f"{stores[2]}x"]) == 2
    assert catalog.delete_many(MetadataStore, []) == 0

    contexts = catalog.find_many(Context, [f"{store}/contexts/c" for store in stores])
    assert list(contexts) == [f"{stores[1]}/contexts/c"]


def test_a_deletion_that_its_check_refuses_deletes_nothing(
    catalog: Catalog, tensorboard: Tensorboard, run: Run
) -> None:
    seen: list[Tensorboard] = []

    def refuse(record: Tensorboard) -> None:
        seen.append(record)
        raise errors.FailedPrecondition("not now")

    with pytest.raises(errors.FailedPrecondition, match="not now"):
        catalog.delete(Tensorboard, tensorboard.name, check=refuse)

    assert [record.pk for record in seen] == [tensorboard.pk]
    assert catalog.find(Run, run.name) == run
    catalog.delete(Tensorboard, tensorboard.name, check=lambda _record: None)
    assert catalog.find(Run, run.name) is None


def test_keys_are_never_used_again(catalog: Catalog, experiment: Experiment) -> None:
    name = f"{experiment.name}/runs/again"
    keys = []
    for _ in range(3):
        keys.append(catalog.create(Run(name=name, display_name="again")).pk)
        catalog.delete(Run, name)

    assert keys == sorted(set(keys))


def test_a_reopened_store_has_everything(database: Database, settings: Settings) -> None:
    created = [SqlCatalog(database).create(resource) for resource in EVERY_KIND]
    SqlCatalog(database).delete(Operation, f"{PLACE}/operations/1")
    last_key = created[9].pk
    database.close()

    reopened = open_database(settings)
    try:
        catalog = SqlCatalog(reopened)
        for record in created:
            expected = None if isinstance(record, Operation) else record
            if isinstance(record, Tensorboard):
                expected = replace(record, run_count=1)
            assert catalog.find(type(record), record.name) == expected
        assert catalog.create(Operation(name=f"{PLACE}/operations/2")).pk > last_key
    finally:
        reopened.close()


def test_a_second_process_sees_what_was_acknowledged(catalog: Catalog, settings: Settings) -> None:
    other = open_database(settings)
    try:
        for i in range(5):
            made = catalog.create(Tensorboard(name=f"{PLACE}/tensorboards/{i}"))
            assert SqlCatalog(other).get(Tensorboard, made.name) == made
            SqlCatalog(other).delete(Tensorboard, made.name)
            assert catalog.find(Tensorboard, made.name) is None
    finally:
        other.close()


@given(data=st.data())
@SHARED_STORE
def test_attempts_to_inject_are_only_text(catalog: Catalog, data: st.DataObject) -> None:
    tail = data.draw(
        st.sampled_from(["'", '"', "' OR 1=1 --", "'; DROP TABLE runs; --", "%", "_", ":name", "?"])
    )
    name = f"{PLACE}/tensorboards/x{tail}"
    if catalog.find(Tensorboard, name) is None:
        catalog.create(Tensorboard(name=name, display_name=tail, labels={tail: tail}))

    assert catalog.get(Tensorboard, name).labels == {tail: tail}
    assert catalog.find(Tensorboard, name + tail) is None
    assert [r.name for r in catalog.list(Tensorboard, "", name_prefix=name).items] == [name]


def test_a_number_that_becomes_a_flag_is_a_change(catalog):
    """Python holds 1.0 and true for equal; a caller who logged the one does not get the other."""
    catalog.create(MetadataStore(name=STORE))
    name = f"{STORE}/contexts/c"
    catalog.create(Context(name=name, metadata={"_params": {"on": 1.0}}))
    catalog.update(Context, name, lambda now: replace(now, metadata={"_params": {"on": True}}))
    assert catalog.get(Context, name).metadata["_params"]["on"] is True

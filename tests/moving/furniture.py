"""Fills stores with whatever can be in one, drawn by Hypothesis."""

from typing import Any

import google_crc32c
import numpy as np
from hypothesis import strategies as st
from msgspec.structs import replace

from tensordeck.store import Store
from tensordeck.store.blobs import new_key
from tensordeck.store.contract import PayloadColumns, ScalarColumns, SeriesPoints
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
    Run,
    StoredObject,
    Tensorboard,
    TimeSeries,
    TrainingPipeline,
    UploadSession,
    ValueType,
)
from tests.store.samples import PLACE
from tests.strategies import documents, texts

FEW = st.integers(0, 2)
NUMBERS = st.floats(width=64) | st.sampled_from([float("nan"), float("inf"), -float("inf"), -0.0])
STEPS = st.integers(-(2**50), 2**50) | st.integers(0, 20)
WALLS = st.integers(0, 2**61) | st.just(-(2**63))
LABELS = st.dictionaries(texts.filter(bool), texts, max_size=2)
METADATA = documents | st.dictionaries(texts, NUMBERS, max_size=2)


def furnish(store: Store, data: st.DataObject) -> None:
    """Writes to a store: resources of every kind, points, blobs, links; then removes some."""
    draw = data.draw
    for number in range(draw(FEW)):
        board = store.catalog.create(
            Tensorboard(
                name=f"{PLACE}/tensorboards/{number}",
                display_name=draw(texts),
                labels=draw(LABELS),
                is_default=draw(st.booleans()),
            )
        )
        store.catalog.record_view(board.name, "somebody@example.com")
        for experiment_id in range(draw(FEW)):
            experiment = store.catalog.create(
                Experiment(name=f"{board.name}/experiments/{experiment_id}", labels=draw(LABELS))
            )
            for run_id in range(draw(FEW)):
                _add_run(store, data, f"{experiment.name}/runs/{run_id}")
            if draw(st.booleans()):
                store.points.fold()
    _add_metadata(store, data)
    _add_objects(store, data)
    _add_training(store, data)
    store.catalog.create(Operation(name=f"{PLACE}/operations/1", payload=draw(st.binary())))
    store.catalog.create(
        Credential(name="server", credential_kind="server", secret=draw(st.binary()))
    )
    if draw(st.booleans()) and store.catalog.find(Tensorboard, f"{PLACE}/tensorboards/0"):
        store.catalog.delete(Tensorboard, f"{PLACE}/tensorboards/0")


def _add_run(store: Store, data: st.DataObject, name: str) -> None:
    draw = data.draw
    run = store.catalog.create(
        Run(name=name, display_name=draw(texts) + name[-1:], description=draw(texts))
    )
    for number in range(draw(st.integers(0, 3))):
        kind = draw(st.sampled_from(list(ValueType)))
        if kind not in (ValueType.SCALAR, ValueType.TENSOR, ValueType.BLOB_SEQUENCE):
            continue
        series = store.catalog.create(
            TimeSeries(
                name=f"{name}/timeSeries/{number}",
                display_name=f"{number}{draw(texts)}",
                value_type=kind,
                plugin_name="p",
                plugin_data=draw(st.binary(max_size=20)),
            )
        )
        for _ in range(draw(FEW)):
            steps = draw(st.lists(STEPS, min_size=1, max_size=12))
            columns = _scalars(data, steps) if kind is ValueType.SCALAR else _payloads(data, steps)
            store.points.append([SeriesPoints(series.pk, run.pk, columns)])
            if draw(st.booleans()):
                store.points.fold()


def _scalars(data: st.DataObject, steps: list[int]) -> ScalarColumns:
    size = len(steps)
    return ScalarColumns(
        np.array(steps, np.int64),
        np.array(data.draw(st.lists(WALLS, min_size=size, max_size=size)), np.int64),
        np.array(data.draw(st.lists(NUMBERS, min_size=size, max_size=size)), np.float64),
    )


def _payloads(data: st.DataObject, steps: list[int]) -> PayloadColumns:
    return PayloadColumns(
        np.array(steps, np.int64),
        np.array(steps, np.int64),
        [data.draw(st.binary(max_size=50)) for _ in steps],
        [data.draw(st.integers(0, 2**31 - 1)) for _ in steps],
        [data.draw(FEW) for _ in steps],
    )


def _add_metadata(store: Store, data: st.DataObject) -> None:
    draw = data.draw
    place = store.catalog.create(MetadataStore(name=f"{PLACE}/metadataStores/default"))
    store.catalog.create(
        MetadataSchema(name=f"{place.name}/metadataSchemas/s", schema="title: s", schema_type=1)
    )
    nodes: dict[str, Any] = {}
    for kind in (Context, Artifact, Execution):
        for letter in "ab":
            node = kind(
                name=f"{place.name}/{kind.kind}/{letter}",
                display_name=draw(texts),
                metadata=draw(METADATA),
            )
            nodes[f"{kind.kind}/{letter}"] = store.catalog.create(node)
    names = {key: node.name for key, node in nodes.items()}
    for link, source, target in (
        ("child", "contexts/a", "contexts/b"),
        ("member", "contexts/a", "artifacts/b"),
        ("member", "contexts/b", "executions/a"),
        ("input", "artifacts/a", "executions/a"),
        ("output", "executions/b", "artifacts/b"),
    ):
        if draw(st.booleans()):
            store.catalog.add_links(link, names[source], [names[target]], draw(documents))
    if draw(st.booleans()):
        store.catalog.delete(Artifact, names["artifacts/a"])


def _add_objects(store: Store, data: st.DataObject) -> None:
    draw = data.draw
    store.catalog.create(Bucket(name="bucket", iam_policy=draw(documents)))
    for number in range(draw(FEW)):
        content = draw(st.binary(max_size=100))
        key = new_key()
        store.blobs.write(key, iter((content,)))
        store.catalog.create(
            StoredObject(
                name=f"bucket/{number}/{draw(texts)}",
                generation=number,
                size=len(content),
                crc32c=google_crc32c.value(content),
                blob_key=key,
                metadata=draw(LABELS),
            )
        )
    key = new_key()
    store.blobs.write(key, iter((b"half of",)))
    store.catalog.create(
        UploadSession(name="upload", object_name="bucket/late", received=7, parts=(key,))
    )


def _add_training(store: Store, data: st.DataObject) -> None:
    draw = data.draw
    store.catalog.create(
        CustomJob(name=f"{PLACE}/customJobs/1", job_spec=draw(documents), state=JobState.FAILED)
    )
    store.catalog.create(
        TrainingPipeline(name=f"{PLACE}/trainingPipelines/1", inputs=draw(METADATA))
    )
    model = store.catalog.create(Model(name=f"{PLACE}/models/m", aliases={"default": "1"}))
    store.catalog.create(ModelVersion(name=f"{model.name}/versions/1", spec=draw(documents)))
    if draw(st.booleans()):
        store.catalog.update(Model, model.name, lambda found: replace(found, last_version=1))

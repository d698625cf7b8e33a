"""What a registered schema asks of the metadata that names it."""

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensordeck import errors
from tensordeck.services.schema_documents import read_schema
from tests.strategies import documents

DATASET = """
title: user.Dataset
type: object
required: [rows]
properties:
  rows: {type: integer, minimum: 0, exclusiveMinimum: true}
  owner: {type: string, nullable: true}
  split: {type: string, enum: [train, test], nullable: true}
  score: {type: number, format: double, maximum: 1.0}
  columns:
    type: array
    items: {type: string, pattern: "^[a-z_]+$"}
  nullable: {type: boolean}
additionalProperties: false
"""
ARTIFACT, EXECUTION, CONTEXT = 1, 2, 3


def register(api, schema: str = DATASET, version: str = "0.0.1", schema_type: int = ARTIFACT):
    return api(
        "CreateMetadataSchema",
        parent=api.metadata_store,
        metadata_schema={"schema": schema, "schema_version": version, "schema_type": schema_type},
    )


def create(api, metadata: dict, title: str = "user.Dataset", **fields) -> str:
    artifact = {"schema_title": title, "metadata": metadata, **fields}
    return api("CreateArtifact", parent=api.metadata_store, artifact=artifact).name


@pytest.mark.parametrize(
    "metadata",
    [
        {"rows": 3},
        {"rows": 3, "owner": None, "split": None, "nullable": True},
        {"rows": 3, "owner": "me", "split": "test", "score": 0.5, "columns": ["a", "b_c"]},
        {"rows": 3, "score": -math.inf},
        {"rows": 3, "score": math.nan},
    ],
)
def test_what_fits_is_taken(api, metadata):
    register(api)
    create(api, metadata)


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        ({}, "`metadata`.*rows"),
        ({"rows": 0}, "`metadata.rows`"),
        ({"rows": 2.5}, "`metadata.rows`"),
        ({"rows": "3"}, "`metadata.rows`"),
        ({"rows": None}, "`metadata.rows`"),
        ({"rows": 3, "split": "other"}, "`metadata.split`"),
        ({"rows": 3, "score": 1.5}, "`metadata.score`"),
        ({"rows": 3, "columns": ["a", "B"]}, "`metadata.columns.1`"),
        ({"rows": 3, "more": 1}, "`metadata`.*more"),
    ],
)
def test_what_does_not_fit_is_refused_by_place(api, metadata, named):
    register(api)
    with pytest.raises(errors.InvalidArgument, match=named) as caught:
        create(api, metadata)
    assert "artifact.metadata" in str(caught.value)
    assert "user.Dataset 0.0.1" in str(caught.value)


def test_a_change_must_fit_too(api):
    register(api)
    name = create(api, {"rows": 3})
    for artifact in (
        {"name": name, "metadata": {"rows": "x"}},
        {
            "name": name,
            "metadata": {"rows": "x"},
            "schema_title": "user.Dataset",
            "schema_version": "0.0.1",
        },
    ):
        with pytest.raises(errors.InvalidArgument, match=r"metadata\.rows"):
            api("UpdateArtifact", artifact=artifact)
    mask = {"paths": ["metadata.rows"]}
    bad = {"name": name, "metadata": {"rows": "x"}}
    with pytest.raises(errors.InvalidArgument, match=r"metadata\.rows"):
        api("UpdateArtifact", artifact=bad, update_mask=mask)
    good = {"name": name, "metadata": {"rows": 4}}
    assert api("UpdateArtifact", artifact=good, update_mask=mask).metadata["rows"] == 4


def test_what_is_older_than_its_schema_may_be_renamed(api):
    name = create(api, {"rows": "many"})
    register(api)
    api("UpdateArtifact", artifact={"name": name, "display_name": "old"})
    with pytest.raises(errors.InvalidArgument, match=r"metadata\.rows"):
        api("UpdateArtifact", artifact={"name": name, "metadata": {"rows": "more"}})


def test_a_schema_binds_its_version_and_its_kind_only(api):
    register(api)
    create(api, {}, schema_version="0.0.2")
    create(api, {}, title="user.Data")
    create(api, {}, title="system.Dataset")
    context = {"schema_title": "user.Dataset", "schema_version": "0.0.1", "metadata": {"a": 1}}
    api("CreateContext", parent=api.metadata_store, context=context)
    register(api, DATASET, "0.0.2", CONTEXT)
    with pytest.raises(errors.InvalidArgument, match=r"context\.metadata"):
        api(
            "CreateContext",
            parent=api.metadata_store,
            context={**context, "schema_version": "0.0.2"},
        )


def test_what_the_api_itself_names_is_never_refused(api):
    register(api, "title: system.Dataset\nrequired: [rows]")
    create(api, {}, title="system.Dataset")


def test_a_title_and_version_are_registered_once(api):
    register(api)
    with pytest.raises(errors.AlreadyExists, match=re.escape("user.Dataset")):
        register(api)
    register(api, version="0.0.2")
    register(api, "title: user.Dataset2")


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ("title: [user.Thing", "neither YAML nor JSON at line 2, column 1"),
        ("- title", "title"),
        ("type: object", "title"),
        ("title: ''", "title"),
        ("title: 7", "title"),
        ("title: a.B\ntype: nonsense", "nonsense"),
        ("title: a.B\nproperties: 7", "schema object"),
        ('title: a.B\nproperties: {a: {pattern: "("}}', "schema object"),
        ('title: a.B\nproperties: {a: {$ref: "http://127.0.0.1:9/x.json"}}', "another document"),
        ('title: a.B\nproperties: {a: {$ref: "file:///etc/passwd"}}', "another document"),
        ("title: a.B\na: &a [x]\nb: *a", "aliases"),
        ("title: a.B\nx: " + "[" * 40 + "]" * 40, "deeper"),
        ("title: a.B\nx: " + "y" * 70_000, "bytes"),
        ("title: !!python/object/apply:os.system [true]", "neither YAML nor JSON"),
        ("title: a.B\nx: 2026-99-99T00:00:00Z", "neither YAML nor JSON"),
    ],
)
def test_what_is_no_schema_is_refused(api, schema, reason):
    with pytest.raises(errors.InvalidArgument, match=re.escape(reason)) as caught:
        register(api, schema)
    assert "metadata_schema.schema" in str(caught.value)


def test_json_is_yaml(api):
    register(api, '{"title": "user.Json", "properties": {"a": {"type": "string"}}}')
    with pytest.raises(errors.InvalidArgument, match=r"metadata\.a"):
        create(api, {"a": 1}, title="user.Json")


def test_a_slow_pattern_does_not_stop_the_server(api):
    register(api, 'title: a.Slow\nproperties: {a: {pattern: "^(a+)+$"}}')
    with pytest.raises(errors.InvalidArgument, match=r"metadata\.a"):
        create(api, {"a": "a" * 5000 + "!"}, title="a.Slow")


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_schema_or_an_invalid_argument(text):
    for schema in (text, f"title: a.B\n{text}"):
        try:
            assert read_schema(schema).title
        except errors.InvalidArgument as error:
            str(error).encode()


@settings(deadline=None)
@given(documents)
def test_any_metadata_fits_a_schema_that_says_nothing(metadata):
    assert read_schema("title: a.B").errors_of(metadata) == []

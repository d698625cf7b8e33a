"""ModelService: models, versions, aliases."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tensordeck import errors

SPEC = {"image_uri": "gcr.io/p/serve", "ports": [{"container_port": 8080}]}


def upload(api, **fields):
    """Uploads a model; fields of the request begin with `request_`."""
    request = {
        key.removeprefix("request_"): fields.pop(key)
        for key in list(fields)
        if key.startswith("request_")
    }
    return api(
        "UploadModel", parent=api.place, model={"display_name": "model", **fields}, **request
    )


def test_a_model_comes_back_as_it_was_uploaded(api):
    reply = upload(
        api,
        description="d",
        version_description="first",
        artifact_uri="gs://b/m",
        container_spec=SPEC,
        labels={"a": "b"},
        version_aliases=["prod"],
        metadata_schema_uri="gs://b/s.yaml",
        predict_schemata={"instance_schema_uri": "gs://b/i.yaml"},
        encryption_spec={"kms_key_name": "k"},
    )
    assert re.fullmatch(api.place + r"/models/[1-9][0-9]{18}", reply.model)
    assert reply.model_version_id == "1"
    got = api("GetModel", name=reply.model)
    assert (got.name, got.version_id) == (reply.model, "1")
    assert (got.display_name, got.description, got.version_description) == ("model", "d", "first")
    assert (got.artifact_uri, dict(got.labels)) == ("gs://b/m", {"a": "b"})
    assert list(got.version_aliases) == ["default", "prod"]
    assert got.container_spec.image_uri == SPEC["image_uri"]
    assert [port.container_port for port in got.container_spec.ports] == [8080]
    assert got.metadata_schema_uri == "gs://b/s.yaml"
    assert got.predict_schemata.instance_schema_uri == "gs://b/i.yaml"
    assert got.encryption_spec.kms_key_name == "k"
    assert got.create_time.seconds > 1_700_000_000
    assert got.version_create_time.seconds >= got.create_time.seconds
    assert got.etag


def test_versions_and_their_aliases(api):
    model = upload(api, version_aliases=["old"]).model
    second = upload(api, request_parent_model=model, version_description="2nd", labels={"v": "2"})
    assert (second.model, second.model_version_id) == (model, "2")
    upload(api, request_parent_model=f"{model}@1", version_aliases=["default", "beta-3"])

    by_name = {
        reference: api("GetModel", name=f"{model}{reference}").version_id
        for reference in ("", "@default", "@1", "@2", "@3", "@old", "@beta-3")
    }
    assert by_name == {
        "": "3",
        "@default": "3",
        "@beta-3": "3",
        "@3": "3",
        "@2": "2",
        "@1": "1",
        "@old": "1",
    }
    listed = api("ListModelVersions", name=model).models
    assert [version.version_id for version in listed] == ["3", "2", "1"]
    assert {version.name for version in listed} == {model}
    assert listed[1].version_description == "2nd"
    found = api("ListModelVersions", name=model, filter="labels.v=2").models
    assert [version.version_id for version in found] == ["2"]


def test_versions_uploaded_at_once_get_numbers_of_their_own(api):
    model = upload(api).model
    with ThreadPoolExecutor(8) as callers:
        replies = list(
            callers.map(
                lambda n: upload(api, request_parent_model=model, version_aliases=[f"no-{n}"]),
                range(16),
            )
        )
    numbers = [reply.model_version_id for reply in replies]
    assert sorted(numbers, key=int) == [str(number) for number in range(2, 18)]
    for n, number in enumerate(numbers):
        assert api("GetModel", name=f"{model}@no-{n}").version_id == number


def test_versions_are_listed_by_pages(api):
    model = upload(api).model
    for _ in range(4):
        upload(api, request_parent_model=model)
    pages, token = [], ""
    while token or not pages:
        page = api(
            "ListModelVersions",
            name=model,
            page_size=2,
            page_token=token,
            order_by="create_time",
            read_mask={"paths": ["version_id"]},
        )
        pages.append([(version.version_id, version.name) for version in page.models])
        token = page.next_page_token
    assert pages == [[("1", ""), ("2", "")], [("3", ""), ("4", "")], [("5", "")]]


def test_aliases_move(api):
    model = upload(api, version_aliases=["a1"]).model
    upload(api, request_parent_model=model)

    got = api(
        "MergeVersionAliases", name=f"{model}@2", version_aliases=["default", "a1", "new", "-x1"]
    )
    assert list(got.version_aliases) == ["a1", "default", "new"]
    assert list(api("GetModel", name=f"{model}@1").version_aliases) == []
    # An alias of another version is not taken away; one that is given and taken stays.
    api("MergeVersionAliases", name=f"{model}@1", version_aliases=["-new"])
    got = api("MergeVersionAliases", name=f"{model}@2", version_aliases=["-a1", "new", "-new"])
    assert list(got.version_aliases) == ["default", "new"]


@pytest.mark.parametrize(
    ("reference", "aliases", "message"),
    [
        ("@1", ["-default"], "always has a default version"),
        ("@1", ["2nd"], "begins with a lower-case letter"),
        ("@1", ["Upper"], "begins with a lower-case letter"),
        ("@1", [], "`version_aliases` is required"),
        ("", ["new"], "which version"),
    ],
)
def test_bad_aliases(api, reference, aliases, message):
    model = upload(api).model
    with pytest.raises(errors.InvalidArgument, match=message):
        api("MergeVersionAliases", name=model + reference, version_aliases=aliases)


def test_models_are_listed_with_their_default_version(api):
    names = [upload(api, display_name=f"m{i}", labels={"n": str(i)}).model for i in range(3)]
    upload(api, request_parent_model=names[0], version_aliases=["default"])

    listed = api("ListModels", parent=api.place).models
    assert [(m.display_name, m.version_id) for m in listed] == [
        ("m2", "1"),
        ("m1", "1"),
        ("m0", "2"),
    ]
    one = names[1].rpartition("/")[2]
    for text, expected in [
        (f"model={one}", ["m1"]),
        (f"model!={one} AND NOT displayName=m0", ["m2"]),
        (f'model="{one}" OR labels.n=0', ["m1", "m0"]),
        ("display_name:m*", ["m2", "m1", "m0"]),
    ]:
        found = api("ListModels", parent=api.place, filter=text).models
        assert [m.display_name for m in found] == expected, text
    ordered = api("ListModels", parent=api.place, order_by="display_name", page_size=2)
    assert [m.display_name for m in ordered.models] == ["m0", "m1"]
    rest = api(
        "ListModels",
        parent=api.place,
        order_by="display_name",
        page_token=ordered.next_page_token,
    )
    assert [m.display_name for m in rest.models] == ["m2"]


def test_a_model_and_a_version_are_changed_by_their_names(api):
    model = upload(api, labels={"of": "model"}).model
    upload(api, request_parent_model=model, labels={"of-version": "2"})

    def update(name, *paths, **fields):
        return api("UpdateModel", model={"name": name, **fields}, update_mask={"paths": paths})

    update(model, "display_name", "description", display_name="new", description="text")
    update(f"{model}@2", "version_description", version_description="second")
    update(f"{model}@2", "labels", labels={"of-version": "two"})
    got = update(f"{model}@-", "labels", labels={"of": "both"})
    assert got.version_id == "1"
    got = api("GetModel", name=f"{model}@2")
    assert (got.display_name, got.description) == ("new", "text")
    assert got.version_description == "second"
    assert dict(got.labels) == {"of": "both", "of-version": "two"}
    assert dict(api("GetModel", name=model).labels) == {"of": "both"}

    with pytest.raises(errors.FailedPrecondition, match="models/ID@VERSION"):
        update(model, "version_description", version_description="x")
    with pytest.raises(errors.FailedPrecondition, match="the whole model"):
        update(f"{model}@2", "display_name", display_name="x")
    with pytest.raises(errors.InvalidArgument, match="display_name"):
        update(model, "display_name")


def test_a_stale_etag_is_refused(api):
    model = upload(api).model
    etag = api("GetModel", name=model).etag
    upload(api, request_parent_model=model, version_aliases=["moved"])  # not what updates change
    for expected in (None, errors.Aborted):
        fields = {"name": model, "etag": etag, "description": str(expected)}
        if expected:
            with pytest.raises(expected, match="has changed since"):
                api("UpdateModel", model=fields)
        else:
            api("UpdateModel", model=fields)
    assert api("GetModel", name=model).description == "None"


def test_deletion(api):
    model = upload(api).model
    for _ in range(2):
        upload(api, request_parent_model=model, version_aliases=["gone"])
    with pytest.raises(errors.FailedPrecondition, match="default version"):
        api("DeleteModelVersion", name=f"{model}@1")
    api("DeleteModelVersion", name=f"{model}@gone")
    with pytest.raises(errors.NotFound, match="gone"):
        api("GetModel", name=f"{model}@gone")
    # A number is never given out again.
    assert upload(api, request_parent_model=model).model_version_id == "4"
    assert [v.version_id for v in api("ListModelVersions", name=model).models] == ["4", "2", "1"]
    api("DeleteModel", name=model)
    with pytest.raises(errors.NotFound, match=model):
        api("GetModel", name=f"{model}@2")


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        ({"display_name": ""}, errors.InvalidArgument, "model.display_name"),
        ({"labels": {"A": "b"}}, errors.InvalidArgument, "model.labels"),
        ({"version_aliases": ["1"]}, errors.InvalidArgument, "version_aliases"),
        ({"request_model_id": "1abc"}, errors.InvalidArgument, "model_id"),
        ({"request_model_id": "a" * 64}, errors.InvalidArgument, "model_id"),
        ({"request_parent_model": "models/1"}, errors.InvalidArgument, "parent_model"),
        (
            {"request_parent_model": "projects/p/locations/l/models/1"},
            errors.NotFound,
            "Model .*models/1",
        ),
    ],
)
def test_bad_uploads(api, fields, kind, message):
    with pytest.raises(kind, match=message):
        upload(api, **fields)


def test_an_id_is_taken_once(api):
    assert upload(api, request_model_id="my_model").model == f"{api.place}/models/my_model"
    with pytest.raises(errors.AlreadyExists, match="parent_model"):
        upload(api, request_model_id="my_model")


@pytest.mark.parametrize("version", ["2", "beta", "-"])
def test_a_version_that_is_not_there(api, version):
    model = upload(api, version_aliases=["prod"]).model
    with pytest.raises(errors.NotFound, match=f'"{version}".* default, prod'):
        api("GetModel", name=f"{model}@{version}")

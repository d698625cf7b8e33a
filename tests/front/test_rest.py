"""What REST callers get: replies, and for bad input a status and a message with the field."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensordeck import protos
from tensordeck.front.methods import METHODS
from tests.front.paths import example

PL = "/v1/projects/rest/locations/us-central1"


@pytest.fixture(scope="module")
def tensorboard(api) -> str:
    status, operation = api.call("POST", f"{PL}/tensorboards", {"displayName": "one"})
    assert status == 200, operation
    assert operation["done"] is True
    return operation["response"]["name"]


def test_created_instance_comes_back_in_its_own_version(api, tensorboard) -> None:
    status, operation = api.call(
        "POST", f"{PL.replace('/v1/', '/v1beta1/')}/tensorboards", {"displayName": "beta"}
    )

    assert status == 200
    assert operation["response"]["@type"].endswith(".v1beta1.Tensorboard")
    assert operation["metadata"]["@type"].endswith(".v1beta1.CreateTensorboardOperationMetadata")


@pytest.mark.parametrize("prefix", ["/v1/", "/v1beta1/", "/ui/"])
def test_operations_are_polled_under_three_prefixes(api, prefix) -> None:
    _, operation = api.call("POST", f"{PL}/tensorboards", {"displayName": "polled"})

    status, found = api.call("GET", prefix + operation["name"])

    assert status == 200
    assert found["done"] is True
    assert found["response"]["displayName"] == "polled"


@pytest.mark.parametrize("name", ["timeSeries", "time_series"])
def test_a_repeated_parameter_is_a_list(api, tensorboard, name) -> None:
    experiment = f"{tensorboard}/experiments/{name.lower().replace('_', '-')}"
    parent, _, experiment_id = experiment.rpartition("/")
    api.call("POST", f"/v1/{parent}", {}, tensorboardExperimentId=experiment_id)
    api.call("POST", f"/v1/{experiment}/runs", {"displayName": "r"}, tensorboardRunId="r")
    series = [
        api.call(
            "POST",
            f"/v1/{experiment}/runs/r/timeSeries",
            {"displayName": tag, "valueType": "SCALAR"},
        )[1]["name"]
        for tag in "abc"
    ]

    status, reply = api.call("GET", f"/v1/{tensorboard}:batchRead", **{name: series})

    assert status == 200, reply
    assert [data["tensorboardTimeSeriesId"] for data in reply["timeSeriesData"]] == [
        one.rpartition("/")[2] for one in series
    ]


@pytest.mark.parametrize(
    ("verb", "path", "body", "params", "status", "words"),
    [
        ("GET", "/v1/nowhere", None, {}, 404, "no GET method"),
        ("DELETE", f"{PL}/tensorboards", None, {}, 405, "GET or POST"),
        ("POST", f"{PL}/tensorboards", {"displayName": 3}, {}, 400, "displayName"),
        ("POST", f"{PL}/tensorboards", {"nope": "x"}, {}, 400, "nope"),
        ("GET", f"{PL}/tensorboards", None, {"pageSize": "many"}, 400, "pageSize"),
        ("GET", f"{PL}/tensorboards", None, {"pageToken": "!!"}, 400, "page_token"),
        ("GET", f"{PL}/tensorboards", None, {"filter": "a = = b"}, 400, "filter"),
        ("GET", f"{PL}/tensorboards", None, {"unheard": "x"}, 400, "unheard"),
        ("GET", f"{PL}/tensorboards/1", None, {}, 404, "tensorboards/1"),
        ("GET", f"{PL}/tensorboards/1%00", None, {}, 400, "name"),
        ("POST", f"{PL}/tensorboards/1/experiments", {}, {}, 400, "tensorboard_experiment_id"),
    ],
)
def test_bad_input_is_named(api, tensorboard, verb, path, body, params, status, words) -> None:
    got, reply = api.call(verb, path, body, **params)

    assert got == status
    assert reply["error"]["code"] == status
    assert words.lower() in reply["error"]["message"].lower()


def test_body_that_is_no_json_object(api) -> None:
    for content in (b"{", b"[]", b"\xff\xfe", b'"x"', b"[" * 5000):
        reply = api.client.post(
            f"{PL}/tensorboards", content=content, headers={"Authorization": f"Bearer {api.token}"}
        )
        assert reply.status_code == 400
        assert reply.json()["error"]["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("header", [None, "Bearer x", "Basic eA==", "Bearer " + "a" * 9000])
def test_nothing_is_open_without_a_credential(api, header) -> None:
    for method in METHODS:
        for rule in method.http:
            path = example(rule)
            headers = {} if header is None else {"Authorization": header}
            reply = api.client.request(rule.verb, path, headers=headers, content=b"")
            assert reply.status_code == 401, (rule.verb, path, reply.text)
            assert reply.json()["error"]["status"] == "UNAUTHENTICATED"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3)
    ),
    max_leaves=8,
)
segments = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_requests_never_get_a_5xx(api, tensorboard, data) -> None:
    method = data.draw(st.sampled_from(METHODS))
    rule = data.draw(st.sampled_from(method.http))
    path = example(rule, data.draw(st.sampled_from(["v1", "v1beta1"])), lambda: data.draw(segments))
    if data.draw(st.booleans()):
        path = re.sub("projects/[^/]+/locations/[^/]+/tensorboards/[^/:]+", tensorboard, path)
    fields = list(_fields(method.request))
    params = data.draw(
        st.dictionaries(
            st.sampled_from(fields) | st.text(max_size=8), st.text(max_size=30), max_size=3
        )
    )
    body = data.draw(
        st.none()
        | st.dictionaries(st.sampled_from(fields) | st.text(max_size=8), json_values, max_size=4)
    )

    status, reply = api.call(rule.verb, path, body, **params)

    assert status < 500 or status == 501, reply
    if status >= 400:
        assert reply["error"]["message"]
        assert "Traceback" not in reply["error"]["message"]


def _fields(name: str) -> list[str]:
    descriptor = protos.message(name).DESCRIPTOR
    inner = [
        g.camelcase_name for f in descriptor.fields if f.message_type for g in f.message_type.fields
    ]
    return [f.camelcase_name for f in descriptor.fields] + inner

"""A request's id: taken or made, returned, in the log, and in errors that are our fault."""

import sqlite3
from contextvars import copy_context

import grpc
import pytest

from tensordeck.front.dispatch import internal
from tensordeck.telemetry.request_id import begin_request, request_id

BOARDS = "/v1/projects/p/locations/us-central1/tensorboards"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x_request_id": "from-the-balancer/1"}, "from-the-balancer/1"),
        ({"traceparent": TRACEPARENT}, TRACE),
        ({"x_request_id": "mine", "traceparent": TRACEPARENT}, "mine"),
    ],
)
def test_an_id_that_comes_with_a_request_goes_back_with_the_reply(watched, headers, expected):
    for path in ("/healthz", BOARDS, "/", "/experiment/x/", "/storage/v1/b?project=p"):
        assert watched.get(path, **headers)[2]["x-request-id"] == expected


@pytest.mark.parametrize("given", ['a"b', "with space", "x" * 129, "ümlaut", ""])
def test_an_id_that_could_spoil_a_log_is_replaced(watched, given):
    made = watched.get("/healthz", x_request_id=given.encode().decode("latin-1"))[2]["x-request-id"]

    assert len(made) == 16
    assert int(made, 16) >= 0


def test_ids_that_are_made_differ(watched):
    assert len({watched.get("/healthz")[2]["x-request-id"] for _ in range(20)}) == 20


def test_grpc_replies_and_errors_carry_it_too(watched):
    listed = {"parent": "projects/p/locations/us-central1"}
    _, trailing = watched.call(
        "ListTensorboards", "ListTensorboardsResponse", ("x-request-id", "abc"), **listed
    )
    assert trailing["x-request-id"] == "abc"

    with pytest.raises(grpc.RpcError) as refused:
        watched.call("GetTensorboard", "Tensorboard", ("x-request-id", "def"), name="nonsense")
    assert dict(refused.value.trailing_metadata())["x-request-id"] == "def"


def test_a_write_of_points_that_is_acknowledged_goes_without_one_and_a_failed_one_with_it(watched):
    run, series = watched.make_series()

    assert "x-request-id" not in watched.write(run, series, 1)
    with pytest.raises(grpc.RpcError) as refused:
        watched.write(f"{run}-that-is-not-there", series, 1)
    assert len(dict(refused.value.trailing_metadata())["x-request-id"]) == 16


def test_a_fault_of_ours_names_the_request_and_the_log_has_its_cause_under_it(watched):
    watched.make_series()
    database = watched.server.data_dir / "tensordeck.db"
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE tensorboards SET labels = '{broken'")
    try:
        with pytest.raises(grpc.RpcError) as failed:
            watched.call(
                "ListTensorboards",
                "ListTensorboardsResponse",
                ("x-request-id", "over-grpc"),
                parent="projects/p/locations/us-central1",
            )
        _, text, _ = watched.get(
            BOARDS, authorization=f"Bearer {watched.server.token}", x_request_id="over-rest"
        )
    finally:
        with sqlite3.connect(database) as connection:
            connection.execute("UPDATE tensorboards SET labels = '{}'")

    assert failed.value.code() is grpc.StatusCode.INTERNAL
    assert "over-grpc" in failed.value.details()
    assert "over-rest" in text
    for request in ("over-grpc", "over-rest"):
        entries = watched.lines_of(request)
        assert any("Traceback" in str(line.get("exception")) for line in entries)


def test_an_internal_error_outside_of_a_request_has_a_number_of_its_own():
    first, second = (internal(ValueError("x"), "a thread").message for _ in range(2))

    assert first != second


def test_an_id_is_found_out_only_when_somebody_asks():
    asked: list[int] = []

    def headers() -> list[tuple[bytes, bytes]]:
        asked.append(1)
        return [(b"x-request-id", b"lazy")]

    def request() -> None:
        begin_request(headers)
        assert not asked
        assert [request_id(), request_id()] == ["lazy", "lazy"]
        assert asked == [1]

    copy_context().run(request)
    assert request_id() == ""

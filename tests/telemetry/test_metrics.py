"""`/metrics`: who may read it, and that what it says is what happened."""

import contextlib
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from tensordeck.front.metrics import server_families
from tensordeck.settings import Settings
from tensordeck.store import open_store
from tensordeck.store.contract import Blobs
from tensordeck.store.measured_blobs import MeasuredBlobs
from tensordeck.store.resources import Experiment, Run, Tensorboard, TimeSeries
from tensordeck.telemetry.call_measures import CallMeasures
from tensordeck.telemetry.families import Exposition
from tensordeck.telemetry.histogram import Histogram, SharedHistogram
from tensordeck.telemetry.store_measures import Backlog
from tests.conftest import free_port, make_server
from tests.postgres_server import open_postgres
from tests.store.points_place import BOARD, EXPERIMENT, scalars


def test_nobody_reads_it_without_a_credential(watched):
    assert watched.get("/metrics")[0] == 401
    assert watched.get("/metrics", authorization="Bearer of-something-else-altogether")[0] == 401
    assert watched.get("/metrics", authorization=f"Basic {watched.scrape_token}")[0] == 401


def test_the_owner_and_the_token_of_the_file_read_it(watched):
    for token in (watched.server.token, watched.scrape_token):
        status, text, headers = watched.get("/metrics", authorization=f"Bearer {token}")

        assert status == 200
        assert "tensordeck_build_info{" in text
        assert headers["content-type"].startswith("text/plain; version=0.0.4")
        assert headers["cache-control"] == "no-store"


def test_the_token_of_the_file_opens_nothing_else(watched):
    for path in (
        "/v1/projects/p/locations/us-central1/tensorboards",
        "/",
        "/storage/v1/b?project=p",
    ):
        assert watched.get(path, authorization=f"Bearer {watched.scrape_token}")[0] == 401


def test_a_token_that_was_replaced_counts_at_once_and_the_old_one_no_more(watched):
    file = watched.log.with_name("token")
    try:
        file.write_text("another-token-of-the-platform-team")
        assert watched.get("/metrics", authorization=f"Bearer {watched.scrape_token}")[0] == 401
        assert (
            watched.get("/metrics", authorization="Bearer another-token-of-the-platform-team")[0]
            == 200
        )
        file.write_text("")
        assert watched.get("/metrics", authorization="Bearer ")[0] == 401
    finally:
        file.write_text(watched.scrape_token)


def test_the_further_port_has_the_metrics_and_nothing_else(watched):
    address = f"http://127.0.0.1:{watched.metrics_port}"

    with urllib.request.urlopen(f"{address}/metrics") as reply:
        assert b"tensordeck_build_info" in reply.read()
    for path in ("/", "/healthz", "/v1/projects/p/locations/us-central1/tensorboards"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(address + path)
        assert refused.value.code == 404


def test_openmetrics_is_written_for_whom_asks_for_it(watched):
    _, text, headers = watched.get(
        "/metrics",
        authorization=f"Bearer {watched.scrape_token}",
        accept="application/openmetrics-text; version=1.0.0",
    )

    assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")


def test_prometheus_own_linter_finds_nothing_to_mend(watched):
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed")
    _, text, _ = watched.get("/metrics", authorization=f"Bearer {watched.scrape_token}")

    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_writes_are_counted_exactly(watched):
    run, series = watched.make_series()
    names = (
        "tensordeck_written_points_total",
        "tensordeck_acknowledged_writes_total",
        "tensordeck_write_group_calls_sum",
    )
    before = [watched.value(name) for name in names]

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(watched.write, run, series, 25) for _ in range(40)]:
            done.result()

    after = [watched.value(name) for name in names]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1000, 40, 40]
    assert watched.value("tensordeck_journal_written_bytes_total") > 40 * 25 * 8
    assert watched.value("tensordeck_commit_duration_seconds_count", work="all") > 0


def test_calls_are_counted_by_transport_method_and_status(watched):
    name = "tensordeck_request_duration_seconds_count"

    def counts() -> list[float]:
        return [
            watched.value(name, transport="grpc", method="GetTensorboard", status="NOT_FOUND"),
            watched.value(name, transport="rest", method="GetTensorboard", status="404"),
            watched.value(name, transport="rest", method="GET", status="404"),
            watched.value(name, transport="console", method="GET", status="401"),
        ]

    before = counts()
    missing = "projects/p/locations/us-central1/tensorboards/404"
    with pytest.raises(grpc.RpcError):
        watched.call("GetTensorboard", "Tensorboard", name=missing)
    watched.get(f"/v1/{missing}", authorization=f"Bearer {watched.server.token}")
    watched.get("/v1/no-such-thing", authorization=f"Bearer {watched.server.token}")
    watched.get("/projects/p")

    assert [b - a for a, b in zip(before, counts(), strict=True)] == [1, 1, 1, 1]


def test_what_callers_make_up_becomes_no_label(watched):
    token = watched.server.token
    for number in range(20):
        watched.get(f"/v1/made-up-{number}", authorization=f"Bearer {token}")
        watched.get(f"/made-up-{number}?x={number}", authorization=f"Bearer {token}")
        with pytest.raises(grpc.RpcError):
            watched.call(f"MadeUp{number}", "Tensorboard", request="GetTensorboardRequest")

    request = urllib.request.Request(f"{watched.server.url}/v1/x", method="PROPFIND")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(request)

    labels = {text for _, has in watched.scrape() for _, text in has}

    assert not [text for text in labels if "made" in text.lower() or text == "PROPFIND"]
    assert "OTHER" in labels


def test_nothing_is_in_flight_but_the_scrape_itself(watched):
    watched.get("/healthz")

    assert watched.value("tensordeck_requests_in_flight", transport="http") == 1
    assert watched.value("tensordeck_requests_in_flight", transport="grpc") == 0


def test_the_front_door_the_pool_and_the_process_are_there(watched):
    assert watched.value("tensordeck_connections", state="served") >= 1
    assert watched.value("tensordeck_database_connections_limit") >= 8
    assert watched.value("tensordeck_database_connection_wait_seconds_count") > 0
    assert watched.value("tensordeck_database_up") == 1
    assert watched.value("tensordeck_certificate_end_timestamp_seconds") > 1.7e9
    assert watched.value("process_resident_memory_bytes") > 10 * 2**20
    assert watched.value("process_open_fds") > 5


def test_jobs_that_have_not_ended_are_counted_by_state(watched):
    states = {
        dict(labels)["state"]: value
        for (name, labels), value in watched.scrape().items()
        if name == "tensordeck_jobs"
    }

    assert states == dict.fromkeys(("QUEUED", "PENDING", "RUNNING", "CANCELLING", "PAUSED"), 0)


def test_objects_count_as_operations_and_bytes_of_the_object_store(watched):
    before = watched.value("tensordeck_blob_bytes_total", operation="write")
    headers = {"Authorization": f"Bearer {watched.server.token}"}
    for path, data in (
        ("/storage/v1/b?project=p", b'{"name": "counted"}'),
        ("/upload/storage/v1/b/counted/o?uploadType=media&name=x", b"12345"),
    ):
        request = urllib.request.Request(
            watched.server.url + path, data, {**headers, "Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as reply:
            reply.read()
    assert watched.get("/storage/v1/b/counted/o/x?alt=media", **headers)[1] == "12345"

    assert watched.value("tensordeck_blob_bytes_total", operation="write") - before == 5
    assert watched.value("tensordeck_blob_bytes_total", operation="read") >= 5
    count = "tensordeck_blob_operation_duration_seconds_count"
    assert watched.value(count, operation="write", outcome="ok") >= 1


def test_every_operation_of_the_contract_is_measured_or_handed_on():
    public = {name for name in vars(Blobs) if not name.startswith("_")}

    assert public <= set(vars(MeasuredBlobs))


@pytest.mark.heavy
def test_a_scrape_goes_on_without_the_database_and_sees_it_come_back(tmp_path):
    with open_postgres() as server:
        url = server.make_database()
        store = open_store(Settings(data_dir=tmp_path, database_url=url))
        families = server_families(store, CallMeasures(), lambda: (0, 0), lambda: 0.0)
        exposition = Exposition(families)
        assert b"tensordeck_database_up 1.0" in exposition.write("")[0]

        name = url.rpartition("/")[2].partition("?")[0]
        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        server.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"  # noqa: S608 -- a name that we made
        )
        text = exposition.write("")[0]
        assert b"tensordeck_database_up 0.0" in text
        assert b"tensordeck_jobs{" not in text
        assert b'tensordeck_commit_queue_length{work="points"} 0.0' in text

        server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert b"tensordeck_database_up 1.0" in exposition.write("")[0]
        store.close()


def test_what_is_not_folded_yet_is_told_until_it_is(tmp_path):
    store = open_store(Settings(data_dir=tmp_path))
    with contextlib.closing(store):
        assert store.measures.backlog() == Backlog()
        for resource in (Tensorboard(name=BOARD), Experiment(name=EXPERIMENT)):
            store.catalog.create(resource)
        run = store.catalog.create(Run(name=f"{EXPERIMENT}/runs/r"))
        series = store.catalog.create(TimeSeries(name=f"{run.name}/timeSeries/1"))
        for step in range(3):
            store.points.append([scalars((run.pk, series.pk), [step], [1.0])])

        deadline = time.monotonic() + 30  # the folder looks every second, and folds later
        while (seen := store.measures.backlog()).rows < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (seen.rows, seen.runs) == (3, 1)
        assert seen.byte_count > 3 * 24
        assert store.measures.backlog().oldest_seconds > 0

        store.points.fold()
        assert store.measures.backlog().rows == 0


def test_a_histogram_puts_each_observation_below_the_first_bound_that_holds_it():
    for kind in (Histogram, SharedHistogram):
        histogram = kind((1.0, 2.0))
        for value in (0.5, 1.0, 1.5, 2.0, 7.0):
            histogram.observe(value)

        assert histogram.counts == [2, 2, 1]
        assert (histogram.count, histogram.total) == (5, 12.0)


def test_no_observation_of_many_threads_is_lost():
    histogram = SharedHistogram((1.0,))

    def observe() -> None:
        for _ in range(20_000):
            histogram.observe(0.5)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(observe) for _ in range(4)]:
            done.result()

    assert histogram.counts == [80_000, 0]
    assert histogram.total == 40_000.0


@pytest.mark.heavy
def test_workers_have_a_port_each_and_the_common_one_says_so(tmp_path):
    first = next(port for port in iter(free_port, 0) if is_free(port + 1))
    server = make_server(tmp_path / "data", "--workers", "2", "--metrics-port", str(first)).start()
    try:
        told = set()
        for port in (first, first + 1):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as reply:
                told |= set(re.findall(r'build_info{pid="(\d+)"', reply.read().decode()))
        assert len(told) == 2

        request = urllib.request.Request(
            f"{server.url}/metrics", headers={"Authorization": f"Bearer {server.token}"}
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        assert refused.value.code == 400
        assert "--metrics-port" in refused.value.read().decode()
    finally:
        server.kill()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0

"""Two servers with data directories of their own, on one PostgreSQL: neither needs the other."""

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import grpc
import pytest

from tensordeck import protos
from tests.conftest import Server, make_server, tensordeck
from tests.postgres_server import open_postgres
from tests.workers.worker_house import call, probe, wait_until

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(300)]

PLACE = "projects/many/locations/us-central1"
REVOKED_WITHIN = 10.0
"""Seconds that a test waits; the server promises 2."""


@dataclass
class Pair:
    """The two servers, and a token of each: either is good at both."""

    here: Server
    there: Server
    token: str

    def call(self, server: Server, verb: str, path: str, body: object = None) -> Any:
        return call(server.port, self.token, verb, path, body)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("many")
    (folder / "objects").mkdir()
    with open_postgres() as postgres:
        options = (
            *("--database-url", postgres.make_database()),
            *("--object-store", f"file://{folder / 'objects'}"),
        )
        servers = [make_server(folder / name, *options) for name in ("here", "there")]
        try:
            for server in servers:
                server.start()
            yield Pair(*servers, servers[0].token)
        finally:
            for server in servers:
                server.kill()


def request(
    server: Server, verb: str, path: str, headers: dict[str, str], body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request(verb, path, body, headers)
    reply = connection.getresponse()
    answer = reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
    connection.close()
    return answer


def rpc(server: Server, token: str, service: str, method: str, kind: str, **fields: Any) -> Any:
    """A gRPC call's reply, of some message type."""
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        send = channel.unary_unary(f"/google.cloud.aiplatform.v1.{service}/{method}")
        message = protos.message(f"{method}Request")(**fields)
        metadata = (("authorization", f"Bearer {token}"),)
        reply = send(message.SerializeToString(), metadata=metadata, timeout=60)
    return protos.parse(kind, reply)


def make_series(pair: Pair, experiment_id: str) -> tuple[str, str]:
    """An experiment's name, and that of a series of it."""
    board = pair.call(pair.here, "POST", f"{PLACE}/tensorboards", {"displayName": "t"})
    board = board["response"]["name"]
    experiment = f"{board}/experiments/{experiment_id}"
    pair.call(pair.here, "POST", f"{board}/experiments?tensorboardExperimentId={experiment_id}", {})
    pair.call(pair.here, "POST", f"{experiment}/runs?tensorboardRunId=r", {"displayName": "r"})
    pair.call(
        pair.here,
        "POST",
        f"{experiment}/runs/r/timeSeries?tensorboardTimeSeriesId=s",
        {"displayName": "loss", "valueType": "SCALAR"},
    )
    return experiment, f"{experiment}/runs/r/timeSeries/s"


def write(pair: Pair, server: Server, series: str, step: int) -> None:
    point = {"step": step, "scalar": {"value": step}}
    data = {"tensorboardTimeSeriesId": "s", "valueType": "SCALAR", "values": [point]}
    run = series.partition("/timeSeries/")[0]
    pair.call(server, "POST", f"{run}:write", {"timeSeriesData": [data]})


def test_what_one_made_the_other_changes_by_its_etag(pair: Pair) -> None:
    made = pair.call(pair.here, "POST", f"{PLACE}/tensorboards", {"displayName": "t"})
    made = made["response"]
    path = f"{made['name']}?updateMask=description"
    changed = {"description": "there", "etag": made["etag"]}
    pair.call(pair.there, "PATCH", path, changed)
    assert pair.call(pair.here, "GET", made["name"])["description"] == "there"

    context = rpc(
        pair.here, pair.token, "MetadataService", "CreateContext", "Context",
        parent=f"{PLACE}/metadataStores/default", context_id="run", context={"display_name": "r"},
    )  # fmt: skip
    context.metadata["a"] = 1
    changed = rpc(
        pair.there, pair.token, "MetadataService", "UpdateContext", "Context", context=context
    )
    assert dict(changed.metadata) == {"a": 1}
    context.metadata["b"] = 2  # with the etag of the first reading, which nobody has any more

    def update() -> Any:
        return rpc(
            pair.there, pair.token, "MetadataService", "UpdateContext", "Context", context=context
        )

    with pytest.raises(grpc.RpcError) as refused:
        update()
    assert refused.value.code() is grpc.StatusCode.ABORTED
    joined = update()
    assert dict(joined.metadata) == {"a": 1, "b": 2}


def test_points_written_here_are_read_there_and_change_the_board(pair: Pair) -> None:
    experiment, series = make_series(pair, "live")
    signed_in = pair.there.exec("true")
    assert signed_in.returncode == 0
    cookie = session(pair.here)
    page = f"/experiment/{quote(experiment.replace('/', '+'), safe='+')}/"
    stream = http.client.HTTPConnection("127.0.0.1", pair.there.port, timeout=60)
    stream.request("GET", f"{page}live", headers={"Cookie": cookie})
    events = stream.getresponse()
    assert events.status == 200, events.read()
    states = (line for line in events if line.startswith(b"data:"))
    first = next(states)

    write(pair, pair.here, series, 1)

    assert next(states) != first
    stream.close()
    answer = f"{page}data/plugin/scalars/scalars?run=r&tag=loss"
    status, headers, body = request(pair.there, "GET", answer, {"Cookie": cookie})
    assert (status, json.loads(body)[0][1:]) == (200, [1, 1.0])
    unchanged = {"Cookie": cookie, "If-None-Match": headers["etag"]}
    assert request(pair.here, "GET", answer, unchanged)[0] == 304  # the other one's tag
    write(pair, pair.here, series, 2)
    assert request(pair.there, "GET", answer, unchanged)[0] == 200


def session(server: Server) -> str:
    """Signs in as a browser does, by the link that the command prints; returns the cookie."""
    where = ("--data-dir", str(server.data_dir), "--database-url", server.options[1])
    link = subprocess.run(
        [*tensordeck("sign-in"), *where], check=True, capture_output=True, text=True
    ).stdout.split()[-1]
    url = urlsplit(link[link.index("http") :])
    path = f"{url.path}?{url.query}"
    status, headers, body = request(server, "GET", path, {"Sec-Fetch-Site": "none"})
    if status == 200:  # a page with a button
        status, headers, body = request(server, "POST", path, {"Sec-Fetch-Site": "same-origin"})
    assert status in (302, 303), body
    return headers["set-cookie"].partition(";")[0]


def test_who_signed_in_here_is_signed_in_there(pair: Pair) -> None:
    cookie = session(pair.here)
    for server in (pair.here, pair.there):
        status, _, _ = request(server, "GET", "/", {"Cookie": cookie, "Accept": "text/html"})
        assert status == 200


def test_a_key_that_is_revoked_here_is_refused_there(pair: Pair, tmp_path: Path) -> None:
    key = tmp_path / "key.json"

    def keys(*arguments: str) -> str:
        where = ("--data-dir", str(pair.here.data_dir), "--database-url", pair.here.options[1])
        return subprocess.run(
            [*tensordeck("keys"), *arguments, *where], check=True, capture_output=True, text=True
        ).stdout

    keys("create", "robot", "-o", str(key))
    content = json.loads(key.read_text())
    token = subprocess.run(
        [sys.executable, "-c", SIGN, str(key)], check=True, capture_output=True, text=True
    ).stdout.strip()
    headers = {"Authorization": f"Bearer {token}"}
    path = f"/v1/{PLACE}/tensorboards"
    assert request(pair.there, "GET", path, headers)[0] == 200  # remembered from now on

    keys("revoke", content["private_key_id"])

    wait_until(lambda: request(pair.there, "GET", path, headers)[0] == 401, REVOKED_WITHIN)


SIGN = """
import sys
from google.oauth2 import service_account
made = service_account.Credentials.from_service_account_file(sys.argv[1])
signed = made.with_always_use_jwt_access(True).with_scopes(
    ["https://www.googleapis.com/auth/cloud-platform"])
signed.refresh(None)
print(signed.token)
"""


def test_an_upload_that_was_begun_here_goes_on_there(pair: Pair) -> None:
    headers = {"Authorization": f"Bearer {pair.token}", "Host": "storage.googleapis.com"}
    status, _, body = request(
        pair.here,
        "POST",
        "/storage/v1/b?project=many",
        {**headers, "Content-Type": "application/json"},
        b'{"name": "many-uploads"}',
    )
    assert status == 200, body
    status, begun, body = request(
        pair.here,
        "POST",
        "/upload/storage/v1/b/many-uploads/o?uploadType=resumable&name=big",
        {**headers, "Content-Type": "application/json"},
        b"{}",
    )
    assert status == 200, body
    session_url = urlsplit(begun["location"])
    path = f"{session_url.path}?{session_url.query}"
    half, size = b"a" * 262_144, 2 * 262_144
    ranges = [f"bytes 0-{len(half) - 1}/*", f"bytes {len(half)}-{size - 1}/{size}"]
    first = request(pair.here, "PUT", path, {**headers, "Content-Range": ranges[0]}, half)
    assert first[0] == 308
    last = request(pair.there, "PUT", path, {**headers, "Content-Range": ranges[1]}, half)
    assert last[0] == 200, last
    for server in (pair.here, pair.there):
        content = request(server, "GET", "/storage/v1/b/many-uploads/o/big?alt=media", headers)
        assert content[2] == half * 2


def test_views_are_counted_wherever_the_page_was_opened(pair: Pair) -> None:
    experiment, _ = make_series(pair, "viewed")
    page = f"/experiment/{quote(experiment.replace('/', '+'), safe='+')}/"
    cookie = {"Cookie": session(pair.here), "Accept": "text/html"}
    for server in (pair.here, pair.there):
        assert request(server, "GET", page, cookie)[0] == 200
    board = experiment.partition("/experiments/")[0]

    def views() -> int:
        usage = pair.call(pair.here, "GET", f"{board}:readUsage")
        months = usage.get("monthlyUsageData", {}).values()
        return sum(
            int(user["viewCount"]) for month in months for user in month.get("userUsageData", [])
        )

    wait_until(lambda: views() == 2)


def test_both_are_ready(pair: Pair) -> None:
    for server in (pair.here, pair.there):
        assert probe(server.port, "/readyz") == (200, '{"ready": true}\n')


def test_three_servers_that_start_at_once_make_one_schema(tmp_path: Path) -> None:
    with open_postgres() as postgres:
        postgres.execute("CREATE DATABASE empty")
        servers = [
            make_server(tmp_path / str(number), "--database-url", postgres.url("empty"))
            for number in range(3)
        ]
        starting = [
            subprocess.Popen(
                [
                    *(*tensordeck("serve"), "--data-dir", str(server.data_dir)),
                    *("--port", str(server.port), *server.options),
                ],
                stdout=subprocess.DEVNULL,
            )
            for server in servers
        ]

        def ready(server: Server) -> bool:
            try:
                return probe(server.port, "/readyz")[0] == 200
            except OSError:
                return False

        for server in servers:
            wait_until(lambda server=server: ready(server))
        for process in starting:
            process.terminate()
        assert [process.wait(60) for process in starting] == [0, 0, 0]

"""The object store loses a server, goes away, hangs; a server of ours is killed while it writes."""

import contextlib
import hashlib
import http.client
import json
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tensordeck import protos
from tensordeck.services.storage import StorageService
from tensordeck.settings import Settings
from tensordeck.store import open_store
from tests.conftest import Server, make_server
from tests.s3_server import S3Server, open_s3

pytestmark = [pytest.mark.torture, pytest.mark.timeout(900)]

BUCKET = "faulty"
SIZES = (0, 1, 100_000, 3_000_000, 12_000_000)
LIMIT_SECONDS = 30.0
"""What a call may take while the store is away."""
SERVICE = "/google.cloud.aiplatform.v1.TensorboardService"
PARENT = "projects/p/locations/us-central1"


class Caller:
    """Plain HTTP and gRPC calls to a server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.token = server.token

    def http(
        self, method: str, path: str, data: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=120)
        with contextlib.closing(connection):
            sent = {"Authorization": f"Bearer {self.token}"} | (headers or {})
            connection.request(method, path, data, sent)
            reply = connection.getresponse()
            return reply.status, reply.headers, reply.read()

    def upload(self, name: str, data: bytes) -> int:
        path = f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}"
        return self.http("POST", path, data)[0]

    def download(self, name: str) -> tuple[int, bytes]:
        status, _, body = self.http("GET", f"/storage/v1/b/{BUCKET}/o/{name}?alt=media")
        return status, body

    def make_bucket(self) -> None:
        body = json.dumps({"name": BUCKET}).encode()
        assert self.http("POST", "/storage/v1/b?project=p", body)[0] == 200

    def post(self, path: str, body: dict[str, str]) -> dict[str, str]:
        status, _, reply = self.http("POST", f"/v1/{path}", json.dumps(body).encode())
        assert status == 200, reply
        return json.loads(reply)


class Scalars:
    """Writes of scalars to one series, one after the other."""

    def __init__(self, caller: Caller) -> None:
        made = caller.post(f"{PARENT}/tensorboards", {"displayName": "t"})
        instance = made["response"]["name"]
        experiment = caller.post(f"{instance}/experiments?tensorboardExperimentId=e", {})["name"]
        self.run = caller.post(f"{experiment}/runs?tensorboardRunId=r", {"displayName": "r"})[
            "name"
        ]
        series = caller.post(f"{self.run}/timeSeries", {"displayName": "s", "valueType": "SCALAR"})
        self.series = series["name"]
        self.caller = caller
        self.step = 0

    def write(self, channel: grpc.Channel) -> None:
        message = protos.message("WriteTensorboardRunDataRequest")(tensorboard_run=self.run)
        series_id = self.series.rpartition("/")[2]
        data = message.time_series_data.add(tensorboard_time_series_id=series_id, value_type=1)
        point = data.values.add(step=self.step)
        point.wall_time.FromSeconds(self.step)
        point.scalar.value = self.step / 3
        call = channel.unary_unary(f"{SERVICE}/WriteTensorboardRunData")
        metadata = [("authorization", f"Bearer {self.caller.token}")]
        call(message.SerializeToString(), metadata=metadata, timeout=10)
        self.step += 1

    def stored(self) -> int:
        status, _, body = self.caller.http("GET", f"/v1/{self.series}:read?maxDataPoints=-1")
        assert status == 200
        return len(json.loads(body)["timeSeriesData"]["values"])


def content(name: str, size: int) -> bytes:
    block = hashlib.sha256(name.encode()).digest()
    return (block * (size // len(block) + 1))[:size]


@contextlib.contextmanager
def serving(data_dir: Path, s3: S3Server, **variables: str) -> Iterator[Caller]:
    """A server over S3, with an empty bucket of its own on either side."""
    server = make_server(data_dir, "--object-store", f"s3://{s3.make_bucket()}/tensordeck")
    server.variables.update(s3.environ() | variables)
    server.start()
    try:
        caller = Caller(server)
        caller.make_bucket()
        yield caller
    finally:
        server.kill()


def test_blobs_are_read_when_a_volume_server_is_killed(tmp_path: Path) -> None:
    with open_s3(volume_servers=3) as s3, serving(tmp_path / "data", s3) as caller:
        names = [f"{size}-{number}" for size in SIZES for number in range(4)]
        for name in names:
            assert caller.upload(name, content(name, int(name.partition("-")[0]))) == 200

        for victim in ("volume0", "volume1", "volume2"):
            s3.processes[victim].kill()
            for name in names:
                status, body = caller.download(name)
                assert status == 200
                assert body == content(name, int(name.partition("-")[0]))
            # The other two take new objects too, once the cluster has noticed.
            deadline = time.monotonic() + 60
            while caller.upload(f"without-{victim}", content(victim, 3_000_000)) != 200:
                assert time.monotonic() < deadline
            assert caller.download(f"without-{victim}") == (200, content(victim, 3_000_000))
            s3.start()


def hold(s3: S3Server, *, how: str) -> None:
    for process in s3.processes.values():
        if how == "killed":
            process.kill()
        else:
            process.stop()


def give_back(s3: S3Server, *, how: str) -> None:
    if how == "killed":
        s3.start()
    else:
        for process in s3.processes.values():
            process.resume()


@pytest.mark.parametrize("how", ["killed", "hanging"])
def test_scalars_go_on_while_the_store_is_away(how: str, tmp_path: Path) -> None:
    with (
        open_s3() as s3,
        # Half a minute is what the default promises; the test need not sit through it twice.
        serving(tmp_path / "data", s3, AWS_READ_TIMEOUT="5s") as caller,
    ):
        data = content("large", 12_000_000)
        assert caller.upload("large", data) == 200
        assert caller.upload("small", data[:100]) == 200
        scalars = Scalars(caller)
        with grpc.insecure_channel(f"127.0.0.1:{caller.server.port}") as channel:
            scalars.write(channel)
            hold(s3, how=how)
            outcomes: list[tuple[str, int, float]] = []
            threads = [
                threading.Thread(target=measure, args=(caller, kind, data, outcomes))
                for kind in ("large", "small", "upload", "large upload") * 30
            ]
            for thread in threads:
                thread.start()
            before = scalars.step
            slowest = 0.0
            while any(thread.is_alive() for thread in threads):
                began = time.monotonic()
                scalars.write(channel)
                # Reads over HTTP, where blobs come too, do not wait for the store either.
                assert scalars.stored() == scalars.step
                slowest = max(slowest, time.monotonic() - began)
            assert scalars.step > before
            assert {status for _, status, _ in outcomes} == {503}
            assert max(seconds for _, _, seconds in outcomes) < LIMIT_SECONDS
            assert slowest < 5
            assert len(outcomes) == len(threads)
            give_back(s3, how=how)
            recovered = time.monotonic() + LIMIT_SECONDS
            while caller.upload("after", data) != 200:
                assert time.monotonic() < recovered
            assert caller.download("large") == (200, data)
            assert caller.download("small") == (200, data[:100])
            assert caller.download("after") == (200, data)


def measure(caller: Caller, kind: str, data: bytes, outcomes: list[tuple[str, int, float]]) -> None:
    began = time.monotonic()
    if kind.endswith("upload"):
        status = caller.upload(f"new {kind}".replace(" ", "-"), data if "large" in kind else b"x")
    else:
        status, _ = caller.download(kind)
    outcomes.append((kind, status, time.monotonic() - began))


def test_a_server_killed_while_it_uploads_leaves_nothing_visible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(20261123)
    with open_s3() as s3, serving(tmp_path / "data", s3) as caller:
        server = caller.server
        began = time.monotonic()
        assert caller.upload("object-0", content("object-0", 25_000_000)) == 200
        usual = time.monotonic() - began
        acknowledged = {"object-0"}
        started = 1
        for _ in range(10):
            writer = Caller(server)
            killer = threading.Timer(rng.uniform(0.1, 2.5) * usual, server.kill)
            killer.start()
            with contextlib.suppress(OSError, http.client.HTTPException):
                while True:
                    name = f"object-{started}"
                    started += 1
                    assert writer.upload(name, content(name, 25_000_000)) == 200
                    acknowledged.add(name)
            killer.join()
            server.start()
            reader = Caller(server)
            for name in (f"object-{number}" for number in range(started)):
                status, body = reader.download(name)
                assert status == 200 or name not in acknowledged
                if status == 200:
                    assert body == content(name, 25_000_000)
        url = server.options[1]
        server.stop()
        for name, value in s3.environ().items():
            monkeypatch.setenv(name, value)
        store = open_store(Settings(data_dir=tmp_path / "data", object_store=url))
        service = StorageService(store)
        bucket = url.split("/")[2]
        left = len(s3.unfinished_uploads(bucket))
        keys = sum(1 for _ in store.blobs.keys())  # noqa: SIM118 -- no mapping
        removed = service.sweep(older_than_s=-1)
        kept = sum(1 for _ in store.blobs.keys())  # noqa: SIM118 -- no mapping
        store.close()
        assert left + keys - kept > 0
        assert removed == left + keys - kept
        assert s3.unfinished_uploads(bucket) == []
        assert len(acknowledged) <= kept <= started

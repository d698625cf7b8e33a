"""Clients that write all the time and remember what was acknowledged, and the reckoning.

A client that is refused, or hears nothing, sends the same again, to the next server where there
are several, as Google's clients and load balancers do. What is in doubt is one request a client.
"""

import contextlib
import hashlib
import json
import random
import threading
import time
import urllib.error
import urllib.request
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from tensordeck import protos
from tests.conftest import Server

SERVICE = "/google.cloud.aiplatform.v1.TensorboardService"
PARENT = "projects/torture/locations/us-central1"
BUCKET = "torture"
POINTS = 8
SERIES = 3
PASSING = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
"""What a fault may look like to a client: try again."""


def value_at(run: int, series: int, step: int) -> float:
    """What is written; a point that was altered or moved to another series does not match."""
    return run * 1e9 + series * 1e6 + step + 1 / 3


def content_of(name: str) -> bytes:
    """An object's bytes follow from its name."""
    seed = hashlib.sha256(name.encode()).digest()
    return seed * (1 + seed[0] * 8)


@dataclass
class RunRecord:
    """What became of a run.

    Attributes:
        name: Its full name.
        number: From which its values follow.
        created: It is acknowledged with all its series.
        acknowledged: So many points of each series are.
        attempted: So many may be there.
        deletion: "", "asked" or "acknowledged".
    """

    name: str
    number: int
    created: bool = False
    acknowledged: int = 0
    attempted: int = 0
    deletion: str = ""


@dataclass
class Book:
    """What all clients did.

    Attributes:
        runs: By name.
        groups: Names of runs that are always written by one request.
        objects: Names of acknowledged objects.
        faults: Codes of passing errors, with their number.
        texts: What the first error of each code said.
        bugs: Errors that no fault explains.
        slowest: The longest that a client waited for any one answer, in seconds.
        requests: Acknowledged ones.
    """

    runs: dict[str, RunRecord] = field(default_factory=dict)
    groups: list[list[str]] = field(default_factory=list)
    objects: set[str] = field(default_factory=set)
    faults: dict[str, int] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    bugs: list[str] = field(default_factory=list)
    slowest: float = 0.0
    requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Api:
    """The API of one server, for one client."""

    def __init__(
        self, server: Server, token: Callable[[], str], timeout_seconds: float = 20.0
    ) -> None:
        self._server = server
        self._timeout = timeout_seconds
        self._token = token
        self._channel = grpc.insecure_channel(
            f"127.0.0.1:{server.port}",
            options=[
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 500),
                ("grpc.enable_retries", 0),
                # Else all channels to a port share one connection, and its wait after a failure.
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )

    def close(self) -> None:
        self._channel.close()

    def grpc(self, method: str, **fields: Any) -> bytes:
        request = protos.message(f"{method}Request")(**fields)
        call = self._channel.unary_unary(f"{SERVICE}/{method}")
        metadata = [("authorization", f"Bearer {self._token()}")]
        return call(request.SerializeToString(), metadata=metadata, timeout=self._timeout)

    def rest(self, verb: str, path: str, body: Any = None) -> bytes:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self._server.url}{path}",
            data=data,
            method=verb,
            headers={"Authorization": f"Bearer {self._token()}"},
        )
        with urllib.request.urlopen(request, timeout=self._timeout) as reply:
            return reply.read()


class Client(threading.Thread):
    """One client; subclasses say what it does."""

    def __init__(
        self,
        name: str,
        servers: Sequence[Server],
        token: Callable[[], str],
        experiment: str,
        book: Book,
        pause: float,
        timeout_seconds: float,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.experiment, self.book = experiment, book
        self.chance = random.Random(name)
        self._apis = [Api(server, token, timeout_seconds) for server in servers]
        self._at = self.chance.randrange(len(servers))
        self._stopping = threading.Event()
        self.pause = pause

    def stop(self) -> None:
        self._stopping.set()

    @property
    def api(self) -> Api:
        return self._apis[self._at]

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                self.work()
        except _Stopped:
            pass
        except Exception as error:  # noqa: BLE001 -- a failed check of the client's own
            self.book.bugs.append(f"{self.name}: {error!r}")
        for api in self._apis:
            api.close()

    @abstractmethod
    def work(self) -> None:
        """Does something, all of it acknowledged when it returns."""

    def acknowledged(self, call: Callable[[Api], object], done: Sequence[str] = ()) -> None:
        """Calls until there is an answer that is no passing fault.

        Args:
            call: What to do.
            done: Errors that mean that an earlier attempt had worked.
        """
        again = False
        while not self._stopping.wait(self.pause):
            began = time.monotonic()
            try:
                call(self.api)
            except grpc.RpcError as error:
                code, passing = error.code().name, error.code() in PASSING
                text = f"{code}: {error.details()}"
            except urllib.error.HTTPError as error:
                with error:
                    code, passing = str(error.code), error.code in {429, 503, 504}
                    text = f"{code}: {error.read()[:300]!r}"
            except OSError as error:  # connections that break are passing faults
                code, passing, text = type(error).__name__, True, str(error)
            else:
                code = ""
            with self.book.lock:
                self.book.slowest = max(self.book.slowest, time.monotonic() - began)
                if not code or (again and code in done):
                    self.book.requests += 1
                    return
                self.book.texts.setdefault(code, text)
                self.book.faults[code] = self.book.faults.get(code, 0) + 1
                if not passing:
                    self.book.bugs.append(f"{self.name}: {text}")
            again = True
            self._at = (self._at + 1) % len(self._apis)
            self._stopping.wait(0.1)
        raise _Stopped


class _Stopped(Exception):  # noqa: N818 -- not an error
    """The test is over."""


class RunClient(Client):
    """Makes groups of runs, writes each group's points by one request, deletes some again."""

    group_size = 1
    deletes = 0.2
    deletes_whole_groups = False

    def work(self) -> None:
        group = [self._make_run() for _ in range(self.group_size)]
        with self.book.lock:
            self.book.groups.append([run.name for run in group])
        for _ in range(self.chance.randint(1, 30)):
            for run in group:
                run.attempted = run.acknowledged + POINTS
            self.acknowledged(lambda api: self._write(api, group))
            for run in group:
                run.acknowledged = run.attempted
        if self.chance.random() < self.deletes:
            for run in group if self.deletes_whole_groups else group[:1]:
                self._delete_run(run)

    def _make_run(self) -> RunRecord:
        with self.book.lock:
            number = len(self.book.runs)
            run = RunRecord(f"{self.experiment}/runs/r{number}", number)
            self.book.runs[run.name] = run
        self.acknowledged(
            lambda api: api.grpc(
                "CreateTensorboardRun",
                parent=self.experiment,
                tensorboard_run_id=f"r{number}",
                tensorboard_run={"display_name": f"run {number}"},
            ),
            ["ALREADY_EXISTS"],
        )
        for series in range(SERIES):
            self.acknowledged(
                lambda api, series=series: api.grpc(
                    "CreateTensorboardTimeSeries",
                    parent=run.name,
                    tensorboard_time_series_id=str(series),
                    tensorboard_time_series={"display_name": f"tag {series}", "value_type": 1},
                ),
                ["ALREADY_EXISTS"],
            )
        run.created = True
        return run

    def _delete_run(self, run: RunRecord) -> None:
        run.deletion = "asked"
        self.acknowledged(
            lambda api: api.grpc("DeleteTensorboardRun", name=run.name), ["NOT_FOUND"]
        )
        run.deletion = "acknowledged"

    def _write(self, api: Api, group: list[RunRecord]) -> None:
        requests = [_points(run) for run in group]
        if self.group_size == 1:
            fields = {"time_series_data": requests[0].time_series_data}
            api.grpc("WriteTensorboardRunData", tensorboard_run=group[0].name, **fields)
        else:
            api.grpc(
                "WriteTensorboardExperimentData",
                tensorboard_experiment=self.experiment,
                write_run_data_requests=requests,
            )


class GroupClient(RunClient):
    """Writes three runs by one request: all of it is there, or nothing."""

    group_size = 3


class ObjectClient(Client):
    """Uploads objects of up to 64 KiB, and deletes some again."""

    deletes = 0.0

    def work(self) -> None:
        number = self.chance.getrandbits(64)
        name = f"{self.name}-{number:x}"
        self.acknowledged(
            lambda api: api.rest(
                "POST",
                f"/upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}",
                content_of(name),
            )
        )
        if self.chance.random() < self.deletes:
            self.acknowledged(
                lambda api: api.rest("DELETE", f"/storage/v1/b/{BUCKET}/o/{name}"), ["404"]
            )
        else:
            self.book.objects.add(name)


def _points(run: RunRecord) -> Any:
    message = protos.message("WriteTensorboardRunDataRequest")(tensorboard_run=run.name)
    for series in range(SERIES):
        data = message.time_series_data.add(tensorboard_time_series_id=str(series), value_type=1)
        for step in range(run.acknowledged, run.attempted):
            point = data.values.add(step=step)
            point.wall_time.FromSeconds(step)
            point.scalar.value = value_at(run.number, series, step)
    return message


def logged(server: Server, folder: Path) -> Server:
    """Lets a server write its log to a file: at a full pipe that nobody reads, it would wait."""
    server.output = (folder / f"log-{server.port}").open("a")
    return server


class Load:
    """All clients together.

    Args:
        servers: Running; they may be killed and started again meanwhile.
        clients: The kinds of clients, one of each.
        pause: Seconds that each client waits before a request.
        timeout_seconds: How long a client waits for an answer.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        clients: Sequence[type[Client]] = (RunClient, RunClient, GroupClient, ObjectClient),
        pause: float = 0.0,
        timeout_seconds: float = 20.0,
    ) -> None:
        self.book = Book()
        self.servers = servers
        self._token = servers[0].token
        self._token_until = time.monotonic() + 1800
        api = Api(servers[0], self.token)
        board = json.loads(
            api.rest("POST", f"/v1/{PARENT}/tensorboards", {"displayName": "torture"})
        )["response"]["name"]
        api.rest("POST", f"/v1/{board}/experiments?tensorboardExperimentId=e", {})
        self.experiment = f"{board}/experiments/e"
        api.rest("POST", "/storage/v1/b?project=torture", {"name": BUCKET})
        api.close()
        self._clients = [
            kind(
                f"{kind.__name__}-{number}",
                servers,
                self.token,
                self.experiment,
                self.book,
                pause,
                timeout_seconds,
            )
            for number, kind in enumerate(clients)
        ]
        for client in self._clients:
            client.start()

    def token(self) -> str:
        """A token that still holds for a while."""
        if time.monotonic() > self._token_until:
            self._token_until = time.monotonic() + 60
            with contextlib.suppress(OSError):  # it is dead just now; the old one holds for long
                self._token = self.servers[0].token
                self._token_until = time.monotonic() + 1800
        return self._token

    def pace(self, pause: float) -> None:
        """Lets each client wait so many seconds before a request from now on."""
        for client in self._clients:
            client.pause = pause

    def stop(self) -> None:
        for client in self._clients:
            client.stop()
        for client in self._clients:
            client.join()


@dataclass
class Reckoning:
    """Reads back what clients wrote, while they go on.

    Attributes:
        load: The clients.
        runs: How many runs were read.
        points: How many points were compared.
        objects: How many objects were read.
    """

    load: Load
    runs: int = 0
    points: int = 0
    objects: int = 0
    _seen: set[str] = field(default_factory=set)
    _seen_objects: set[str] = field(default_factory=set)

    def check(self, server: Server, *, everything: bool = False) -> None:
        """Compares what is new since the last check, or all, by what one server reads.

        Raises:
            AssertionError: If something acknowledged is gone, altered or there twice, something
                is there in part, or a client met an error that no fault explains.
        """
        api = Api(server, self.load.token)
        book = self.load.book
        with book.lock:
            before = {name: RunRecord(**vars(run)) for name, run in book.runs.items()}
            groups = [list(group) for group in book.groups]
            objects = sorted(book.objects if everything else book.objects - self._seen_objects)
        chosen = [run for run in before.values() if everything or run.name not in self._seen]
        found: dict[str, set[int]] = {}
        for run in chosen:
            counts = self._read_run(api, run)
            if counts is not None:
                found[run.name] = counts
        for group in groups if everything else []:
            counts = [found[name] for name in group if name in found]
            assert all(one == counts[0] for one in counts), f"written in part: {group}"
        for name in objects:
            assert api.rest("GET", f"/storage/v1/b/{BUCKET}/o/{name}?alt=media") == content_of(name)
        self.objects += len(objects)
        self._seen_objects.update(objects)
        # What may still grow is read again next time.
        newest = max((run.number for run in chosen), default=0)
        self._seen.update(run.name for run in chosen if run.number < newest - 20)
        api.close()
        assert not book.bugs, book.bugs[:5]

    def _read_run(self, api: Api, run: RunRecord) -> set[int] | None:
        """Returns how many points each series has; None for a run that is not there."""
        counts = set()
        for series in range(SERIES):
            try:
                reply = api.grpc(
                    "ReadTensorboardTimeSeriesData",
                    tensorboard_time_series=f"{run.name}/timeSeries/{series}",
                    max_data_points=-1,
                )
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
                latest = self.load.book.runs[run.name]
                assert not run.created or latest.deletion, f"{run.name} is gone"
                return None
            assert run.deletion != "acknowledged", f"{run.name} is back after its deletion"
            message = protos.message("ReadTensorboardTimeSeriesDataResponse")
            points = message.FromString(reply).time_series_data.values
            steps = [point.step for point in points]
            assert steps == list(range(len(steps))), f"{run.name}: points are missing or twice"
            most = self.load.book.runs[run.name].attempted
            assert run.acknowledged <= len(steps) <= most, (
                f"{run.name}: {len(steps)} points, {run.acknowledged} acknowledged"
            )
            assert [point.scalar.value for point in points] == [
                value_at(run.number, series, step) for step in steps
            ]
            counts.add(len(steps))
            self.points += len(steps)
        self.runs += 1
        return counts

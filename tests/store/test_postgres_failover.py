"""The primary goes away: a synchronous standby takes over, and Tensordeck goes on by itself."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tensordeck import errors
from tensordeck.settings import Settings
from tensordeck.store import open_store
from tensordeck.store.database import open_database
from tensordeck.store.resources import MetadataStore
from tests.conftest import Server, make_server
from tests.replicated_postgres import Cluster, replicated, wait_until
from tests.store.samples import PLACE

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(300)]

RUNS = 4
MORE = 20
"""Acknowledged writes a run, before the primary is killed and after the standby took over."""


@pytest.fixture
def clusters() -> Iterator[tuple[Cluster, Cluster]]:
    with replicated() as pair:
        yield pair


def both(primary: Cluster, standby: Cluster) -> str:
    return f"postgresql://postgres@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/postgres"


def call(server: Server, token: str, verb: str, path: str, body: object = None) -> Any:
    request = urllib.request.Request(
        f"{server.url}/v1/{path}",
        method=verb,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


def is_ready(server: Server) -> bool:
    try:
        with urllib.request.urlopen(f"{server.url}/readyz") as reply:
            return bool(json.load(reply)["ready"])
    except urllib.error.HTTPError:
        return False


class Writer:
    """Writes ever further steps of a run, each until it is acknowledged."""

    def __init__(self, server: Server, token: str, run: str) -> None:
        self.acknowledged = 0
        self.refusals: list[int] = []
        self.run = run
        self._server, self._token = server, token

    def write(self, count: int, failed: threading.Event | None = None) -> None:
        until = self.acknowledged + count
        while self.acknowledged < until:
            point = {"step": self.acknowledged, "scalar": {"value": self.acknowledged}}
            data = [
                {"tensorboardTimeSeriesId": "1", "valueType": "SCALAR", "values": [point]},
            ]
            try:
                call(
                    self._server,
                    self._token,
                    "POST",
                    f"{self.run}:write",
                    {"timeSeriesData": data},
                )
            except urllib.error.HTTPError as error:
                self.refusals.append(error.code)
                if failed:
                    failed.set()
            else:
                self.acknowledged += 1

    def read(self) -> list[tuple[int, float]]:
        data = call(self._server, self._token, "GET", f"{self.run}/timeSeries/1:read")
        return [
            (int(point.get("step", 0)), point["scalar"].get("value", 0))
            for point in data["timeSeriesData"]["values"]
        ]


def make_experiment(server: Server, token: str) -> str:
    place = "projects/failover/locations/us-central1"
    board = call(server, token, "POST", f"{place}/tensorboards", {"displayName": "t"})
    path = f"{board['response']['name']}/experiments?tensorboardExperimentId=e"
    return str(call(server, token, "POST", path, {})["name"])


def make_run(server: Server, token: str, experiment: str, run_id: str = "r") -> str:
    """A run with a series of scalars whose id is 1."""
    path = f"{experiment}/runs?tensorboardRunId={run_id}"
    run = str(call(server, token, "POST", path, {"displayName": run_id})["name"])
    series = {"displayName": "loss", "valueType": "SCALAR"}
    call(server, token, "POST", f"{run}/timeSeries?tensorboardTimeSeriesId=1", series)
    return run


def test_no_acknowledged_write_is_lost_and_service_is_back_without_a_restart(
    clusters: tuple[Cluster, Cluster], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    primary, standby = clusters
    server = make_server(tmp_path / "data", "--database-url", both(primary, standby)).start()
    request.addfinalizer(server.kill)
    token = server.token
    experiment = make_experiment(server, token)
    writers = [
        Writer(server, token, make_run(server, token, experiment, f"r{number}"))
        for number in range(RUNS)
    ]

    with ThreadPoolExecutor(RUNS) as pool:
        list(pool.map(lambda writer: writer.write(MORE), writers))
        failed = threading.Event()
        going_on = [pool.submit(writer.write, MORE, failed) for writer in writers]
        primary.kill()  # in the midst of it
        assert failed.wait(60)
        with urllib.request.urlopen(f"{server.url}/healthz") as reply:
            assert reply.status == 200
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{server.url}/readyz")
        assert refused.value.code == 503
        assert "the store does not answer" in json.load(refused.value)["reason"]
        standby.ask("SELECT pg_promote()")
        for each in going_on:
            each.result(120)

    for writer in writers:
        assert set(writer.refusals) <= {503}
        assert writer.read() == [(step, float(step)) for step in range(2 * MORE)]
    wait_until(lambda: is_ready(server), 10)  # what it found out last holds for a moment
    assert server.stop() == 0


def test_a_commit_that_did_not_wait_for_the_standby_is_no_acknowledgement(
    clusters: tuple[Cluster, Cluster],
) -> None:
    """An operator cancels what waits for a standby that is gone; PostgreSQL then says COMMIT."""
    primary, standby = clusters
    database = open_database(Settings(database_url=both(primary, standby)))
    standby.kill()
    written = database.submit(
        lambda connection: connection.execute(text("CREATE TABLE nobody_waited_for (x int)"))
    )
    waits = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    wait_until(lambda: bool(primary.ask(f"SELECT 1 {waits}")))
    primary.ask(f"SELECT pg_cancel_backend(pid) {waits}")

    with pytest.raises(errors.Unavailable, match="did not say that this is written"):
        written.result(60)

    primary.kill()
    database.close()


def test_boards_read_a_replica_while_it_is_there(clusters: tuple[Cluster, Cluster]) -> None:
    primary, standby = clusters
    store = open_store(Settings(database_url=both(primary, standby), read_replica_url=standby.url))
    name = f"{PLACE}/metadataStores/m"
    store.catalog.create(MetadataStore(name=name))
    wait_until(lambda: store.lagging.catalog.find(MetadataStore, name) is not None)
    readers = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'tensordeck replica reads'"

    assert standby.ask(readers)
    assert not primary.ask(readers)

    standby.kill()
    assert store.lagging.catalog.get(MetadataStore, name).name == name
    assert primary.ask("SELECT 1 FROM pg_stat_activity WHERE application_name = 'tensordeck reads'")
    store.close()


def test_boards_read_the_primary_until_the_replica_has_the_tables(
    clusters: tuple[Cluster, Cluster],
) -> None:
    primary, standby = clusters
    standby.ask("SELECT pg_wal_replay_pause()")
    store = open_store(Settings(database_url=both(primary, standby), read_replica_url=standby.url))
    name = f"{PLACE}/metadataStores/m"
    store.catalog.create(MetadataStore(name=name))
    assert store.lagging.catalog.get(MetadataStore, name).name == name

    standby.ask("SELECT pg_wal_replay_resume()")
    asked = (
        "SELECT 1 FROM pg_stat_user_tables WHERE relname = 'metadata_stores' "
        "AND seq_scan + coalesce(idx_scan, 0) > 0"
    )
    wait_until(
        lambda: store.lagging.catalog.find(MetadataStore, name) is not None and standby.ask(asked)
    )
    store.close()


def test_a_server_shows_boards_from_the_replica_and_answers_the_api_from_the_primary(
    clusters: tuple[Cluster, Cluster], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    primary, standby = clusters
    urls = ("--database-url", primary.url, "--read-replica-url", standby.url)
    server = make_server(tmp_path / "data", *urls).start()
    request.addfinalizer(server.kill)
    token = server.token
    writer = Writer(server, token, make_run(server, token, make_experiment(server, token)))
    writer.write(1)

    def shown() -> list[int]:
        """The steps in the board's chart."""
        experiment = writer.run.partition("/runs/")[0].replace("/", "+")
        answer = urllib.request.Request(
            f"{server.url}/experiment/{experiment}/data/plugin/scalars/scalars?run=r&tag=loss",
            headers={"Authorization": f"Bearer {token}"},
        )
        try:
            with urllib.request.urlopen(answer, timeout=60) as reply:
                return [step for _, step, _ in json.load(reply)]
        except urllib.error.HTTPError as error:
            if error.code != 404:  # which the replica says while it does not know the run
                raise
            return []

    wait_until(lambda: shown() == [0])
    assert standby.ask("SELECT 1 FROM pg_stat_activity WHERE application_name LIKE '% replica %'")

    standby.ask("SELECT pg_wal_replay_pause()")
    writer.write(1)
    assert [step for step, _ in writer.read()] == [0, 1]
    assert shown() == [0]
    standby.ask("SELECT pg_wal_replay_resume()")
    wait_until(lambda: shown() == [0, 1])

    standby.ask("SELECT pg_wal_replay_pause()")
    writer.write(1)
    assert shown() == [0, 1]
    standby.kill()
    assert shown() == [0, 1, 2]

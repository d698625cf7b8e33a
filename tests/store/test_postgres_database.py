"""PostgreSQL under several servers: what the tests of the contract do not show."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from msgspec.structs import replace
from sqlalchemy import Connection, insert, text

from tensordeck import errors
from tensordeck.settings import Settings
from tensordeck.store import migrations, schema
from tensordeck.store.catalog import SqlCatalog
from tensordeck.store.contract import RunScalars, ScalarColumns
from tensordeck.store.database import Database, open_database
from tensordeck.store.folding import Folding
from tensordeck.store.resources import MetadataStore, Run, Tensorboard
from tests.postgres_server import PostgresServer
from tests.store.points_place import EAGER, EXPERIMENT, open_place
from tests.store.samples import PLACE

pytestmark = pytest.mark.heavy

UNPACKED = text(
    "SELECT relname, attname FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid "
    "WHERE relkind = 'r' AND attstorage = 'e' AND relnamespace = 'public'::regnamespace ORDER BY 1"
)
"""The columns whose bytes PostgreSQL stores as they are."""


@pytest.fixture
def backend() -> str:
    return "postgresql"


@pytest.fixture
def second(settings: Settings) -> Iterator[Database]:
    """Another server's view of the same database."""
    database = open_database(settings)
    yield database
    database.close()


def add(name: str) -> Callable[[Connection], str]:
    """Work that adds a row."""
    row = {"name": name, "revision": 1, "create_time": 1, "update_time": 1}
    statement = insert(schema.metadata_stores).values(place="", description="", **row)
    named = statement.returning(schema.metadata_stores.c.name)
    return lambda connection: connection.execute(named).scalar_one()


def test_a_new_database_is_what_all_migrations_make(
    database: Database, postgres: PostgresServer
) -> None:
    postgres.execute("CREATE DATABASE migrated")
    migrated = open_database(Settings(database_url=postgres.url("migrated")))
    try:
        migrated.write(_start_over)
        for each in (database, migrated):
            with each.read() as connection:
                context = MigrationContext.configure(connection)
                assert compare_metadata(context, schema.metadata) == []
                assert connection.execute(UNPACKED).all() == [
                    ("journal", "payload"),
                    ("overviews", "data"),
                    ("payloads", "data"),
                    ("segments", "data"),
                ]
    finally:
        migrated.close()
        postgres.execute("DROP DATABASE migrated")


def _start_over(connection: Connection) -> None:
    connection.execute(text("DROP SCHEMA public CASCADE"))
    connection.execute(text("CREATE SCHEMA public"))
    migrations.migrate(connection)


def test_servers_that_start_at_once_make_one_schema(postgres: PostgresServer) -> None:
    postgres.execute("CREATE DATABASE fresh")
    url = postgres.url("fresh")
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: open_database(Settings(database_url=url)), range(4)))
    for database in opened:
        SqlCatalog(database).find(Tensorboard, "none")
        database.close()
    postgres.execute("DROP DATABASE fresh")


def test_no_change_of_two_servers_is_lost(database: Database, second: Database) -> None:
    catalogs = [SqlCatalog(database), SqlCatalog(second)]
    name = f"{PLACE}/tensorboards/1"
    catalogs[0].create(Tensorboard(name=name, description="0"))

    def count(number: int) -> None:
        catalogs[number % 2].update(
            Tensorboard, name, lambda old: replace(old, description=str(int(old.description) + 1))
        )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(60)))
    assert catalogs[0].get(Tensorboard, name).description == "60"


def test_of_two_servers_that_make_one_resource_one_is_told(
    database: Database, second: Database
) -> None:
    catalogs = [SqlCatalog(database), SqlCatalog(second)]

    def make(number: int) -> bool:
        try:
            catalogs[number % 2].create(MetadataStore(name=f"{PLACE}/metadataStores/{number // 2}"))
        except errors.AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make, range(40)))
    assert sum(made) == 20


def test_a_piece_that_fails_fails_alone(database: Database) -> None:
    entered, released = threading.Event(), threading.Event()

    def hold(_connection: Connection) -> None:
        entered.set()
        released.wait(30)

    def fail(connection: Connection) -> None:
        add("lost")(connection)
        raise errors.Aborted("on purpose")

    first = database.submit(hold)
    assert entered.wait(30)
    good = database.submit(add("kept"))
    bad = database.submit(fail)
    broken = database.submit(lambda connection: connection.execute(text("SELECT nonsense")))
    last = database.submit(add("also"))
    released.set()
    first.result(30)
    assert (good.result(30), last.result(30)) == ("kept", "also")
    with pytest.raises(errors.Aborted):
        bad.result(30)
    with pytest.raises(errors.Internal):
        broken.result(30)
    with database.read() as connection:
        names = connection.scalars(text("SELECT name FROM metadata_stores ORDER BY pk")).all()
    assert names == ["kept", "also"]


def test_it_recovers_when_every_connection_is_cut(
    database: Database, settings: Settings, postgres: PostgresServer
) -> None:
    catalog = SqlCatalog(database)
    catalog.create(MetadataStore(name=f"{PLACE}/metadataStores/before"))
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
        name = settings.database_url.rpartition("/")[2]
        cut = admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
            [name],
        ).fetchall()
    assert cut
    assert catalog.find(MetadataStore, f"{PLACE}/metadataStores/before")
    catalog.create(MetadataStore(name=f"{PLACE}/metadataStores/after"))
    assert catalog.find(MetadataStore, f"{PLACE}/metadataStores/after")


def test_a_database_that_is_away_is_one_clear_line() -> None:
    with pytest.raises(
        errors.FailedPrecondition, match=r"127\.0\.0\.1:1/none can't be opened"
    ) as error:
        open_database(Settings(database_url="postgresql://me:secret@127.0.0.1:1/none"))
    assert "secret" not in str(error.value)


def test_points_of_a_run_that_is_deleted_meanwhile_are_refused(settings: Settings) -> None:
    """One server writes and folds all the time while another one deletes run after run."""
    with open_place(settings, EAGER) as writer, open_place(settings) as other:
        writer.make_experiment()
        for number in range(8):
            key = writer.make_run(f"r{number}", 1)[0]
            name = f"projects/p/locations/l/tensorboards/1/experiments/e/runs/r{number}"
            gone = threading.Thread(target=other.catalog.delete, args=(Run, name))
            for step in range(30):
                if step == 10:
                    gone.start()
                try:
                    writer.write(key, [step], [step])
                except errors.NotFound:
                    break
            gone.join()
            assert writer.read(key) == []
            with pytest.raises(errors.NotFound):
                writer.write(key, [99], [99])


def test_a_run_that_another_server_folds_is_left_to_it(settings: Settings) -> None:
    with open_place(settings) as place, contextlib.ExitStack() as other:
        place.make_experiment()
        key = place.make_run("r", 1)[0]
        place.write(key, [1, 2], [1.0, 2.0])
        connection = other.enter_context(psycopg.connect(settings.database_url))
        taken = connection.execute(
            "SELECT pg_try_advisory_xact_lock(1413760591, %s::int)", [key[0]]
        ).fetchone()
        assert taken == (True,)
        assert place.points.fold() == 0
        connection.rollback()
        assert place.points.fold() == 1
        assert place.read(key) == [(1, 1.0), (2, 2.0)]


def test_what_came_after_another_servers_folding_waits_its_time(
    database: Database, settings: Settings
) -> None:
    folding = Folding(database)
    with open_place(settings) as place:
        place.make_experiment()
        key = place.make_run("r", 1)[0]
        place.write(key, [1], [1.0])
        oldest = place.points.run_versions([key[0]])[key[0]]
        assert place.points.fold() == 1
        place.write(key, [2], [2.0])
        assert folding.fold_run(key[0], oldest) == 0
        assert folding.fold_run(key[0]) == 1
        assert place.read(key) == [(1, 1.0), (2, 2.0)]


def test_points_of_two_runs_lock_as_one_group_or_not_at_all(settings: Settings) -> None:
    """A request for a run that is there and one that is not writes neither."""
    with open_place(settings) as place:
        place.make_experiment()
        there, gone = (place.make_run(name, 1)[0] for name in ("there", "gone"))
        place.catalog.delete(Run, f"{EXPERIMENT}/runs/gone")
        columns = ScalarColumns(np.array([1]), np.array([1]), np.array([1.0]))
        request = [RunScalars(run_pk, [pk], [1], columns) for run_pk, pk in (there, gone)]
        refused, written = place.points.submit_scalars([request, request[:1]]).result(30)
        assert isinstance(refused, errors.NotFound)
        assert written is None
        assert place.points.run_versions([there[0], gone[0]])[gone[0]] == 0
        assert place.read(there) == [(1, 1.0)]

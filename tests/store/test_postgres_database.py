"""PostgreSQL under several servers: what the tests of the contract do not show."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, insert, text

from tensordeck import errors
from tensordeck.settings import Settings
from tensordeck.store import migrations, schema
from tensordeck.store.catalog import SqlCatalog
from tensordeck.store.database import Database, open_database
from tensordeck.store.resources import MetadataStore, Run, Tensorboard
from tests.postgres_server import PostgresServer
from tests.store.points_place import EAGER, open_place
from tests.store.samples import PLACE

pytestmark = pytest.mark.heavy


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

"""The last numbers that a database gave out: keys and journal numbers are never used again."""

from collections.abc import Mapping

from sqlalchemy import Connection, Table, text

from tensordeck.moving.tables import TABLES

__all__ = ["last_numbers", "raise_numbers"]


def last_numbers(connection: Connection) -> dict[str, int]:
    """Returns the last number given out of each table that numbers its rows; 0 for none.

    PostgreSQL's are those of now, not of the transaction's moment: at worst some are left out.
    """
    if connection.dialect.name == "sqlite":
        known = connection.execute(text("SELECT name, seq FROM sqlite_sequence")).all()
        found = {str(name): int(number) for name, number in known}
        return {table.name: found.get(table.name, 0) for table in _numbered()}
    result: dict[str, int] = {}
    for table in _numbered():
        last, called = connection.execute(
            text(f"SELECT last_value, is_called FROM {_sequence(connection, table)}")  # noqa: S608 -- names of our own tables
        ).one()
        result[table.name] = int(last) if called else 0
    return result


def raise_numbers(connection: Connection, numbers: Mapping[str, int]) -> None:
    """Lets each table go on after some number, or after its own last one if that is larger."""
    own = last_numbers(connection)
    for table in _numbered():
        number = numbers.get(table.name, 0)
        if number <= own[table.name]:
            continue
        if connection.dialect.name == "sqlite":
            values = {"name": table.name, "number": number}
            connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), values)
            connection.execute(text("INSERT INTO sqlite_sequence VALUES (:name, :number)"), values)
        else:
            connection.execute(
                text("SELECT setval(CAST(:sequence AS regclass), :number)"),
                {"sequence": _sequence(connection, table), "number": number},
            )


def _numbered() -> list[Table]:
    return [
        table
        for table in TABLES
        if (column := table.autoincrement_column) is not None and column.primary_key
    ]


def _sequence(connection: Connection, table: Table) -> str:
    column = table.autoincrement_column
    assert column is not None  # noqa: S101 -- by `_numbered`
    return str(
        connection.execute(
            text("SELECT pg_get_serial_sequence(:table, :column)"),
            {"table": table.name, "column": column.name},
        ).scalar_one()
    )

"""Statements of the hot paths, put together once and then handed to the driver as text.

SQLAlchemy takes several times as long over a statement that touches one row as the database does.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.sql import ClauseElement

from tensordeck.store import documents

__all__ = ["DriverStatement"]


class _Text(NamedTuple):
    """A statement in one dialect.

    Attributes:
        sql: As the driver takes it.
        constants: Parameters that are part of the statement.
        order: The parameters' names in the order of their marks; None if the marks have names.
    """

    sql: str
    constants: Mapping[str, Any]
    order: list[str] | None


class DriverStatement:
    """A statement whose parameters are texts, numbers and documents, each by a name.

    Args:
        statement: Made of columns and `bindparam`s; nothing in it expands.
    """

    def __init__(self, statement: ClauseElement) -> None:
        self._statement = statement
        self._texts: dict[str, _Text] = {}

    def run(self, connection: Connection, parameters: Mapping[str, Any]) -> Any:
        """Runs it.

        Args:
            connection: In a transaction.
            parameters: By name; a dictionary or a list is written as a document.

        Returns:
            What rows can be fetched from, as the driver has them: see `documents.loads`.
        """
        text = self._texts.get(connection.dialect.name) or self._compile(connection)
        given = {
            **text.constants,
            **{
                name: documents.dumps(value) if isinstance(value, dict | list | tuple) else value
                for name, value in parameters.items()
            },
        }
        if text.order is None:
            # Not past SQLAlchemy: it must see when a connection to a server breaks.
            return connection.exec_driver_sql(text.sql, given)
        driver: Any = connection.connection.driver_connection
        return driver.execute(text.sql, [given[name] for name in text.order])

    def _compile(self, connection: Connection) -> _Text:
        compiled: Any = self._statement.compile(dialect=connection.dialect)
        order = list(compiled.positiontup) if compiled.positional else None
        text = self._texts[connection.dialect.name] = _Text(str(compiled), compiled.params, order)
        return text

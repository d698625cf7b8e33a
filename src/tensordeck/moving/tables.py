"""All tables of a store, parents first, so that rows can be written in this order."""

from typing import Final

from sqlalchemy import Table

from tensordeck.store import points_schema, schema

__all__ = ["POINTS", "TABLES"]

POINTS: Final = (points_schema.segments, points_schema.payloads)
"""The points that are folded: they change with their series' summary, and with nothing else."""
TABLES: Final[list[Table]] = list(schema.metadata.sorted_tables)

"""Two databases, row by row: the proof at the end of a move."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Column, Connection, LargeBinary, Table, select

from tensordeck.moving.copying import row_counts
from tensordeck.moving.differences import Values, paired
from tensordeck.moving.moment import key_columns
from tensordeck.moving.progress import Progress, Step, silent
from tensordeck.moving.tables import TABLES
from tensordeck.store import schema

__all__ = ["Comparison", "TableComparison", "compare"]

_TELL_EVERY: Final = 500
_SHOWN_RUNS: Final = 5


@dataclass(slots=True)
class TableComparison:
    """A table on both sides.

    Attributes:
        name: The table.
        source_rows: How many rows the source has.
        target_rows: How many the target has.
        source_checksum: What the source's rows hash to, in the order of their keys.
        target_checksum: The same of the target's.
    """

    name: str
    source_rows: int
    target_rows: int
    source_checksum: str
    target_checksum: str

    @property
    def alike(self) -> bool:
        """Whether the two hold the same rows."""
        return (self.source_rows, self.source_checksum) == (self.target_rows, self.target_checksum)


@dataclass(slots=True)
class Comparison:
    """What came out.

    Attributes:
        tables: Every table.
        runs: How many runs were compared: their rows, and all points' rows that belong to them.
        differing_runs: The keys of those that are not alike.
    """

    tables: list[TableComparison]
    runs: int
    differing_runs: set[int] = field(default_factory=set)

    @property
    def alike(self) -> bool:
        """Whether nothing differs."""
        return all(table.alike for table in self.tables)

    def differing(self, source: Connection) -> str:
        """Names what differs, in one line; some runs by their names."""
        tables = ", ".join(table.name for table in self.tables if not table.alike)
        if not self.differing_runs:
            return tables
        chosen = sorted(self.differing_runs)[:_SHOWN_RUNS]
        names = source.scalars(select(schema.runs.c.name).where(schema.runs.c.pk.in_(chosen))).all()
        return f"{tables}; {len(self.differing_runs):,} runs, e.g. {', '.join(names)}"


def compare(source: Connection, target: Connection, progress: Progress = silent) -> Comparison:
    """Reads both sides whole and compares every column of every row.

    Args:
        source: One side.
        target: The other.
        progress: Told how far it is.
    """
    counts = row_counts(source), row_counts(target)
    total = sum(counts[0].values())
    result = Comparison([], counts[0][schema.runs.name])
    done = 0
    for table in TABLES:
        progress(Step("Comparing", done, total, 0))
        name = table.name
        hashes = hashlib.blake2b(digest_size=8), hashlib.blake2b(digest_size=8)
        if counts[0][name] or counts[1][name]:
            binary = [isinstance(column.type, LargeBinary) for column in _columns(table)]
            for ours, theirs in _rows(source, target, table, result):
                for digest, row in zip(hashes, (ours, theirs), strict=True):
                    if row is not None:
                        digest.update(_canonical(row, binary))
                done += 1
                if done % _TELL_EVERY == 0:
                    progress(Step("Comparing", done, total, 0))
        checksums = (digest.hexdigest() for digest in hashes)
        result.tables.append(TableComparison(name, counts[0][name], counts[1][name], *checksums))
    return result


def _rows(
    source: Connection, target: Connection, table: Table, result: Comparison
) -> Iterator[tuple[Values | None, Values | None]]:
    """Both sides' rows of a table; notes the runs of those that differ."""
    columns = _columns(table)
    run_at = _run_column(table, [column.name for column in columns])
    with closing(paired(source, target, table, columns)) as pairs:
        for _, ours, theirs in pairs:
            if run_at is not None and ours != theirs:
                result.differing_runs.update(row[run_at] for row in (ours, theirs) if row)
            yield ours, theirs


def _run_column(table: Table, names: list[str]) -> int | None:
    """Where a table's rows say which run they belong to."""
    if table is schema.runs:
        return names.index("pk")
    if table is schema.time_series:
        return names.index("parent_pk")
    return names.index("run_pk") if "run_pk" in names else None


def _columns(table: Table) -> list[Column[Any]]:
    """All columns, the key first."""
    return [*key_columns(table), *(column for column in table.c if not column.primary_key)]


def _canonical(row: Values, binary: Sequence[bool]) -> bytes:
    """A row as bytes, the same whatever database it comes from.

    Args:
        row: Its columns.
        binary: Which of them are bytes: those are long, and go in as they are.
    """
    if not any(binary):
        return repr(row).encode("utf-8", "surrogatepass")
    parts: list[bytes] = []
    for value, is_binary in zip(row, binary, strict=True):
        part = bytes(value) if is_binary else repr(value).encode("utf-8", "surrogatepass")
        parts += (b"%d:" % len(part), part)
    return b"".join(parts)

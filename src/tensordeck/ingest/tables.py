"""Tables that points are exported to: CSV, JSON lines, Parquet. Each is written as it comes."""

import csv
import io
import json
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import IO, Any, Final

from tensordeck.errors import FailedPrecondition, InvalidArgument

__all__ = ["COLUMNS", "FORMATS", "Rows", "Table", "open_table"]

COLUMNS: Final = ("experiment", "run", "tag", "step", "wall_time", "value")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ROWS_PER_GROUP: Final = 131_072


@dataclass(frozen=True, slots=True)
class Rows:
    """Points of one series: the first three columns are the same in all rows.

    Attributes:
        experiment: The experiment's id.
        run: The run's display name.
        tag: The series' display name.
        steps: Training steps.
        wall_ns: Wall times in nanoseconds since the epoch, None where a point has none.
        values: The values.
    """

    experiment: str
    run: str
    tag: str
    steps: list[int]
    wall_ns: list[int | None]
    values: list[float]


class Table(ABC):
    """A table that is being written."""

    @abstractmethod
    def write(self, rows: Rows) -> None:
        """Adds rows."""

    @abstractmethod
    def close(self) -> None:
        """Writes what is still held back; leaves the stream open."""


class CsvTable(Table):
    """RFC 4180 with a header; wall times in ISO 8601; `nan`, `inf` and `-inf` as Python reads."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        self._writer = csv.writer(self._text)
        self._writer.writerow(COLUMNS)

    def write(self, rows: Rows) -> None:
        """Adds rows."""
        same = (rows.experiment, rows.run, rows.tag)
        self._writer.writerows(
            (*same, step, _iso(wall), repr(value))
            for step, wall, value in zip(rows.steps, rows.wall_ns, rows.values, strict=True)
        )

    def close(self) -> None:
        """Writes what is still held back."""
        self._text.flush()
        self._text.detach()


class JsonLinesTable(Table):
    """One JSON object a line.

    JSON has no NaN: such values are the strings that protobuf's JSON form has for them, `NaN`,
    `Infinity` and `-Infinity`.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, rows: Rows) -> None:
        """Adds rows."""
        # The columns that stay the same are encoded once.
        same = {"experiment": rows.experiment, "run": rows.run, "tag": rows.tag}
        start = json.dumps(same, ensure_ascii=False)[:-1]
        lines = [
            f'{start}, "step": {step}, "wall_time": {json.dumps(_iso(wall) or None)}, '
            f'"value": {_json_number(value)}}}\n'
            for step, wall, value in zip(rows.steps, rows.wall_ns, rows.values, strict=True)
        ]
        self._stream.write("".join(lines).encode())

    def close(self) -> None:
        """Nothing is held back."""
        self._stream.flush()


class ParquetTable(Table):
    """Apache Parquet: dictionary-coded names, int64 steps, UTC timestamps, float64 values."""

    def __init__(self, stream: IO[bytes]) -> None:
        try:
            import pyarrow as pa  # noqa: PLC0415 -- optional and slow to import
            import pyarrow.parquet as pq  # noqa: PLC0415 -- as above
        except ImportError as error:
            raise FailedPrecondition(
                "Parquet needs pyarrow: pip install 'tensordeck[parquet]', "
                "or choose the format csv or jsonl."
            ) from error
        self._pa: Any = pa
        name = pa.dictionary(pa.int32(), pa.string())
        types = (name, name, name, pa.int64(), pa.timestamp("ns", tz="UTC"), pa.float64())
        self._schema = pa.schema(list(zip(COLUMNS, types, strict=True)))
        self._writer = pq.ParquetWriter(stream, self._schema, compression="zstd")
        self._pending: list[Any] = []
        self._count = 0

    def write(self, rows: Rows) -> None:
        """Adds rows; they are written in groups."""
        pa, count = self._pa, len(rows.steps)
        same = [
            pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), pa.array([text]))
            for text in (rows.experiment, rows.run, rows.tag)
        ]
        columns = [
            *same,
            pa.array(rows.steps, pa.int64()),
            pa.array(rows.wall_ns, self._schema.field("wall_time").type),
            pa.array(rows.values, pa.float64()),
        ]
        self._pending.append(pa.table(columns, schema=self._schema))
        self._count += count
        if self._count >= _ROWS_PER_GROUP:
            self._write_group()

    def close(self) -> None:
        """Writes the last group and the file's footer."""
        if self._pending:
            self._write_group()
        self._writer.close()

    def _write_group(self) -> None:
        group = self._pa.concat_tables(self._pending).unify_dictionaries()
        self._writer.write_table(group, row_group_size=self._count)
        self._pending, self._count = [], 0


FORMATS: Final[dict[str, type[CsvTable | JsonLinesTable | ParquetTable]]] = {
    "csv": CsvTable,
    "jsonl": JsonLinesTable,
    "parquet": ParquetTable,
}


def open_table(name: str, stream: IO[bytes]) -> Table:
    """Starts a table on a stream.

    Args:
        name: `csv`, `jsonl` or `parquet`.
        stream: Where it goes; need not be seekable.

    Raises:
        InvalidArgument: If there is no such format.
        FailedPrecondition: If its library is not installed.
    """
    if name not in FORMATS:
        raise InvalidArgument(f"`format` must be one of {', '.join(FORMATS)}; it is {name!r}.")
    return FORMATS[name](stream)


def _iso(wall_ns: int | None) -> str:
    """ISO 8601 with microseconds; empty for a point without a wall time."""
    if wall_ns is None:
        return ""
    return (_EPOCH + timedelta(microseconds=wall_ns // 1000)).isoformat(timespec="microseconds")


def _json_number(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'

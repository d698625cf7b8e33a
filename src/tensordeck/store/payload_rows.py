"""Tensor and blob-sequence points: one row each, their bytes compressed.

They are few and large where scalars are many and small, so they go to their table at once; their
series' summaries are exact at any moment.

A row's data is a zstd frame and a skippable one (RFC 8878, section 3.1.2), which holds the CRC-32C
of the row's other columns and the first frame. Rows of older versions have no second frame.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import zstandard
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, text

from tensordeck.store import points_queries as queries
from tensordeck.store.checksum import Damaged, crc32c
from tensordeck.store.contract import PayloadColumns
from tensordeck.store.damage import of_series
from tensordeck.store.keyed_queries import select
from tensordeck.store.points_queries import SummaryRow

__all__ = ["PackedPayloads", "pack", "read", "write"]

_OVERHEAD: Final = 48
"""What a row costs besides its data."""
_COLUMNS: Final = ("series_pk", "step", "wall_ns", "version", "blob_count", "run_pk", "data")
_UPSERT: Final = {
    # By dialect: PostgreSQL's key has the run as well, by which the table may be split.
    dialect: text(
        f"INSERT INTO payloads ({', '.join(_COLUMNS)}) "  # noqa: S608 -- names of our own columns
        f"VALUES ({', '.join(f':{c}' for c in _COLUMNS)}) ON CONFLICT ({key}) DO UPDATE SET "
        + ", ".join(f"{c} = excluded.{c}" for c in _COLUMNS[2:])
    )
    for dialect, key in (("sqlite", "series_pk, step"), ("postgresql", "series_pk, step, run_pk"))
}
_LEVEL: Final = 3
_ROW: Final = struct.Struct("<4q")
"""Step, wall time, version and number of blobs, as the checksum takes them."""
_SEAL: Final = struct.Struct("<4sII")
_SKIPPABLE: Final = b"\x50\x2a\x4d\x18"
_SEAL_START: Final = _SKIPPABLE + struct.pack("<I", 4)


class PackedPayloads(Struct, frozen=True):
    """Points of one series, ready to be written.

    Attributes:
        run_pk: Their run.
        series_pk: Their series.
        rows: (wall_ns, version, blob_count, data) by step.
    """

    run_pk: int
    series_pk: int
    rows: dict[int, tuple[int, int, int, bytes]]


def pack(run_pk: int, series_pk: int, columns: PayloadColumns) -> PackedPayloads:
    """Compresses points; of a repeated step the last one stays."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    points = zip(
        columns.steps.tolist(),
        columns.wall_ns.tolist(),
        columns.versions,
        columns.lengths,
        columns.payloads,
        strict=True,
    )
    latest = {step: rest for step, *rest in points}
    rows = {
        step: (
            wall_ns,
            version,
            length,
            seal_payload(compressor.compress(payload), step, wall_ns, version, length),
        )
        for step, (wall_ns, version, length, payload) in latest.items()
    }
    return PackedPayloads(run_pk, series_pk, rows)


def seal_payload(frame: bytes, step: int, wall_ns: int, version: int, blob_count: int) -> bytes:
    """A row's data: its frame, and the checksum of frame and columns."""
    columns = _ROW.pack(step, wall_ns, version, blob_count)
    return frame + _SEAL.pack(_SKIPPABLE, 4, crc32c(columns + frame))


def open_payload(data: bytes, step: int, wall_ns: int, version: int, blob_count: int) -> bytes:
    """The payload in a row's data.

    Args:
        data: As `seal_payload` returned it, or a frame alone.
        step: The row's other columns.
        wall_ns: The same.
        version: The same.
        blob_count: The same.

    Raises:
        Damaged: If one of them is not what was written.
    """
    start = len(data) - _SEAL.size
    frame = data
    if data[start : start + len(_SEAL_START)] == _SEAL_START:
        frame = data[:start]
        if data != seal_payload(frame, step, wall_ns, version, blob_count):
            raise Damaged(f"the checksum of step {step} does not fit")
    try:
        return zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Damaged(f"step {step} can't be unpacked: {error}") from error


def write(connection: Connection, payloads: Sequence[PackedPayloads], version: int) -> None:
    """Writes points and brings their series' summaries up to date; skips deleted series.

    Args:
        connection: In a write transaction.
        payloads: All of one run.
        version: The journal's `seq` of this write.
    """
    alive = queries.existing_series(connection, payloads[0].run_pk)
    for packed in payloads:
        if packed.series_pk not in alive or not packed.rows:
            continue
        replaced = {
            step: size
            for step, size in connection.execute(
                text(
                    "SELECT step, length(data) FROM payloads "
                    "WHERE series_pk = :pk AND step BETWEEN :low AND :high"
                ),
                {"pk": packed.series_pk, "low": min(packed.rows), "high": max(packed.rows)},
            )
            if step in packed.rows
        }
        connection.execute(
            _UPSERT[connection.dialect.name],
            [
                dict(
                    zip(
                        _COLUMNS,
                        (packed.series_pk, step, *row[:3], packed.run_pk, row[3]),
                        strict=True,
                    )
                )
                for step, row in packed.rows.items()
            ],
        )
        stored = queries.summary_rows(connection, [packed.series_pk]).get(
            packed.series_pk, SummaryRow(packed.series_pk, packed.run_pk)
        )
        rows = packed.rows.values()
        top = max(packed.rows)
        grown = len(packed.rows) - len(replaced)
        size = sum(len(row[3]) for row in rows) - sum(replaced.values()) + grown * _OVERHEAD
        summary = replace(
            stored,
            point_count=stored.point_count + grown,
            max_step=max(top, stored.max_step) if stored.point_count else top,
            max_wall_ns=max(stored.max_wall_ns, *(row[0] for row in rows)),
            max_blob_length=max(stored.max_blob_length, *(row[2] for row in rows)),
            version=version,
            byte_count=stored.byte_count + size,
        )
        queries.put_summaries(connection, [summary])


def read(
    connection: Connection, series_pks: Iterable[int], limit: int | None
) -> dict[int, PayloadColumns]:
    """Reads series: all points, or `limit` evenly spaced ones with both ends."""
    keys = list(series_pks)
    counts = queries.folded_counts(connection, keys)
    result = {}
    for pk in keys:
        with of_series(pk):
            result[pk] = _read_series(connection, pk, limit, counts.get(pk, 0))
    return result


def _read_series(
    connection: Connection, series_pk: int, limit: int | None, count: int
) -> PayloadColumns:
    where = f"WHERE series_pk = {series_pk:d}"
    order = "ORDER BY step"
    if limit is not None:
        steps = [
            step
            for (step,) in connection.exec_driver_sql(
                f"SELECT step FROM payloads {where} {order}"  # noqa: S608
            )
        ]
        found = len(steps)
        if len(steps) > limit:
            chosen = np.linspace(0, len(steps) - 1, max(limit, 0)).round().astype(int)
            if limit == 1:
                chosen = np.array([len(steps) - 1])
            picked = [steps[i] for i in chosen]
        else:
            picked = steps
        rows = select(
            connection,
            "SELECT step, wall_ns, version, blob_count, data FROM payloads "  # noqa: S608
            f"{where} AND step IN (%s) {order}",
            picked,
        )
    else:
        rows = list(
            connection.exec_driver_sql(
                f"SELECT step, wall_ns, version, blob_count, data FROM payloads {where} {order}"  # noqa: S608
            )
        )
        found = len(rows)
    if found != count:
        raise Damaged(f"{found} points are there where {count} were counted")
    return PayloadColumns(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        [open_payload(bytes(row[4]), *row[:4]) for row in rows],
        [row[2] for row in rows],
        [row[3] for row in rows],
    )

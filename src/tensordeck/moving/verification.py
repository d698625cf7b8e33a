"""All of a store is read and held against its checksums, while servers use it."""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, Row, Table, select, text

from tensordeck import errors
from tensordeck.moving.blob_copies import Measured, WantedBlob
from tensordeck.moving.copying import row_counts, wanted_blobs
from tensordeck.moving.moment import held_moment, rows_in_order
from tensordeck.moving.places import Place, open_source
from tensordeck.moving.progress import Progress, Step, silent
from tensordeck.settings import Settings
from tensordeck.store import points_schema, schema
from tensordeck.store.checksum import Damaged
from tensordeck.store.journal import decode_rows
from tensordeck.store.payload_rows import open_payload
from tensordeck.store.segments import decode_segment

__all__ = ["Damage", "Verification", "verify"]

_PARALLEL: Final = 8
_TELL_EVERY: Final = 500


class Damage(NamedTuple):
    """Something that is not as it was written.

    Attributes:
        where: The resource, or the table.
        what: What is wrong with it.
    """

    where: str
    what: str


@dataclass(slots=True)
class Verification:
    """What was read, and what came out.

    Attributes:
        store: The store's name.
        rows: How many rows.
        points: How many points.
        blobs: How many blobs.
        blob_bytes: How many bytes those have.
        damage: What was found.
    """

    store: str
    rows: int = 0
    points: int = 0
    blobs: int = 0
    blob_bytes: int = 0
    damage: list[Damage] = field(default_factory=list)


def verify(settings: Settings, progress: Progress = silent) -> Verification:
    """Reads a store whole: the database's own structure, every point, every blob.

    Raises:
        errors.FailedPrecondition: If there is no store, or it can't be opened.
        errors.DataLoss: If the database is so damaged that it can't be read on.
    """
    with (
        open_source(settings) as place,
        place.blobs.held(),
        held_moment(place.database) as moment,
    ):
        return _Search(place, moment, progress).run()


class _Search:
    """One search through one moment."""

    def __init__(self, place: Place, moment: Connection, progress: Progress) -> None:
        self._place = place
        self._moment = moment
        self._progress = progress
        self._done = 0
        self._found = Verification(place.name)

    def run(self) -> Verification:
        if self._moment.dialect.name == "sqlite":
            self._progress(Step("Checking the database file", 0, 0, 0))
            self._check_file()
        self._found.rows = sum(row_counts(self._moment).values())
        self._check_points()
        for _ in self._rows(points_schema.journal, self._check_journal):
            pass
        self._check_blobs()
        return self._found

    def _check_file(self) -> None:
        """SQLite's own look at its file: https://www.sqlite.org/pragma.html#pragma_integrity_check."""
        for (line,) in self._moment.execute(text("PRAGMA integrity_check")):
            if line != "ok":
                self._note(self._place.name, str(line))
        for table, row, parent, _ in self._moment.execute(text("PRAGMA foreign_key_check")):
            self._note(f"row {row} of {table}", f"its row of {parent} is missing")

    def _check_points(self) -> None:
        """Every folded point, and whether there are as many as each series' summary says."""
        folded = (
            _Groups(self._rows(points_schema.segments, self._check_segment)),
            _Groups(self._rows(points_schema.payloads, self._check_payload)),
        )
        summaries = points_schema.summaries
        for row in rows_in_order(
            self._moment, summaries, [summaries.c.series_pk, summaries.c.point_count]
        ):
            for groups in folded:
                for stray in groups.before(row.series_pk):
                    self._note_series(stray.series_pk, "it has points that no summary counts")
            found = 0
            last_step = None
            for part in itertools.chain(*(groups.of(row.series_pk) for groups in folded)):
                if last_step is not None and part.first_step <= last_step:
                    self._note_series(row.series_pk, "its points are out of order")
                last_step = part.last_step
                found += part.points
            self._found.points += found
            if found != row.point_count:
                what = f"{found:,} points are there where {row.point_count:,} were counted"
                self._note_series(row.series_pk, what)
        for groups in folded:
            for stray in groups.before(None):
                self._note_series(stray.series_pk, "it has points that no summary counts")

    def _rows(self, table: Table, check: Callable[[Row[Any]], Any]) -> Iterator[Any]:
        """What is found in each row of a table, in the order of its key."""
        key = list(table.primary_key.columns)
        columns = [*key, *(column for column in table.c if not column.primary_key)]
        for row in rows_in_order(self._moment, table, columns):
            if self._done % _TELL_EVERY == 0:
                self._progress(Step("Checking rows", self._done, 0, self._found.blob_bytes))
            self._done += 1
            yield check(row)

    def _check_segment(self, row: Row[Any]) -> "_Part":
        try:
            points = decode_segment(bytes(row.data), row.point_count)
        except Damaged as error:
            self._note_series(row.series_pk, str(error))
        else:
            if (points.steps[0], points.steps[-1]) != (row.first_step, row.last_step):
                self._note_series(row.series_pk, "a segment holds other steps than it says")
        return _Part(row.series_pk, row.first_step, row.last_step, row.point_count)

    def _check_payload(self, row: Row[Any]) -> "_Part":
        try:
            open_payload(bytes(row.data), row.step, row.wall_ns, row.version, row.blob_count)
        except Damaged as error:
            self._note_series(row.series_pk, str(error))
        return _Part(row.series_pk, row.step, row.step, 1)

    def _check_journal(self, row: Row[Any]) -> None:
        try:
            for batch in decode_rows([(row.seq, bytes(row.payload))]).values():
                self._found.points += len(batch.points.steps)
        except Damaged as error:
            name = self._name(schema.runs, row.run_pk)
            self._note(name, f"what was written to it lately: {error}")

    def _check_blobs(self) -> None:
        with ThreadPoolExecutor(_PARALLEL, "blob-check") as pool:
            for table in (schema.objects, schema.uploads):
                rows = self._rows(table, partial(_blobs_of, table))
                for group in _batched(itertools.chain.from_iterable(rows), _PARALLEL * 8):
                    for damage in pool.map(self._check_blob, group):
                        if damage is not None:
                            self._found.damage.append(damage)

    def _check_blob(self, blob: WantedBlob) -> Damage | None:
        try:
            found = Measured(self._place.blobs.read(blob.key)).exhausted()
        except errors.NotFound:
            return Damage(blob.owner, "its content is not there")
        self._found.blobs += 1
        self._found.blob_bytes += found.size
        if blob.size not in (None, found.size) or blob.crc32c not in (None, found.crc32c):
            return Damage(blob.owner, "its content does not fit its checksum")
        return None

    def _note(self, where: str, what: str) -> None:
        self._found.damage.append(Damage(where, what))

    def _note_series(self, series_pk: int, what: str) -> None:
        self._note(self._name(schema.time_series, series_pk), what)

    def _name(self, table: Table, pk: int) -> str:
        name = self._moment.scalar(select(table.c.name).where(table.c.pk == pk))
        return str(name) if name else f"row {pk} of {table.name}"


class _Part(NamedTuple):
    """Some points of a series."""

    series_pk: int
    first_step: int
    last_step: int
    points: int


class _Groups:
    """Parts that come series after series, handed out by series."""

    def __init__(self, parts: Iterator[_Part]) -> None:
        self._parts = parts
        self._next = next(parts, None)

    def of(self, series_pk: int) -> Iterator[_Part]:
        """The parts of the next series, if that is this one."""
        while self._next is not None and self._next.series_pk == series_pk:
            yield self._next
            self._next = next(self._parts, None)

    def before(self, series_pk: int | None) -> Iterator[_Part]:
        """One part of each series that comes before some series; of all that are left for None."""
        while self._next is not None and (series_pk is None or self._next.series_pk < series_pk):
            stray = self._next
            for _ in self.of(stray.series_pk):
                pass
            yield stray


def _blobs_of(table: Table, row: Row[Any]) -> list[WantedBlob]:
    return wanted_blobs(table, row._asdict())


def _batched(items: Iterator[WantedBlob], size: int) -> Iterator[list[WantedBlob]]:
    while group := list(itertools.islice(items, size)):
        yield group

"""The Scalars tab's data, straight from columns.

Format: `http_api.md` of TensorBoard's scalars plugin.
"""

import csv
import io
from collections.abc import Callable, Collection, Iterator
from typing import Final

import orjson

from tensordeck.board import downsampling
from tensordeck.board.columns import displayed, event_rows, wall_seconds
from tensordeck.board.descriptions import readable, safe_html
from tensordeck.board.listing import Listing, SeriesByTag
from tensordeck.errors import NotFound
from tensordeck.names import shown
from tensordeck.store.contract import Points, ScalarColumns
from tensordeck.store.resources import ValueType

__all__ = ["PLUGIN", "by_run", "csv_of_series", "one_run", "scalar_series", "several_runs", "tags"]

PLUGIN: Final = "scalars"


def scalar_series(
    listing: Listing, runs: Collection[str] | None = None, tags: Collection[str] | None = None
) -> SeriesByTag:
    """The scalar series of a board that TensorBoard can read, by run and tag."""
    found = listing.series(PLUGIN, (ValueType.SCALAR,), runs, tags)
    return {
        run: {tag: s for tag, s in by_tag.items() if readable(PLUGIN, s.plugin_data)}
        for run, by_tag in found.items()
    }


def read_columns(points: Points, series: SeriesByTag) -> dict[str, dict[str, ScalarColumns]]:
    """Reads series whole, all in one go, by run and tag."""
    keys = [(s.run_pk, s.pk) for by_tag in series.values() for s in by_tag.values()]
    columns = points.read_scalars(keys)
    return {
        run: {tag: columns[s.pk] for tag, s in by_tag.items()} for run, by_tag in series.items()
    }


def tags(listing: Listing) -> bytes:
    """`tags`: `{run: {tag: {displayName, description}}}`."""
    return orjson.dumps(
        {
            run: {
                tag: {"displayName": "", "description": safe_html(s.description)}
                for tag, s in by_tag.items()
            }
            for run, by_tag in scalar_series(listing).items()
        }
    )


def one_run(points: Points, listing: Listing, run: str, tag: str) -> bytes:
    """`scalars`: one series as rows of wall time, step and value.

    Raises:
        NotFound: If there is no such series.
    """
    return event_rows(displayed(_one(points, listing, run, tag), downsampling.SCALARS))


def csv_of_series(points: Points, listing: Listing, run: str, tag: str) -> bytes:
    """One series as CSV, with every point: who downloads it wants to work with it.

    Raises:
        NotFound: If there is no such series.
    """
    columns = _one(points, listing, run, tag)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["Wall time", "Step", "Value"])
    writer.writerows(
        zip(
            wall_seconds(columns.wall_ns).tolist(),
            columns.steps.tolist(),
            columns.values.tolist(),
            strict=True,
        )
    )
    return text.getvalue().encode()


def several_runs(
    points: Points, listing: Listing, runs: Collection[str], tag: str
) -> Iterator[bytes]:
    """`scalars_multirun`, in pieces: one tag's rows, by run; runs that lack it are left out."""
    found = read_columns(points, scalar_series(listing, frozenset(runs), (tag,)))
    return by_run(found, tag, event_rows)


def by_run(
    found: dict[str, dict[str, ScalarColumns]], tag: str, form: Callable[[ScalarColumns], bytes]
) -> Iterator[bytes]:
    """A JSON object of one tag's points, cut to what is shown, by run: a piece for each run."""
    separator = b"{"
    for run, by_tag in found.items():
        if tag in by_tag:
            shown_points = displayed(by_tag[tag], downsampling.SCALARS)
            yield separator + orjson.dumps(run) + b":" + form(shown_points)
            separator = b","
    yield b"{}" if separator == b"{" else b"}"


def _one(points: Points, listing: Listing, run: str, tag: str) -> ScalarColumns:
    found = scalar_series(listing, (run,), (tag,)).get(run, {})
    if tag not in found:
        raise NotFound(f"There are no scalars of run {shown(run)} and tag {shown(tag)}.")
    return read_columns(points, {run: {tag: found[tag]}})[run][tag]

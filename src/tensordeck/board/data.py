"""The web app's data that we answer ourselves, without TensorBoard's Python code.

These are the addresses that the first page and every live refresh ask for. What is not here goes
to TensorBoard's own plugins (`board.tensorboard_app`).
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from typing import Final

import orjson
from msgspec import Struct, field
from starlette.datastructures import FormData, QueryParams
from starlette.responses import Response

from tensordeck.board import scalars, time_series
from tensordeck.board.address import BoardAddress
from tensordeck.board.hparams import HParams
from tensordeck.board.listing import Listing
from tensordeck.board.plugins import plugin_listing
from tensordeck.board.replies import (
    KeptAnswers,
    board_state,
    data_reply,
    entity_tag,
    not_modified,
)
from tensordeck.errors import InvalidArgument
from tensordeck.store.contract import Store

__all__ = ["BoardData", "Question"]

TIME_SERIES: Final = "plugin/timeseries/timeSeries"
SEVERAL_RUNS: Final = "plugin/scalars/scalars_multirun"
DOWNLOAD: Final = "plugin/hparams/download_data"
FORMS: Final = frozenset({TIME_SERIES, SEVERAL_RUNS})
"""Addresses whose POST forms we read."""


class Question(Struct, frozen=True):
    """A request for data of a board.

    Attributes:
        board: Which board; the caller may see it.
        path: What follows `data/`.
        method: `GET`, `HEAD` or `POST`.
        query: The query as it came.
        body: The body of a POST.
        form: The form of a POST to one of `FORMS`.
        accepted: The Accept-Encoding header.
        if_none_match: The If-None-Match header.
    """

    board: BoardAddress
    path: str
    method: str = "GET"
    query: str = ""
    body: bytes = b""
    form: FormData = field(default_factory=FormData)
    accepted: str = ""
    if_none_match: str = ""


class BoardData:
    """Answers questions. Thread-safe.

    Args:
        store: Where runs and points are.
    """

    def __init__(self, store: Store) -> None:
        self._points = points = store.points
        self._hparams = hparams = HParams(store)
        self._kept = KeptAnswers()
        self._documents: Mapping[str, Callable[[Listing], bytes]] = {
            "environment": environment,
            "runs": lambda listing: orjson.dumps(list(listing.runs)),
            "plugins_listing": self._plugins_listing,
            "plugin/timeseries/tags": lambda listing: time_series.tags(points, listing),
            "plugin/scalars/tags": scalars.tags,
        }
        self._tables: Mapping[str, Callable[[Listing, bytes], bytes]] = {
            "plugin/hparams/experiment": hparams.experiment,
            "plugin/hparams/session_groups": hparams.session_groups,
            "plugin/hparams/metric_evals": hparams.metric_evals,
        }

    def answer(self, question: Question, listing: Listing) -> tuple[Response | None, str]:
        """Answers a question if it is one of ours.

        Returns:
            The answer, or None where TensorBoard's plugins have to answer; and the ETag that
            their answer should carry (empty for none).

        Raises:
            InvalidArgument: If a parameter is missing or can't be read.
            NotFound: If there is no such series.
        """
        state = board_state(self._points, listing)
        if question.method == "POST":
            return self._posted(question, listing, state), ""
        tag = entity_tag(state, question.path, question.query)
        if unchanged := not_modified(tag, question.if_none_match):
            return unchanged, tag
        document = self._documents.get(question.path)
        if document:
            return data_reply(document(listing), question.accepted, tag=tag), tag
        if question.path == "plugin/scalars/scalars":
            return self._one_run(question, listing, tag), tag
        if question.path == TIME_SERIES:
            text = QueryParams(question.query).get("requests")
            return self._time_series(question, listing, state, text), tag
        if question.path in self._tables:
            request = QueryParams(question.query).get("request", "")
            made = self._tables[question.path](listing, request.encode())
            return data_reply(made, question.accepted, tag=tag), tag
        if question.path == DOWNLOAD:
            file, media_type = self._hparams.download(listing, QueryParams(question.query))
            return data_reply(file, question.accepted, media_type=media_type, tag=tag), tag
        return None, tag

    def _posted(self, question: Question, listing: Listing, state: str) -> Response | None:
        if question.path == TIME_SERIES:
            return self._time_series(question, listing, state, _text(question.form, "requests"))
        if question.path == SEVERAL_RUNS:
            tags = question.form.getlist("tag")
            if len(tags) != 1 or not isinstance(tags[0], str):
                raise InvalidArgument("tag must be specified exactly once")
            tag = tags[0]
            runs = tuple(run for run in question.form.getlist("runs") if isinstance(run, str))
            return self._keep(
                (state, question.path, tag, *runs),
                question.accepted,
                lambda: scalars.several_runs(self._points, listing, runs, tag),
            )
        if question.path in self._tables:
            return self._keep(
                (state, question.path, hashlib.sha256(question.body).hexdigest()),
                question.accepted,
                lambda: self._tables[question.path](listing, question.body),
            )
        return None

    def _plugins_listing(self, listing: Listing) -> bytes:
        plugins = set(listing.plugins)
        if self._hparams.table(listing).rows:
            plugins.add("hparams")
        return orjson.dumps(plugin_listing(plugins))

    def _time_series(
        self, question: Question, listing: Listing, state: str, text: str | None
    ) -> Response | None:
        requests = time_series.parse_requests(text)
        if time_series.needs_plugin(requests):
            return None
        return self._keep(
            (state, question.path, text or ""),
            question.accepted,
            lambda: time_series.time_series(self._points, listing, requests),
        )

    def _keep(
        self, what: tuple[str, ...], accepted: str, make: Callable[[], bytes | Iterable[bytes]]
    ) -> Response:
        encoding = "zstd" if "zstd" in accepted else "gzip" if "gzip" in accepted else ""
        return self._kept.get((encoding, *what), lambda: data_reply(make(), encoding))

    def _one_run(self, question: Question, listing: Listing, etag: str) -> Response:
        query = QueryParams(question.query)
        run, tag = query.get("run"), query.get("tag")
        if run is None or tag is None:
            raise InvalidArgument(f"Both run and tag must be specified: tag={tag!r}, run={run!r}")
        if query.get("format") == "csv":
            text = scalars.csv_of_series(self._points, listing, run, tag)
            return data_reply(text, question.accepted, media_type="text/csv", tag=etag)
        rows = scalars.one_run(self._points, listing, run, tag)
        return data_reply(rows, question.accepted, tag=etag)


def environment(listing: Listing) -> bytes:
    """`data/environment`: what the board is called and what it shows."""
    names = [e.display_name or e.name.rpartition("/")[2] for e in listing.experiments]
    first = listing.experiments[0]
    title = names[0] if len(names) == 1 else "Compare " + ", ".join(names)
    return orjson.dumps(
        {
            "version": metadata.version("tensorboard"),
            "data_location": ", ".join(e.name for e in listing.experiments),
            "window_title": f"{title} · Tensordeck",
            "experiment_name": title,
            "experiment_description": first.description if len(names) == 1 else "",
            "creation_time": first.create_time / 1e6,
        }
    )


def _text(form: FormData, field_name: str) -> str | None:
    value = form.get(field_name)
    return value if isinstance(value, str) else None

"""The Time Series tab's data: tags of three plugins, and scalars straight from columns.

Format: `http_api.md` of TensorBoard's metrics plugin.
"""

from collections.abc import Iterator
from typing import Any, Final

import orjson

from tensordeck.board import scalars
from tensordeck.board.columns import event_objects
from tensordeck.board.descriptions import readable, tag_descriptions
from tensordeck.board.listing import Listing, SeriesByTag
from tensordeck.errors import InvalidArgument
from tensordeck.store.contract import Points
from tensordeck.store.resources import ValueType

__all__ = ["needs_plugin", "parse_requests", "tags", "time_series"]

_PLUGINS: Final = ("scalars", "histograms", "images")
_IMAGE_HEADER: Final = 2
"""Blobs of an image point before its images: width and height."""


def tags(points: Points, listing: Listing) -> bytes:
    """`tags`: which runs have which tags, and what the tags mean."""
    images = _series(listing, "images", ValueType.BLOB_SEQUENCE)
    return orjson.dumps(
        {
            "scalars": _run_tags(scalars.scalar_series(listing)),
            "histograms": _run_tags(_series(listing, "histograms", ValueType.TENSOR)),
            "images": {
                "tagDescriptions": tag_descriptions(images),
                "tagRunSampledInfo": _image_samples(points, images),
            },
        }
    )


def parse_requests(text: str | None) -> list[dict[str, Any]]:
    """Reads the `requests` field.

    Raises:
        InvalidArgument: If it is missing or no JSON list of objects.
    """
    if not text:
        raise InvalidArgument("Missing 'requests' field")
    try:
        requests = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument(f"Unable to parse 'requests' as JSON: {error}") from error
    if not isinstance(requests, list) or not all(isinstance(one, dict) for one in requests):
        raise InvalidArgument("'requests' must be a list of objects.")
    return requests


def needs_plugin(requests: list[dict[str, Any]]) -> bool:
    """Whether TensorBoard's own plugin has to answer: histograms and images are its matter."""
    return any(request.get("plugin") in _PLUGINS[1:] for request in requests)


def time_series(
    points: Points, listing: Listing, requests: list[dict[str, Any]]
) -> Iterator[bytes]:
    """`timeSeries`, in pieces: a tag's points in all runs, for each request; scalars only."""
    separator = b"["
    for request in requests:
        yield separator
        yield from _answer(points, listing, request)
        separator = b","
    yield b"]" if requests else b"[]"


def _answer(points: Points, listing: Listing, request: dict[str, Any]) -> Iterator[bytes]:
    plugin, tag = request.get("plugin"), request.get("tag")
    run, sample = request.get("run"), request.get("sample")
    answer: dict[str, Any] = {"plugin": plugin, "tag": tag}
    if isinstance(run, str):
        answer["run"] = run
    if isinstance(sample, int):
        answer["sample"] = sample
    if not isinstance(tag, str) or plugin != scalars.PLUGIN:
        answer["error"] = "Invalid plugin" if isinstance(tag, str) else "Missing tag"
        yield orjson.dumps(answer)
        return
    runs = (run,) if isinstance(run, str) and run else None
    found = scalars.read_columns(points, scalars.scalar_series(listing, runs, (tag,)))
    yield orjson.dumps(answer)[:-1] + b',"runToSeries":'
    yield from scalars.by_run(found, tag, event_objects)
    yield b"}"


def _series(listing: Listing, plugin: str, kind: ValueType) -> SeriesByTag:
    return {
        run: {tag: s for tag, s in by_tag.items() if readable(plugin, s.plugin_data)}
        for run, by_tag in listing.series(plugin, (kind,)).items()
    }


def _run_tags(series: SeriesByTag) -> dict[str, Any]:
    return {
        "runTagInfo": {run: sorted(by_tag) for run, by_tag in series.items()},
        "tagDescriptions": tag_descriptions(series),
    }


def _image_samples(points: Points, images: SeriesByTag) -> dict[str, dict[str, dict[str, int]]]:
    keys = [(s.run_pk, s.pk) for by_tag in images.values() for s in by_tag.values()]
    summaries = points.summaries(keys) if keys else {}
    result: dict[str, dict[str, dict[str, int]]] = {}
    for run, by_tag in images.items():
        for tag, record in by_tag.items():
            count = summaries[record.pk].max_blob_length - _IMAGE_HEADER
            result.setdefault(tag, {})[run] = {"maxSamplesPerStep": max(count, 0)}
    return result

"""What summaries of TensorBoard's hparams plugin say: the sessions and experiments of event files.

Format: `plugins/hparams/plugin_data.proto` of TensorBoard, which a series of such a tag carries as
its plugin data; the series' points hold nothing.
"""

import json
import logging
import math
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, field

from tensordeck.store.logged_runs import LoggedRun, Scalar
from tensordeck.store.resources import TimeSeries

__all__ = ["EventSession", "declared_experiment", "event_session", "scalars_only", "texts_of"]

log: Final = logging.getLogger(__name__)

PLUGIN: Final = "hparams"
_EXPERIMENT_TAG: Final = "_hparams_/experiment"
_START_TAG: Final = "_hparams_/session_start_info"
_END_TAG: Final = "_hparams_/session_end_info"
_PLAIN: Final = (str, bool)
_NUMBERS: Final = (float, int)
_NESTED: Final = (list, dict)


class EventSession(Struct, frozen=True):
    """A session as its summaries describe it.

    Attributes:
        params: Its hyperparameters, by name.
        group: The session group it wants to be in; empty for one of its own.
        start_s: Seconds since the epoch at which it began.
        end_s: The same of its end; 0 if it has none.
        status: How it ended: the proto's `Status` number.
        model_uri: Where its model is.
        monitor_url: Where it can be watched.
    """

    params: Mapping[str, Scalar] = field(default_factory=dict)
    group: str = ""
    start_s: float = 0.0
    end_s: float = 0.0
    status: int = 0
    model_uri: str = ""
    monitor_url: str = ""


def event_session(by_tag: Mapping[str, TimeSeries]) -> EventSession | None:
    """The session that a run's series of the plugin describe; None if it starts none."""
    start = _content(by_tag, _START_TAG, "session_start_info")
    if start is None:
        return None
    end = _content(by_tag, _END_TAG, "session_end_info")
    values = {name: _plain(value) for name, value in start.hparams.items()}
    return EventSession(
        scalars_only(values),
        start.group_name,
        start.start_time_secs,
        end.end_time_secs if end else 0.0,
        end.status if end else 0,
        start.model_uri,
        start.monitor_url,
    )


def declared_experiment(by_tag: Mapping[str, TimeSeries]) -> Any:
    """The `Experiment` message that a run's series of the plugin hold; None if they hold none."""
    return _content(by_tag, _EXPERIMENT_TAG, "experiment")


def scalars_only(values: Mapping[str, Any]) -> dict[str, Scalar]:
    """Those of some values that a table can show and sort: texts, truth values, finite numbers."""
    return {
        name: value
        for name, value in values.items()
        if (kind := value.__class__) in _PLAIN or (kind in _NUMBERS and math.isfinite(value))
    }


def texts_of(logged: LoggedRun) -> dict[str, str]:
    """What a table can show of logged values only as text.

    Those are parameters that are lists or objects, and metrics that are no numbers, under the names
    that the official client's data frames give these.
    """
    found = {
        name: _json(value) for name, value in logged.params.items() if value.__class__ in _NESTED
    }
    for name, value in logged.metrics.items():
        if value.__class__ is str:
            found[f"metric.{name}"] = value
        elif value.__class__ in _NESTED:
            found[f"metric.{name}"] = _json(value)
    return found


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _content(by_tag: Mapping[str, TimeSeries], tag: str, part: str) -> Any:
    if tag not in by_tag:
        return None
    # With the first board that has such summaries, not at the server's start.
    from google.protobuf.message import DecodeError  # noqa: PLC0415
    from tensorboard.plugins.hparams import plugin_data_pb2  # noqa: PLC0415

    series = by_tag[tag]
    try:
        data = plugin_data_pb2.HParamsPluginData.FromString(series.plugin_data)
    except DecodeError as error:
        log.warning("Plugin data of %s is not readable: %s", series.name, error)
        return None
    if data.version != 0 or not data.HasField(part):
        log.warning("Plugin data of %s is no %s of version 0.", series.name, part)
        return None
    return getattr(data, part)


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    return getattr(value, kind) if kind else None

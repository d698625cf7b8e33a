"""Rows and columns of the HParams table as the web app reads them.

Format: `plugins/hparams/api.proto` of TensorBoard, as JSON with every field. Written without its
messages: turned into text they cost as much as everything else together, a hundred times.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any, Final

import orjson

from tensordeck.board.session_groups import MetricValue, SessionGroup, ValuesByRun
from tensordeck.board.sessions import MetricColumn, MetricName, ParameterColumn, Session

__all__ = ["group_row", "metric_info", "number", "parameter_info"]

_TYPES: Final = {str: "DATA_TYPE_STRING", bool: "DATA_TYPE_BOOL", float: "DATA_TYPE_FLOAT64"}
_DATASETS: Final = ("DATASET_UNKNOWN", "DATASET_TRAINING", "DATASET_VALIDATION")
_STATUSES: Final = ("STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING")


def group_row(
    group: SessionGroup,
    included: Collection[str] | None,
    values: ValuesByRun,
    metrics: Mapping[MetricName, MetricValue],
) -> dict[str, Any]:
    """A `SessionGroup`.

    Args:
        group: The group.
        included: The names of the parameters that are wanted; None for all.
        values: Metrics of its sessions.
        metrics: Its own metrics.
    """
    each = [_metric_values(values[session.run]) for session in group.sessions]
    return {
        "name": group.name,
        "hparams": {
            name: value
            for name, value in group.params.items()
            if included is None or name in included
        },
        "metricValues": each[0] if len(each) == 1 else _metric_values(metrics),
        "sessions": [
            _session(session, own) for session, own in zip(group.sessions, each, strict=True)
        ],
        "monitorUrl": group.sessions[0].monitor_url,
    }


def _session(session: Session, values: orjson.Fragment) -> dict[str, Any]:
    return {
        "name": session.run,
        "startTimeSecs": session.start_s,
        "endTimeSecs": session.end_s,
        "status": _STATUSES[session.status],
        "modelUri": session.model_uri,
        "metricValues": values,
        "monitorUrl": session.monitor_url,
    }


def _metric_values(values: Mapping[MetricName, MetricValue]) -> orjson.Fragment:
    """Written as text, because a group of one session holds it twice."""
    return orjson.Fragment(
        orjson.dumps(
            [
                {
                    "name": {"group": name[0], "tag": name[1]},
                    "value": number(found.value),
                    "trainingStep": found.step,
                    "wallTimeSecs": found.wall_s,
                }
                for name, found in values.items()
            ]
        )
    )


def number(value: float) -> float | str:
    """A value that the web app can draw: of those that are not finite it knows NaN only."""
    return value if math.isfinite(value) else "NaN"


def parameter_info(column: ParameterColumn) -> dict[str, Any]:
    """An `HParamInfo`."""
    info: dict[str, Any] = {
        "name": column.name,
        "displayName": column.title,
        "description": column.description,
        "type": _TYPES[column.kind],
        "differs": column.differs,
    }
    if column.kind is float:
        low, high = column.domain
        info["domainInterval"] = {"minValue": low, "maxValue": high}
    else:
        info["domainDiscrete"] = column.domain
    return info


def metric_info(column: MetricColumn) -> dict[str, Any]:
    """A `MetricInfo`."""
    return {
        "name": {"group": column.name[0], "tag": column.name[1]},
        "displayName": column.title,
        "description": column.description,
        "datasetType": _DATASETS[column.dataset],
    }

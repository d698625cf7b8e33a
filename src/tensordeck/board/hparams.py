"""The HParams tab's data, and that of the parameters in the Time Series tab's table of runs.

Format: `http_api.md` of TensorBoard's hparams plugin. We answer in its place, because it shows
either the hyperparameters of event files or those of a data provider, can't order the latter by a
metric, and takes seconds for a thousand runs.
"""

import threading
from collections import OrderedDict
from collections.abc import Collection
from typing import Any, Final

import orjson
from starlette.datastructures import QueryParams

from tensordeck.board import scalars
from tensordeck.board.hparams_reply import group_row, metric_info, number, parameter_info
from tensordeck.board.hparams_request import (
    metric_filters,
    named,
    orders,
    parameter_filters,
    read_request,
    wants_metrics,
)
from tensordeck.board.listing import Listing
from tensordeck.board.session_groups import (
    Aggregation,
    MetricOrder,
    MetricValue,
    SessionGroup,
    ValuesByRun,
    aggregated,
    metric_values,
    parameter_ranks,
    session_groups,
)
from tensordeck.board.sessions import (
    MetricName,
    Sessions,
    sessions_of,
)
from tensordeck.errors import InvalidArgument, NotFound
from tensordeck.names import shown
from tensordeck.store.contract import Store
from tensordeck.store.logged_runs import ParameterOrder

__all__ = ["HParams"]

_KEPT_TABLES: Final = 8


class HParams:
    """Answers for the tab. Thread-safe.

    Args:
        store: Where parameters and metrics are.
    """

    def __init__(self, store: Store) -> None:
        self._catalog = store.catalog
        self._points = store.points
        self._tables: OrderedDict[str, Sessions] = OrderedDict()
        self._lock = threading.Lock()

    def table(self, listing: Listing) -> Sessions:
        """The sessions of a board; kept while nothing of it changes."""
        with self._lock:
            if found := self._tables.get(listing.stamp):
                self._tables.move_to_end(listing.stamp)
                return found
        made = sessions_of(listing)
        with self._lock:
            self._tables[listing.stamp] = made
            while len(self._tables) > _KEPT_TABLES:
                self._tables.popitem(last=False)
        return made

    def experiment(self, listing: Listing, text: str | bytes) -> bytes:
        """`experiment`: the table's columns.

        Raises:
            InvalidArgument: If the request can't be read.
        """
        request = read_request("GetExperimentRequest", text)
        table = self.table(listing)
        limit = request.hparams_limit or None
        return orjson.dumps(
            {
                "name": "",
                "description": "",
                "user": "",
                "timeCreatedSecs": 0.0,
                "hparamInfos": [parameter_info(column) for column in table.parameters[:limit]],
                "metricInfos": [metric_info(column) for column in table.metrics]
                if wants_metrics(request)
                else [],
            }
        )

    def session_groups(self, listing: Listing, text: str | bytes) -> bytes:
        """`session_groups`: rows of the table.

        Raises:
            InvalidArgument: If the request can't be read.
        """
        request = read_request("ListSessionGroupsRequest", text)
        table = self.table(listing)
        groups = self._chosen(listing, table, request)
        page = groups[request.start_index :][: request.slice_size]
        sessions = [session for group in page for session in group.sessions]
        names = [column.name for column in table.metrics] if wants_metrics(request) else []
        values = metric_values(self._points, sessions, names)
        included = _included(request)
        rows = [
            group_row(group, included, values, _aggregated(request, group, values))
            for group in page
        ]
        return orjson.dumps({"sessionGroups": rows, "totalSize": len(groups)})

    def metric_evals(self, listing: Listing, text: str | bytes) -> bytes:
        """`metric_evals`: a metric of a session over its steps, as rows of time, step and value.

        Raises:
            InvalidArgument: If the request can't be read.
            NotFound: If there is no such session, or it has no such metric.
        """
        request = read_request("ListMetricEvalsRequest", text)
        name = named(request.metric_name)
        session = self.table(listing).rows.get(request.session_name)
        if session is None:
            raise NotFound(f"There is no session {shown(request.session_name)}.")
        if name[1] in session.curves.get(name[0], {}):
            run = "/".join(filter(None, (session.run, name[0])))
            return scalars.one_run(self._points, listing, run, name[1])
        found = metric_values(self._points, [session], [name])[session.run].get(name)
        if found is None:
            raise NotFound(f"Session {shown(session.run)} has no metric {shown(name[1])}.")
        return orjson.dumps([[found.wall_s, found.step, number(found.value)]])

    def download(self, listing: Listing, query: QueryParams) -> tuple[bytes, str]:
        """`download_data`: the table as a file.

        Returns:
            The file, and its media type.

        Raises:
            InvalidArgument: If a parameter is missing or can't be read.
        """
        from google.protobuf import json_format  # noqa: PLC0415 -- seldom needed
        from tensorboard.plugins.hparams import api_pb2, download_data, error  # noqa: PLC0415

        text = query.get("request", "")
        try:
            visible = orjson.loads(query.get("columnsVisibility", ""))
        except orjson.JSONDecodeError as problem:
            raise InvalidArgument("`columnsVisibility` must be a list of booleans.") from problem
        groups = orjson.loads(self.session_groups(listing, text))
        columns = orjson.loads(self.experiment(listing, b"{}"))
        handler = download_data.Handler(
            None,
            json_format.ParseDict(columns, api_pb2.Experiment()),
            json_format.ParseDict(groups, api_pb2.ListSessionGroupsResponse()),
            query.get("format"),
            visible,
        )
        try:
            body, media_type = handler.run()
        except (error.HParamsError, TypeError) as problem:
            raise InvalidArgument(f"There is no such file of this table: {problem}") from problem
        return body.encode() if isinstance(body, str) else orjson.dumps(body), media_type

    def _chosen(self, listing: Listing, table: Sessions, request: Any) -> list[SessionGroup]:
        """The groups that a request lets pass, in its order."""
        columns, wanted = request.col_params, orders(request.col_params)
        filters = metric_filters(columns)
        by_metric = [one for one in wanted if isinstance(one, MetricOrder)]
        groups = session_groups(table, request.allowed_statuses)
        ranks = parameter_ranks(
            self._catalog,
            [experiment.name for experiment in listing.experiments],
            table,
            parameter_filters(columns, table),
            [one for one in wanted if isinstance(one, ParameterOrder)],
        )
        if ranks is not None:
            groups = [group for group in groups if group.sessions[0].run_pk in ranks]
        if not filters and not wanted:
            return groups
        names = {one.name for one in filters} | {one.name for one in by_metric}
        values = metric_values(
            self._points,
            (session for group in groups for session in group.sessions),
            [*names, named(request.aggregation_metric)] if names else [],
        )
        keyed = []
        for group in groups:
            metrics = _aggregated(request, group, values)
            if all(one.passes(metrics) for one in filters):
                rank = iter(ranks[group.sessions[0].run_pk] if ranks is not None else ())
                key = [
                    one.key(metrics) if isinstance(one, MetricOrder) else (0.0, next(rank))
                    for one in wanted
                ]
                keyed.append((key, group))
        keyed.sort(key=lambda item: item[0])
        return [group for _, group in keyed]


def _aggregated(
    request: Any, group: SessionGroup, values: ValuesByRun
) -> dict[MetricName, MetricValue]:
    how = Aggregation(request.aggregation_type)
    return aggregated(group, values, how, named(request.aggregation_metric))


def _included(request: Any) -> Collection[str] | None:
    """The parameters that a request wants to see; None for all."""
    columns = request.col_params
    if not any(column.HasField("include_in_result") for column in columns):
        return None
    return {
        column.hparam
        for column in columns
        if column.hparam and (column.include_in_result or not column.HasField("include_in_result"))
    }

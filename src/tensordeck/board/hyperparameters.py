"""The sessions of a board as a data provider's hyperparameters.

`board.hparams` answers the web app; this is for TensorBoard's code, which asks its provider where
a board has no summaries of the hparams plugin.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from tensorboard.data import provider

from tensordeck.board.parameter_values import values_listed, values_matching
from tensordeck.board.session_groups import SessionGroup, parameter_ranks, session_groups
from tensordeck.board.sessions import ParameterColumn, Sessions
from tensordeck.store.contract import Catalog
from tensordeck.store.logged_runs import ParameterFilter, ParameterOrder, Scalar

__all__ = ["described_parameters", "read_groups"]

_DOMAINS: Final = {
    float: provider.HyperparameterDomainType.INTERVAL,
    bool: provider.HyperparameterDomainType.DISCRETE_BOOL,
    str: provider.HyperparameterDomainType.DISCRETE_STRING,
}
_VALUES: Final = {**_DOMAINS, int: provider.HyperparameterDomainType.INTERVAL}


def described_parameters(table: Sessions, limit: int | None) -> provider.ListHyperparametersResult:
    """The answer to `list_hyperparameters`: at most `limit` parameters, and all groups."""
    return provider.ListHyperparametersResult(
        hyperparameters=[_described(column) for column in table.parameters[: limit or None]],
        session_groups=[_group(group, None) for group in session_groups(table)],
    )


def read_groups(
    catalog: Catalog,
    experiments: Sequence[str],
    table: Sessions,
    *,
    filters: Collection[provider.HyperparameterFilter] | None,
    sort: Sequence[provider.HyperparameterSort] | None,
    included: Collection[str] | None,
) -> list[provider.HyperparameterSessionGroup]:
    """The answer to `read_hyperparameters`: groups that pass, in order, with their parameters.

    Args:
        catalog: What chooses and sorts.
        experiments: Full names of the board's experiments.
        table: Its sessions.
        filters: All of them must hold; a group without a value passes.
        sort: The most important first; a group without a value comes last.
        included: Parameters wanted besides those of `filters` and `sort`; all if None.

    Raises:
        InvalidArgument: If a filter is a broken regular expression.
    """
    conditions = [_condition(one, table) for one in filters or ()]
    descending = provider.HyperparameterSortDirection.DESCENDING
    orders = [
        # A sort by a metric comes without a name; providers know no metrics.
        ParameterOrder(one.hyperparameter_name, one.sort_direction is descending)
        for one in sort or ()
        if one.hyperparameter_name
    ]
    groups = session_groups(table)
    ranks = parameter_ranks(catalog, experiments, table, conditions, orders)
    if ranks is not None:
        groups = [group for group in groups if group.sessions[0].run_pk in ranks]
        groups.sort(key=lambda group: ranks[group.sessions[0].run_pk])
    if included is not None:
        asked = {one.name for one in conditions} | {one.name for one in orders}
        included = asked.union(included)
    return [_group(group, included) for group in groups]


def _described(column: ParameterColumn) -> provider.Hyperparameter:
    return provider.Hyperparameter(
        hyperparameter_name=column.name,
        hyperparameter_display_name=column.title,
        domain_type=_DOMAINS[column.kind],
        domain=column.domain,
        differs=column.differs,
    )


def _group(
    group: SessionGroup, included: Collection[str] | None
) -> provider.HyperparameterSessionGroup:
    return provider.HyperparameterSessionGroup(
        # Without an experiment the name is the run's, by which TensorBoard finds its metrics.
        root=provider.HyperparameterSessionRun("", group.name),
        sessions=[provider.HyperparameterSessionRun("", one.run) for one in group.sessions],
        hyperparameter_values=[
            provider.HyperparameterValue(name, _VALUES[type(value)], value)
            for name, value in group.params.items()
            if included is None or name in included
        ],
    )


def _condition(wanted: provider.HyperparameterFilter, table: Sessions) -> ParameterFilter:
    name = wanted.hyperparameter_name
    if wanted.filter_type is provider.HyperparameterFilterType.INTERVAL:
        return ParameterFilter(name, interval=wanted.filter)
    among: Callable[[Any, tuple[Scalar, ...]], tuple[Scalar, ...]] = (
        values_matching
        if wanted.filter_type is provider.HyperparameterFilterType.REGEX
        else values_listed
    )
    return ParameterFilter(name, among(wanted.filter, tuple(table.values.get(name, ()))))

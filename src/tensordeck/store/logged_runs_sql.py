"""The SQL of logged runs: from experiments to the contexts of their runs, and orders by parameters.

A TensorBoard experiment and the metadata context of the same id in its project and region belong
together. A context below that one belongs to the run that its artifact names: by that only, so that
nobody reads parameters by giving an experiment of their own the name of another's.

Parameters are members of JSON documents. As in `store.document_sql` they are found by comparing
keys as values, and the spelling of `json_each` is SQLite's.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Text,
    and_,
    bindparam,
    case,
    cast,
    false,
    func,
    literal,
    or_,
    select,
)

from tensordeck.names import ResourceName
from tensordeck.store import documents, schema
from tensordeck.store.batches import batches
from tensordeck.store.document_sql import BOOLEANS, NUMBERS
from tensordeck.store.logged_runs import LoggedRun, ParameterFilter, ParameterOrder, Scalar
from tensordeck.store.resources import Json

__all__ = ["logged_runs", "logged_stamps", "ranked_runs"]

_RUN_ARTIFACT: Final = "google.VertexTensorboardRun"
_CHILDREN: Final = schema.LINKS["child", "contexts", "contexts"]
_MEMBERS: Final = schema.LINKS["member", "contexts", "artifacts"]


def _context_of(experiment: str) -> str:
    """The full name of the context that belongs to a TensorBoard experiment."""
    name = ResourceName.parse(experiment)
    store = f"projects/{name.project}/locations/{name.location}/metadataStores/default"
    return f"{store}/contexts/{name.id}"


def logged_stamps(connection: Connection, names: Sequence[str]) -> dict[str, str]:
    """Reads the stamps; arguments and result as `Catalog.logged_stamps`.

    As in `store.stamps`, keys are never used again and revisions only grow.
    """
    above, own = schema.contexts.alias("above"), schema.contexts.alias("own")
    statement = (
        select(above.c.name, func.count(), func.max(own.c.pk), func.sum(own.c.revision))
        .join(_CHILDREN, _CHILDREN.c.source_pk == above.c.pk)
        .join(own, own.c.pk == _CHILDREN.c.target_pk)
        .where(above.c.name.in_(bindparam("names", expanding=True)))
        .group_by(above.c.pk, above.c.name)
    )
    contexts = {_context_of(name): "" for name in names}
    for group in batches(list(contexts)):
        for name, count, newest, revisions in connection.execute(statement, {"names": group}):
            contexts[name] = f"{count}.{newest}.{revisions}"
    return {name: contexts[_context_of(name)] for name in names}


def logged_runs(connection: Connection, experiment: str) -> dict[int, LoggedRun]:
    """Reads what was logged; arguments and result as `Catalog.logged_runs`."""
    linked = _linked([experiment])
    table = schema.contexts
    statement = select(
        linked.c.run_pk, cast(table.c.metadata, Text), table.c.create_time, table.c.update_time
    ).join(table, table.c.pk == linked.c.context_pk)
    found = {}
    for run_pk, text, created, updated in connection.execute(statement).all():
        metadata = _document(text)
        found[run_pk] = LoggedRun(
            _members(metadata, "_params"),
            _members(metadata, "_metrics"),
            str(metadata.get("_state", "")),
            created,
            updated,
        )
    return found


def ranked_runs(
    connection: Connection,
    experiments: Sequence[str],
    given: Mapping[int, Mapping[str, Scalar]],
    filters: Sequence[ParameterFilter],
    order: Sequence[ParameterOrder],
) -> dict[int, tuple[int, ...]]:
    """Chooses and ranks runs; arguments and result as `Catalog.ranked_runs`."""
    named = dict.fromkeys((*(one.name for one in filters), *(one.name for one in order)))
    linked, others = _linked(experiments), _given(given)
    source: FromClause = schema.runs.join(
        schema.experiments, schema.experiments.c.pk == schema.runs.c.parent_pk
    )
    source = source.outerjoin(linked, linked.c.run_pk == schema.runs.c.pk)
    source = source.outerjoin(schema.contexts, schema.contexts.c.pk == linked.c.context_pk)
    source = source.outerjoin(others, others.c.run_pk == schema.runs.c.pk)
    values: dict[str, _Value] = {}
    for at, name in enumerate(named):
        logged = func.json_each(schema.contexts.c.metadata, "$._params").table_valued(
            "key", "type", "atom", name=f"logged_{at}"
        )
        other = func.json_each(others.c.params).table_valued(
            "key", "type", "atom", name=f"given_{at}"
        )
        source = source.outerjoin(logged, logged.c.key == name)
        source = source.outerjoin(other, other.c.key == name)
        values[name] = _Value(
            case((logged.c.atom.is_not(None), logged.c.type), else_=other.c.type),
            func.coalesce(logged.c.atom, other.c.atom),
        )
    ranks = [
        func.dense_rank().over(order_by=values[one.name].order(one)).label(f"rank_{at}")
        for at, one in enumerate(order)
    ]
    statement = (
        select(schema.runs.c.pk, *ranks)
        .select_from(source)
        .where(
            schema.experiments.c.name.in_(experiments),
            *(values[one.name].passes(one) for one in filters),
        )
    )
    return {row[0]: tuple(row[1:]) for row in connection.execute(statement).all()}


class _Value:
    """A parameter's value in a query: SQLite's type of it, and the value itself.

    Args:
        kind: The type; NULL where there is none.
        atom: The value; NULL where there is none, and for lists and objects (NaN is one).
    """

    def __init__(self, kind: ColumnElement[Any], atom: ColumnElement[Any]) -> None:
        self._atom = atom
        self._missing = atom.is_(None)
        self._is_number = kind.in_(NUMBERS)
        self._is_flag = kind.in_(BOOLEANS)
        self._is_text = kind == "text"

    def passes(self, wanted: ParameterFilter) -> ColumnElement[bool]:
        """The condition that a filter stands for."""
        conditions = []
        if wanted.interval is not None:
            low, high = wanted.interval
            conditions.append(and_(self._is_number, self._atom >= low, self._atom <= high))
        if wanted.values is not None:
            flags = [int(one) for one in wanted.values if isinstance(one, bool)]
            texts = [one for one in wanted.values if isinstance(one, str)]
            numbers = [one for one in wanted.values if not isinstance(one, bool | str)]
            one_of = [
                and_(is_kind, self._atom.in_(select(_elements(listed))))
                for is_kind, listed in (
                    (self._is_flag, flags),
                    (self._is_text, texts),
                    (self._is_number, numbers),
                )
                if listed
            ]
            conditions.append(or_(false(), *one_of))
        return or_(
            and_(self._missing, literal(wanted.missing)),
            and_(self._missing.is_(False), *conditions),
        )

    def order(self, wanted: ParameterOrder) -> list[ColumnElement[Any]]:
        """The sort keys that an order stands for."""
        keys: list[ColumnElement[Any]] = [
            case((self._is_text, 1), else_=0),
            case((self._is_text, None), else_=self._atom),
            case((self._is_text, self._atom), else_=None),
        ]
        if wanted.descending:
            keys = [key.desc() for key in keys]
        absent = case((self._missing, 1), else_=0)
        return [absent.desc() if wanted.missing_first else absent, *keys]


def _linked(experiments: Sequence[str]) -> CTE:
    """(run_pk, context_pk) of the experiments' runs that have a context."""
    above, own = schema.contexts.alias("above"), schema.contexts.alias("own")
    artifacts, runs = schema.artifacts, schema.runs.alias("named")
    return (
        select(runs.c.pk.label("run_pk"), func.max(own.c.pk).label("context_pk"))
        .select_from(above)
        .join(_CHILDREN, _CHILDREN.c.source_pk == above.c.pk)
        .join(own, own.c.pk == _CHILDREN.c.target_pk)
        .join(_MEMBERS, _MEMBERS.c.source_pk == own.c.pk)
        .join(artifacts, artifacts.c.pk == _MEMBERS.c.target_pk)
        .join(runs, runs.c.name == artifacts.c.metadata["resourceName"].as_string())
        .where(
            above.c.name.in_([_context_of(name) for name in experiments]),
            artifacts.c.schema_title == _RUN_ARTIFACT,
            runs.c.parent_pk.in_(
                select(schema.experiments.c.pk).where(schema.experiments.c.name.in_(experiments))
            ),
        )
        .group_by(runs.c.pk)
        .cte("linked")
    )


def _given(values: Mapping[int, Mapping[str, Scalar]]) -> CTE:
    """(run_pk, params) of what the caller knows; materialized, or each run would parse it all."""
    document = documents.dumps({str(pk): dict(params) for pk, params in values.items()})
    members = func.json_each(document).table_valued("key", "value", name="members")
    columns = select(cast(members.c.key, Integer).label("run_pk"), members.c.value.label("params"))
    return columns.cte("given").prefix_with("MATERIALIZED")


def _elements(values: Sequence[Scalar]) -> ColumnElement[Any]:
    """The elements of a list, which may be longer than a statement takes parameters."""
    elements = func.json_each(documents.dumps(list(values))).table_valued("value")
    value: ColumnElement[Any] = elements.c.value
    return value


def _document(text: str) -> Json:
    # Four times as fast, and exact to a float's 53 bits; but it knows no numbers that JSON has not.
    marked = documents.KEY in text or documents.ESCAPE in text
    document: Json = documents.loads(text) if marked else orjson.loads(text)
    return document


def _members(metadata: Json, key: str) -> Json:
    found = metadata.get(key)
    return found if isinstance(found, dict) else {}

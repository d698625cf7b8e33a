"""The SQL of logged runs: from experiments to the contexts of their runs, and orders by parameters.

A TensorBoard experiment and the metadata context of the same id in its project and region belong
together. A context below that one belongs to the run that its artifact names: by that only, so that
nobody reads parameters by giving an experiment of their own the name of another's.

Parameters are members of JSON documents, which `store.document_sql` spells for each database.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Text,
    and_,
    bindparam,
    case,
    cast,
    false,
    func,
    literal,
    not_,
    or_,
    select,
)

from tensordeck.names import ResourceName
from tensordeck.store import documents, schema
from tensordeck.store.batches import batches
from tensordeck.store.document_sql import (
    BOOLEANS,
    NUMBERS,
    Member,
    elements,
    members,
    parsed,
)
from tensordeck.store.logged_runs import LoggedRun, ParameterFilter, ParameterOrder, Scalar
from tensordeck.store.resources import Json

__all__ = ["logged_runs", "logged_stamps", "ranked_runs"]

_ATOMS: Final = (*NUMBERS, *BOOLEANS, "text")
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
    logged, of_context = members(schema.contexts.c.metadata, "logged")
    source = source.outerjoin(logged, logged.c.key == "_params")
    values: dict[str, _Value] = {}
    for at, name in enumerate(named):
        own, own_member = members(of_context.document, f"logged_{at}")
        other, other_member = members(others.c.params, f"given_{at}")
        source = source.outerjoin(own, own.c.key == name)
        source = source.outerjoin(other, other.c.key == name)
        values[name] = _Value(
            own.c.key.is_not(None) & own_member.kind.in_(_ATOMS), own_member, other_member
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
    """A parameter's value in a query.

    Args:
        logged: Whether the client's value counts; if not, the other one does.
        own: What the client logged; NULL where nothing is, and no value in lists and objects (NaN
            is one).
        other: What the caller knows.
    """

    def __init__(self, logged: ColumnElement[bool], own: Member, other: Member) -> None:
        kind = case((logged, own.kind), else_=other.kind)
        self._number = case((logged, own.number), else_=other.number)
        self._text = case((logged, own.text), else_=other.text)
        self._missing = not_(func.coalesce(kind.in_(_ATOMS), false()))
        self._is_number = kind.in_(NUMBERS)
        self._is_flag = kind.in_(BOOLEANS)
        self._is_text = kind == "text"

    def passes(self, wanted: ParameterFilter) -> ColumnElement[bool]:
        """The condition that a filter stands for."""
        conditions = []
        if wanted.interval is not None:
            low, high = wanted.interval
            conditions.append(and_(self._is_number, self._number >= low, self._number <= high))
        if wanted.values is not None:
            flags = [int(one) for one in wanted.values if isinstance(one, bool)]
            texts = [one for one in wanted.values if isinstance(one, str)]
            numbers = [one for one in wanted.values if not isinstance(one, bool | str)]
            one_of = [
                and_(is_kind, value.in_(select(elements(documents.dumps(listed), value.type))))
                for is_kind, value, listed in (
                    (self._is_flag, self._number, flags),
                    (self._is_text, self._text, texts),
                    (self._is_number, self._number, numbers),
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
            case((self._is_text, None), else_=self._number),
            case((self._is_text, self._text), else_=None),
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
    runs, params = members(parsed(document), "runs_given")
    columns = select(cast(runs.c.key, BigInteger).label("run_pk"), params.document.label("params"))
    return columns.cte("given").prefix_with("MATERIALIZED")


def _document(text: str) -> Json:
    # Four times as fast, and exact to a float's 53 bits; but it knows no numbers that JSON has not.
    marked = documents.KEY in text or documents.ESCAPE in text
    document: Json = documents.loads(text) if marked else orjson.loads(text)
    return document


def _members(metadata: Json, key: str) -> Json:
    found = metadata.get(key)
    return found if isinstance(found, dict) else {}

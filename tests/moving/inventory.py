"""All that a store holds, read by its contract: what a move must not change."""

from collections.abc import Iterator
from typing import Any

from tensordeck import errors
from tensordeck.settings import Settings
from tensordeck.store import Store, open_store
from tensordeck.store.resources import (
    Artifact,
    Context,
    Execution,
    Resource,
    Run,
    StoredObject,
    Tensorboard,
    TimeSeries,
    UploadSession,
    ValueType,
)
from tensordeck.store.rows import KINDS
from tensordeck.store.walk import walk

LINKS = ("child", "member", "input", "output")


def inventory(settings: Settings) -> dict[str, Any]:
    """Everything in a store, as texts and bytes by name."""
    store = open_store(settings)
    try:
        return dict(_everything(store))
    finally:
        store.close()


def _everything(store: Store) -> Iterator[tuple[str, Any]]:
    for kind in KINDS.values():
        for record in _all(store, kind):
            yield f"{kind.kind} {record.name}", repr(record)
    for board in _all(store, Tensorboard):
        yield f"views of {board.name}", store.catalog.views(board.name)
    for kind in (Context, Artifact, Execution):
        for node in _all(store, kind):
            for link in LINKS:
                yield f"{link} of {node.name}", repr(store.catalog.links(link, source=node.name))
    for run in _all(store, Run):
        yield f"version of {run.name}", store.points.run_versions([run.pk])
    for series in _all(store, TimeSeries):
        key = [(series.run_pk, series.pk)]
        yield f"summary of {series.name}", repr(store.points.summaries(key))
        if series.value_type is ValueType.SCALAR:
            columns = store.points.read_scalars(key)[series.pk]
            yield (
                f"points of {series.name}",
                [part.tobytes() for part in (columns.steps, columns.wall_ns, columns.values)],
            )
        else:
            yield f"points of {series.name}", repr(store.points.read_payloads(key)[series.pk])
    for found in _all(store, StoredObject):
        yield f"content of {found.name}", _content(store, found.blob_key)
    for upload in _all(store, UploadSession):
        yield f"parts of {upload.name}", [_content(store, key) for key in upload.parts]


def _all(store: Store, kind: type[Resource]) -> Iterator[Any]:
    if not kind.parent_kind:
        yield from walk(store.catalog, kind, "")
        return
    for parent in list(_all(store, KINDS[kind.parent_kind])):
        yield from walk(store.catalog, kind, parent.name)


def _content(store: Store, key: str) -> bytes | str:
    try:
        return b"".join(store.blobs.read(key))
    except errors.NotFound:
        return "lost"

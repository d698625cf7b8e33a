"""Metadata contexts: experiments and their runs, their members and their children."""

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from msgspec.structs import replace

from tensordeck import names, protos
from tensordeck.errors import AlreadyExists, InvalidArgument, NotFound
from tensordeck.names import ResourceName
from tensordeck.services import structs
from tensordeck.services.call import Call
from tensordeck.services.concurrent_writes import Refusals, rebased
from tensordeck.services.metadata_nodes import MetadataNodes
from tensordeck.services.metadata_schemas import is_built_in
from tensordeck.services.node_kinds import (
    ARTIFACTS,
    CONTEXTS,
    EXECUTIONS,
    NodeChange,
    NodeKind,
    Settle,
    metadata_etag,
    revision_of,
    stale,
    with_numbers,
)
from tensordeck.services.paired_contexts import (
    EXPERIMENT_SCHEMA,
    remove_traces,
    rename_tensorboard_face,
)
from tensordeck.store import Store
from tensordeck.store.resources import Context

_MAX_PARENTS: Final = 10
_TWIN_MICROS: Final = 60 * 1_000_000
_NEW_EXPERIMENT: Final = {"experiment_deleted": False}
"""The metadata of `aiplatform.Experiment.get_or_create`, by which its experiments are told."""


class _MoreToDoError(Exception):
    """A change that takes further calls of the catalog, which only a waiting thread can make."""


class Contexts(MetadataNodes):
    """Calls on contexts."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._refusals = Refusals()

    def create_context(self, request: Any, _call: Call) -> Any:
        """Creates a context; its id is made up unless one is given.

        An experiment that another caller has made this very minute is returned as it is. The
        official client looks for an experiment and makes it if there is none; of two programs that
        do so at once, the one that is told that it exists by now would end with an error.
        """
        try:
            return self._create(CONTEXTS, request.parent, request.context, request.context_id)
        except AlreadyExists:
            store = self._store_name(request.parent)
            name = store.child(CONTEXTS.collection, request.context_id)
            there = self._catalog.find(Context, str(name))
            if there is None or not _is_twin(there, request.context):
                raise
            return self._shown(CONTEXTS, there)

    def get_context(self, request: Any, _call: Call) -> Any:
        """Returns a context."""
        return self._get(CONTEXTS, request.name)

    def list_contexts(self, request: Any, _call: Call) -> Any:
        """Lists contexts."""
        return self._list(CONTEXTS, request)

    def update_context(self, request: Any, call: Call) -> Any:
        """Changes a context.

        A stale etag is an error over gRPC, where the client reads again and retries, unless many
        write at once; over REST the changes are joined (see `concurrent_writes`).
        """
        settle = self._settle(over_rest=call.transport == "rest")
        return self._update(CONTEXTS, request.context, request, settle, self._follow)

    def begin_update_context(
        self, request: Any, call: Call, tell: Callable[[Any | BaseException | None], None]
    ) -> None:
        """Begins what a training loop does at each step, for a caller who waits in no thread.

        Args:
            request: The request.
            call: The call.
            tell: Told the reply, what is wrong, or None if the request must go through
                `update_context`; nothing was changed then.
        """
        given = request.context
        names.parse(given.name, CONTEXTS.pattern, "context.name")
        if not is_built_in(given.schema_title, given.schema_version):
            tell(None)  # the schema must be looked for
            return
        settle = self._settle(over_rest=call.transport == "rest")
        change = NodeChange(CONTEXTS, given, request.update_mask, None, settle)

        def changed(record: Context) -> Context:
            wanted = change(record)
            if wanted.display_name != record.display_name:
                raise _MoreToDoError
            return wanted

        def told(outcome: Context | BaseException) -> None:
            if isinstance(outcome, _MoreToDoError | NotFound):
                tell(None)
            elif isinstance(outcome, BaseException):
                tell(outcome)
            else:
                try:
                    tell(self._shown(CONTEXTS, outcome, change.message))
                except Exception as error:  # noqa: BLE001 -- nobody else hears of it in this thread
                    tell(error)

        self._catalog.submit_update(Context, given.name, changed, told)

    def _settle(self, *, over_rest: bool) -> Settle[Context]:
        def settle(kind: NodeKind[Context], record: Context, given: Any) -> Any:
            fresh = not given.etag or given.etag == metadata_etag(record)
            base = record if fresh else self._seen_by_sender(record.name, given.etag)
            given = with_numbers(given, base or record)
            if fresh:
                return given
            if not over_rest and (base is None or self._refusals.refuse(record.name)):
                raise stale(kind, record, given.etag)
            return rebased(given, base, record)

        return settle

    def _seen_by_sender(self, name: str, etag: str) -> Context | None:
        """What the sender of an etag had before its eyes, whichever server showed it."""
        found = self._handed_out.find(name, etag)
        return found or self._catalog.past_context(name, revision_of(etag))

    def delete_context(self, request: Any, _call: Call) -> Any:
        """Deletes a context; its members and children stay."""
        return self._delete(CONTEXTS, request, self._forget)

    def purge_contexts(self, request: Any, _call: Call) -> Any:
        """Deletes the contexts that match a filter."""
        return self._purge(CONTEXTS, request, self._forget)

    def add_context_artifacts_and_executions(self, request: Any, _call: Call) -> Any:
        """Puts artifacts and executions into a context."""
        context = self._context(request.context)
        members = [
            *_in_same_store(context, request.artifacts, ARTIFACTS.pattern, "artifacts"),
            *_in_same_store(context, request.executions, EXECUTIONS.pattern, "executions"),
        ]
        if members:
            self._catalog.add_links("member", str(context), members)
        return protos.message("AddContextArtifactsAndExecutionsResponse")()

    def add_context_children(self, request: Any, _call: Call) -> Any:
        """Puts contexts below a context.

        Raises:
            InvalidArgument: If that makes a circle, or a context would have more than 10 parents.
        """
        context = self._context(request.context)
        children = list(
            _in_same_store(context, request.child_contexts, CONTEXTS.pattern, "child_contexts")
        )
        for child in children:
            parents = {link.source for link in self._catalog.links("child", target=child)}
            if len(parents | {str(context)}) > _MAX_PARENTS:
                raise InvalidArgument(
                    f"`child_contexts`: {child} would have more than {_MAX_PARENTS} parents."
                )
        if children:
            self._catalog.add_links("child", str(context), children)
        return protos.message("AddContextChildrenResponse")()

    def remove_context_children(self, request: Any, _call: Call) -> Any:
        """Takes contexts from below a context; one that is not there is no error."""
        context = self._context(request.context)
        children = list(
            _in_same_store(context, request.child_contexts, CONTEXTS.pattern, "child_contexts")
        )
        self._catalog.remove_links("child", str(context), children)
        return protos.message("RemoveContextChildrenResponse")()

    def _forget(self, deleted: Context) -> None:
        remove_traces(self._catalog, deleted)

    def _follow(self, before: Context, after: Context) -> None:
        """Renames what is behind a context with it, or leaves both as they were."""
        if before.display_name == after.display_name:
            return
        try:
            rename_tensorboard_face(self._catalog, after)
        except AlreadyExists:
            self._catalog.update(
                Context, after.name, lambda now: replace(now, display_name=before.display_name)
            )
            raise

    def _context(self, text: str) -> ResourceName:
        name = names.parse(text, CONTEXTS.pattern, "context")
        self._catalog.get(Context, str(name))
        return name


def _is_twin(there: Context, given: Any) -> bool:
    """Whether an experiment is what another official client made at about the same time."""
    return (
        there.schema_title == given.schema_title == EXPERIMENT_SCHEMA
        and there.display_name == given.display_name
        and structs.to_json(given.metadata) == _NEW_EXPERIMENT
        and time.time() * 1e6 - there.create_time < _TWIN_MICROS
    )


def _in_same_store(
    context: ResourceName, members: Iterable[str], pattern: tuple[str, ...], field: str
) -> Iterable[str]:
    for member in members:
        if names.parse(member, pattern, field).parent != context.parent:
            raise InvalidArgument(
                f"`{field}`: {member} is not in the context's metadata store {context.parent}."
            )
        yield member

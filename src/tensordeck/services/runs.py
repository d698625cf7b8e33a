"""Runs: `{experiment}/runs/R`."""

from typing import Any, Final

from msgspec.structs import replace

from tensordeck import names, protos
from tensordeck.errors import InvalidArgument
from tensordeck.filters import parse_filter
from tensordeck.names import ResourceName
from tensordeck.services import masks, paging, rules
from tensordeck.services.call import Call
from tensordeck.services.collection import Collection
from tensordeck.services.etags import check_etag
from tensordeck.services.paired_contexts import remove_run_contexts, rename_context
from tensordeck.services.tensorboard_messages import run_message
from tensordeck.store.resources import Run

_WRITABLE: Final = masks.Writable(frozenset({"display_name", "description", "labels"}))


class Runs(Collection):
    """Calls on runs."""

    def create_tensorboard_run(self, request: Any, _call: Call) -> Any:
        """Creates a run; its display name is its id unless another is given."""
        parent = names.parse(request.parent, names.EXPERIMENT, "parent")
        return run_message(self._catalog.create(_new(request, parent, "")))

    def batch_create_tensorboard_runs(self, request: Any, _call: Call) -> Any:
        """Creates up to 1000 runs of one experiment: all or none."""
        parent = names.parse(request.parent, names.EXPERIMENT, "parent")
        rules.check_batch(len(request.requests), "requests")
        new = []
        for index, one in enumerate(request.requests):
            field = f"requests[{index}]."
            if one.parent and one.parent != request.parent:
                raise InvalidArgument(
                    f"`{field}parent` must be empty or the batch's `parent` {parent}; "
                    f"it is {names.shown(one.parent)}."
                )
            new.append(_new(one, parent, field))
        return protos.message("BatchCreateTensorboardRunsResponse")(
            tensorboard_runs=[run_message(record) for record in self._catalog.create_many(new)]
        )

    def get_tensorboard_run(self, request: Any, _call: Call) -> Any:
        """Returns a run."""
        return run_message(self._catalog.get(Run, str(names.parse(request.name, names.RUN))))

    def list_tensorboard_runs(self, request: Any, _call: Call) -> Any:
        """Lists the runs of an experiment."""
        masks.check_read_mask(request.read_mask, protos.message("TensorboardRun").DESCRIPTOR)
        page = self._catalog.list(
            Run,
            str(names.parse(request.parent, names.EXPERIMENT, "parent")),
            filter=parse_filter(request.filter),
            order_by=request.order_by,
            page_size=paging.TENSORBOARD_CHILDREN.of(request.page_size),
            page_token=request.page_token,
        )
        messages = [run_message(record) for record in page.items]
        masks.apply_read_mask(messages, request.read_mask)
        return protos.message("ListTensorboardRunsResponse")(
            tensorboard_runs=messages, next_page_token=page.next_token
        )

    def update_tensorboard_run(self, request: Any, _call: Call) -> Any:
        """Changes a run; its context gets the display name, too."""
        given = request.tensorboard_run
        name = str(names.parse(given.name, names.RUN, "tensorboard_run.name"))

        def change(record: Run) -> Run:
            check_etag(record, given.etag)
            message = run_message(record)
            masks.merge(message, given, request.update_mask, _WRITABLE)
            _check(message, "", record.labels)
            return _record(record, message)

        updated = self._catalog.update(Run, name, change)
        rename_context(self._catalog, updated)
        return run_message(updated)

    def delete_tensorboard_run(self, request: Any, _call: Call) -> Any:
        """Deletes a run with its series, their points and blobs, and with its context."""
        name = names.parse(request.name, names.RUN)
        self._catalog.get(Run, str(name))
        remove_run_contexts(self._catalog, [str(name)], keep_logged=False)
        self._objects.remove(name)
        self._catalog.delete(Run, str(name))
        self._keys.forget(str(name))
        return protos.message("google.protobuf.Empty")()


def _new(request: Any, parent: ResourceName, field: str) -> Run:
    """The record of a create request; `field` is where the request lies in a batch."""
    run_id = names.validate_id(request.tensorboard_run_id, "run", f"{field}tensorboard_run_id")
    given = request.tensorboard_run
    given.display_name = given.display_name or run_id
    _check(given, field, {})
    return _record(Run(name=str(parent.child("runs", run_id))), given)


def _check(message: Any, field: str, labels_before: dict[str, str]) -> None:
    rules.check_display_name(message.display_name, f"{field}tensorboard_run.display_name")
    rules.check_labels(message.labels, f"{field}tensorboard_run.labels", labels_before)


def _record(record: Run, message: Any) -> Run:
    return replace(
        record,
        display_name=message.display_name,
        description=message.description,
        labels=dict(message.labels),
    )

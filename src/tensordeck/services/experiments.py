"""Experiments: `{tensorboard}/experiments/E`."""

from typing import Any, Final

from msgspec.structs import replace

from tensordeck import names, protos
from tensordeck.errors import AlreadyExists
from tensordeck.filters import parse_filter
from tensordeck.services import masks, paging, rules
from tensordeck.services.call import Call
from tensordeck.services.collection import Collection
from tensordeck.services.etags import check_etag
from tensordeck.services.paired_contexts import (
    SOURCE_LABEL,
    remove_experiment_context,
    remove_run_contexts,
    rename_context,
)
from tensordeck.services.tensorboard_messages import experiment_message
from tensordeck.store.resources import Experiment, Run
from tensordeck.store.walk import walk_pages

_WRITABLE: Final = masks.Writable(
    frozenset({"display_name", "description", "labels"}), frozenset({"source"})
)
_PAGE: Final = 500


class Experiments(Collection):
    """Calls on experiments."""

    def create_tensorboard_experiment(self, request: Any, _call: Call) -> Any:
        """Creates an experiment; its display name is its id unless another is given.

        One that the client makes for an experiment of its own may be there already: of several
        processes that start runs at once, each makes it.
        """
        parent = names.parse(request.parent, names.TENSORBOARD, "parent")
        experiment_id = names.validate_id(
            request.tensorboard_experiment_id, "run", "tensorboard_experiment_id"
        )
        given = request.tensorboard_experiment
        given.display_name = given.display_name or experiment_id
        _check(given, {})
        new = Experiment(name=str(parent.child("experiments", experiment_id)), source=given.source)
        try:
            return experiment_message(self._catalog.create(_record(new, given)))
        except AlreadyExists:
            existing = self._catalog.find(Experiment, new.name)
            if given.labels != SOURCE_LABEL or existing is None or existing.labels != SOURCE_LABEL:
                raise
            return experiment_message(existing)

    def get_tensorboard_experiment(self, request: Any, _call: Call) -> Any:
        """Returns an experiment."""
        name = str(names.parse(request.name, names.EXPERIMENT))
        return experiment_message(self._catalog.get(Experiment, name))

    def list_tensorboard_experiments(self, request: Any, _call: Call) -> Any:
        """Lists the experiments of an instance."""
        masks.check_read_mask(request.read_mask, protos.message("TensorboardExperiment").DESCRIPTOR)
        page = self._catalog.list(
            Experiment,
            str(names.parse(request.parent, names.TENSORBOARD, "parent")),
            filter=parse_filter(request.filter),
            order_by=request.order_by,
            page_size=paging.TENSORBOARD_CHILDREN.of(request.page_size),
            page_token=request.page_token,
        )
        messages = [experiment_message(record) for record in page.items]
        masks.apply_read_mask(messages, request.read_mask)
        return protos.message("ListTensorboardExperimentsResponse")(
            tensorboard_experiments=messages, next_page_token=page.next_token
        )

    def update_tensorboard_experiment(self, request: Any, _call: Call) -> Any:
        """Changes an experiment; its `source` is immutable, its context follows its name."""
        given = request.tensorboard_experiment
        name = str(names.parse(given.name, names.EXPERIMENT, "tensorboard_experiment.name"))

        def change(record: Experiment) -> Experiment:
            check_etag(record, given.etag)
            message = experiment_message(record)
            masks.merge(message, given, request.update_mask, _WRITABLE)
            _check(message, record.labels)
            return _record(record, message)

        updated = self._catalog.update(Experiment, name, change)
        rename_context(self._catalog, updated)
        return experiment_message(updated)

    def delete_tensorboard_experiment(self, request: Any, _call: Call) -> Any:
        """Deletes an experiment with its runs, their points and blobs, and with its contexts."""
        name = names.parse(request.name, names.EXPERIMENT)
        self._catalog.get(Experiment, str(name))
        for runs in walk_pages(
            lambda token: self._catalog.list(Run, str(name), page_size=_PAGE, page_token=token)
        ):
            remove_run_contexts(self._catalog, [run.name for run in runs], keep_logged=False)
        remove_experiment_context(self._catalog, str(name))
        self._objects.remove(name)
        self._catalog.delete(Experiment, str(name))
        self._keys.forget(str(name))
        return protos.message("google.protobuf.Empty")()


def _check(message: Any, labels_before: dict[str, str]) -> None:
    rules.check_display_name(message.display_name, "tensorboard_experiment.display_name")
    rules.check_labels(message.labels, "tensorboard_experiment.labels", labels_before)


def _record(record: Experiment, message: Any) -> Experiment:
    return replace(
        record,
        display_name=message.display_name,
        description=message.description,
        labels=dict(message.labels),
    )

"""Instances: `projects/P/locations/L/tensorboards/T`."""

from collections.abc import Iterator
from typing import Any, Final

from msgspec.structs import replace

from tensordeck import names, protos
from tensordeck.filters import parse_filter
from tensordeck.names import ResourceName
from tensordeck.services import masks, paging, rules
from tensordeck.services.call import Call
from tensordeck.services.collection import Collection
from tensordeck.services.etags import check_etag
from tensordeck.services.paired_contexts import forget_tensorboard, remove_run_contexts
from tensordeck.services.tensorboard_messages import tensorboard_message
from tensordeck.store.resources import Run, Tensorboard
from tensordeck.store.walk import walk_pages

_WRITABLE: Final = masks.Writable(
    frozenset({"display_name", "description", "labels", "is_default", "encryption_spec"})
)
_KEY: Final = (*names.LOCATION, "keyRings", "cryptoKeys")
_PAGE: Final = 500


class Tensorboards(Collection):
    """Calls on instances."""

    def create_tensorboard(self, request: Any, _call: Call) -> Any:
        """Creates an instance and the bucket for its blobs."""
        parent = names.parse(request.parent, names.LOCATION, "parent")
        name = parent.child("tensorboards", rules.new_numeric_id())
        given = request.tensorboard
        _check(given, {})
        self._objects.create_bucket(name)
        return tensorboard_message(
            self._catalog.create(_record(Tensorboard(name=str(name)), given))
        )

    def get_tensorboard(self, request: Any, _call: Call) -> Any:
        """Returns an instance."""
        name = str(names.parse(request.name, names.TENSORBOARD))
        return tensorboard_message(self._catalog.get(Tensorboard, name))

    def list_tensorboards(self, request: Any, _call: Call) -> Any:
        """Lists the instances of a project and region."""
        masks.check_read_mask(request.read_mask, protos.message("Tensorboard").DESCRIPTOR)
        page = self._catalog.list(
            Tensorboard,
            str(names.parse(request.parent, names.LOCATION, "parent")),
            filter=parse_filter(request.filter),
            order_by=request.order_by,
            page_size=paging.TENSORBOARDS.of(request.page_size),
            page_token=request.page_token,
        )
        messages = [tensorboard_message(record) for record in page.items]
        masks.apply_read_mask(messages, request.read_mask)
        return protos.message("ListTensorboardsResponse")(
            tensorboards=messages, next_page_token=page.next_token
        )

    def update_tensorboard(self, request: Any, _call: Call) -> Any:
        """Changes an instance; an etag that is given must be the present one."""
        given = request.tensorboard
        name = str(names.parse(given.name, names.TENSORBOARD, "tensorboard.name"))

        def change(record: Tensorboard) -> Tensorboard:
            check_etag(record, given.etag)
            message = tensorboard_message(record)
            masks.merge(message, given, request.update_mask, _WRITABLE)
            _check(message, record.labels)
            return _record(record, message)

        return tensorboard_message(self._catalog.update(Tensorboard, name, change))

    def delete_tensorboard(self, request: Any, _call: Call) -> Any:
        """Deletes an instance with all below it: points, blobs, its bucket.

        Experiments of the metadata service that it was behind stay without it.

        Blobs and artifacts go first, so that a deletion that was cut short can be repeated.
        """
        name = names.parse(request.name, names.TENSORBOARD)
        self._catalog.get(Tensorboard, str(name))
        for runs in self._run_names(name):
            remove_run_contexts(self._catalog, runs, keep_logged=True)
        forget_tensorboard(self._catalog, str(name))
        self._objects.remove(name)
        self._catalog.delete(Tensorboard, str(name))
        self._keys.forget(str(name))
        self._objects.remove_bucket(str(name))
        return protos.message("google.protobuf.Empty")()

    def read_tensorboard_usage(self, request: Any, _call: Call) -> Any:
        """Returns who looked at boards of the instance, by month."""
        name = str(names.parse(request.tensorboard, names.TENSORBOARD, "tensorboard"))
        self._catalog.get(Tensorboard, name)
        reply = protos.message("ReadTensorboardUsageResponse")()
        for month, users in self._catalog.views(name).items():
            for username, count in users:
                reply.monthly_usage_data[month].user_usage_data.add(
                    username=username, view_count=count
                )
        return reply

    def read_tensorboard_size(self, request: Any, _call: Call) -> Any:
        """Returns the bytes that the instance's points and blobs take."""
        name = names.parse(request.tensorboard, names.TENSORBOARD, "tensorboard")
        pk = self._catalog.get(Tensorboard, str(name)).pk
        points = self._points.totals(Tensorboard, [pk])[pk].size
        return protos.message("ReadTensorboardSizeResponse")(
            storage_size_byte=points + self._objects.size(name)
        )

    def _run_names(self, tensorboard: ResourceName) -> Iterator[list[str]]:
        """The names of all runs of an instance, a page at a time."""
        pages = walk_pages(
            lambda token: self._catalog.list(
                Run, f"{tensorboard}/experiments/-", page_size=_PAGE, page_token=token
            )
        )
        for runs in pages:
            yield [run.name for run in runs]


def _check(message: Any, labels_before: dict[str, str]) -> None:
    rules.check_display_name(message.display_name, "tensorboard.display_name")
    rules.check_labels(message.labels, "tensorboard.labels", labels_before)
    if message.encryption_spec.kms_key_name:
        names.parse(
            message.encryption_spec.kms_key_name,
            _KEY,
            "tensorboard.encryption_spec.kms_key_name",
        )


def _record(record: Tensorboard, message: Any) -> Tensorboard:
    return replace(
        record,
        display_name=message.display_name,
        description=message.description,
        labels=dict(message.labels),
        is_default=message.is_default,
        kms_key_name=message.encryption_spec.kms_key_name,
    )

"""Long-running operations: all are finished when they are first seen.

The clients poll an operation only until it is done, so that one which is done in its first reply
is never asked for again. It is kept some days all the same, for tools that look later.
"""

import contextlib
import time
from typing import Any, Final

from tensordeck import protos
from tensordeck.errors import InvalidArgument, NotFound
from tensordeck.names import ResourceName, shown
from tensordeck.services import paging
from tensordeck.services.call import Call
from tensordeck.services.rules import new_numeric_id
from tensordeck.store import Store
from tensordeck.store.resources import Operation

KEEP_SECONDS: Final = 7 * 86_400
"""How long an operation can be looked up."""

_PAGE: Final = 500
_LOCATION: Final = ("projects", "locations")


class OperationsService:
    """`google.longrunning.Operations`.

    Args:
        store: Where operations are kept.
    """

    def __init__(self, store: Store) -> None:
        self._catalog = store.catalog

    def finish(self, resource_name: str, result: Any, metadata_type: str, call: Call) -> Any:
        """Makes the finished operation of a call, and keeps it.

        Args:
            resource_name: A resource of the place (project and region) that the call was about.
            result: The reply message: the resource, or an Empty.
            metadata_type: The type of the operation's metadata, e.g. `DeleteOperationMetadata`.
            call: The call; its API version shows in the type URLs.
        """
        ids = ResourceName.parse(resource_name, "resource").ids
        name = f"projects/{ids[0]}/locations/{ids[1]}/operations/{new_numeric_id()}"
        operation = protos.message("google.longrunning.Operation")(name=name, done=True)
        metadata = protos.message(metadata_type)()
        metadata.generic_metadata.create_time.GetCurrentTime()
        metadata.generic_metadata.update_time.CopyFrom(metadata.generic_metadata.create_time)
        protos.pack_any(metadata, operation.metadata, call.version)
        protos.pack_any(result, operation.response, call.version)
        self._catalog.create(Operation(name=name, payload=operation.SerializeToString()))
        return operation

    def get_operation(self, request: Any, call: Call) -> Any:
        """Returns an operation, also by a name below a resource."""
        return _of_version(self._find(request.name), call)

    def wait_operation(self, request: Any, call: Call) -> Any:
        """Returns an operation at once: it is done."""
        return _of_version(self._find(request.name), call)

    def list_operations(self, request: Any, call: Call) -> Any:
        """Lists the operations of a project and region."""
        place = _place(ResourceName.parse(request.name.removesuffix("/operations")), request.name)
        page = self._catalog.list(
            Operation,
            place,
            order_by="create_time desc",
            page_size=paging.OPERATIONS.of(request.page_size),
            page_token=request.page_token,
        )
        return protos.message("google.longrunning.ListOperationsResponse")(
            operations=[_of_version(record, call) for record in page.items],
            next_page_token=page.next_token,
        )

    def cancel_operation(self, request: Any, _call: Call) -> Any:
        """Does nothing: a finished operation can't be cancelled, and the call may not fail."""
        self._find(request.name)
        return protos.message("google.protobuf.Empty")()

    def delete_operation(self, request: Any, _call: Call) -> Any:
        """Forgets an operation; what it did stays."""
        self._catalog.delete(Operation, self._find(request.name).name)
        return protos.message("google.protobuf.Empty")()

    def sweep(self, older_than_s: float = KEEP_SECONDS) -> int:
        """Forgets operations of some age; returns how many. Safe beside running requests."""
        limit = (time.time() - older_than_s) * 1e6
        removed = 0
        while True:
            oldest = self._catalog.list(Operation, "", page_size=_PAGE).items
            old = [record for record in oldest if record.create_time < limit]
            for record in old:
                with contextlib.suppress(NotFound):  # somebody was faster
                    self._catalog.delete(Operation, record.name)
                    removed += 1
            if len(old) < _PAGE:
                return removed

    def _find(self, text: str) -> Operation:
        """Looks up `PL/operations/N`, or `PL/tensorboards/T/operations/N` and the like."""
        name = ResourceName.parse(text)
        if name.kind != "operations":
            raise InvalidArgument(f"`name` must end in operations/ID; it is {shown(text)}.")
        found = self._catalog.find(Operation, f"{_place(name, text)}/operations/{name.id}")
        if found is None:
            raise NotFound(f"Operation {shown(text, 512)} does not exist.")
        return found


def _place(name: ResourceName, text: str) -> str:
    if name.collections[:2] != _LOCATION:
        raise InvalidArgument(
            f"`name` must begin with projects/PROJECT/locations/REGION; it is {shown(text)}."
        )
    return f"projects/{name.ids[0]}/locations/{name.ids[1]}"


def _of_version(record: Operation, call: Call) -> Any:
    """The kept operation, its types named as the caller's API version does."""
    operation = protos.message("google.longrunning.Operation").FromString(record.payload)
    for value in (operation.metadata, operation.response):
        for version in ("v1", "v1beta1"):
            value.type_url = value.type_url.replace(
                f".aiplatform.{version}.", f".aiplatform.{call.version}."
            )
    return operation

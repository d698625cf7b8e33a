"""Lists of what training is made of: custom jobs and training pipelines, which are listed alike."""

from collections.abc import Callable
from typing import Any, TypeVar

from tensordeck import names, protos
from tensordeck.filters import parse_filter
from tensordeck.services import masks, paging
from tensordeck.store.contract import Catalog
from tensordeck.store.resources import CustomJob, TrainingPipeline

__all__ = ["list_newest"]

K = TypeVar("K", CustomJob, TrainingPipeline)


def list_newest(
    catalog: Catalog, kind: type[K], request: Any, show: Callable[[K], Any], reply: Any
) -> Any:
    """Fills in a page of those of a project and region, newest first.

    Args:
        catalog: Where they rest.
        kind: What is listed.
        request: The call's request.
        show: Makes a record's message.
        reply: The empty reply; its repeated field is the list's.

    Raises:
        InvalidArgument: If a field of the request is malformed.
    """
    items = next(field for field in reply.DESCRIPTOR.fields if field.is_repeated)
    masks.check_read_mask(request.read_mask, protos.message(items.message_type.name).DESCRIPTOR)
    page = catalog.list(
        kind,
        str(names.parse(request.parent, names.LOCATION, "parent")),
        filter=parse_filter(request.filter),
        order_by="create_time desc",
        page_size=paging.TRAINING.of(request.page_size),
        page_token=request.page_token,
    )
    messages = [show(record) for record in page.items]
    masks.apply_read_mask(messages, request.read_mask)
    getattr(reply, items.name).extend(messages)
    reply.next_page_token = page.next_token
    return reply

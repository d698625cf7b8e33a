"""Any request is answered or refused with a designed error: none is a fault of the server's."""

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensordeck import errors, protos
from tensordeck.front.method import Method
from tensordeck.front.methods import METADATA_METHODS, TENSORBOARD_METHODS
from tensordeck.front.training_methods import TRAINING_METHODS

DESIGNED = [kind for kind in errors.TensordeckError.__subclasses__() if kind is not errors.Internal]
METHODS = (*TENSORBOARD_METHODS, *METADATA_METHODS, *TRAINING_METHODS)

PLACE = "projects/fuzz/locations/us-central1"
BOARD = f"{PLACE}/tensorboards/-"
STORE = f"{PLACE}/metadataStores/default"


@pytest.fixture(scope="module")
def existing(store, api_factory):
    """One resource of each kind, whose names the requests may hit."""
    api = api_factory(PLACE)
    series = api.series(api.run(api.experiment(api.board())))
    blobs = api.series(series.partition("/timeSeries/")[0], "blobs", 3)
    api.write_scalars(series, {1: 1.0, 2: float("nan")})
    names = [series, blobs]
    name = series
    while name.count("/") > 1:
        name = name.rpartition("/")[0].rpartition("/")[0]
        names.append(name)
    for kind in ("context", "artifact", "execution"):
        fields = {f"{kind}_id": "node", kind: {"metadata": {"a": 1}}}
        names.append(api(f"Create{kind.title()}", parent=STORE, **fields).name)
    names.append(api("UploadModel", parent=PLACE, model={"display_name": "m"}).model)
    names += [f"{names[-1]}@default", api.job(), api.pipeline()]
    return [*names, STORE, BOARD, f"{PLACE}/tensorboards/-/experiments/-"]


JUNK = [
    "", "x", "/", "*", "-1", "a=b", "labels.x", "display_name", "step desc", "step > 1 OR",
    "é🎉", "\x00", "x" * 5000, "schema_title=1", 'display_name = "x"', "name:(", "metadata.a",
    "parent_contexts:x", "in_context(", 'create_time > "2026-01-01T00:00:00Z"', "WzEsMiwzXQ",
]  # fmt: skip
NUMBERS = [0, 1, -1, 2, 3, 4, 1000, 2**31 - 1, -(2**31)]


def fill(draw, message, names: list[str], depth: int = 0) -> None:
    """Puts something into some fields of a message."""
    for field in message.DESCRIPTOR.fields:
        if not draw(st.integers(0, 2)):
            continue
        value = getattr(message, field.name)
        if field.message_type and field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is None:
                value[draw(st.sampled_from(JUNK))] = draw(st.sampled_from(JUNK))
        elif field.message_type:
            if depth < 4 and field.is_repeated:
                for _ in range(draw(st.integers(0, 2))):
                    fill(draw, value.add(), names, depth + 1)
            elif depth < 4:
                fill(draw, value, names, depth + 1)
        else:
            one = scalar(draw, field, names)
            if field.is_repeated:
                value.extend([one] * draw(st.integers(0, 2)))
            else:
                setattr(message, field.name, one)


def scalar(draw, field, names: list[str]):
    if field.type == field.TYPE_STRING:
        return draw(st.sampled_from(names) | st.sampled_from(JUNK))
    if field.type == field.TYPE_BYTES:
        return draw(st.sampled_from([b"", b"\xff", b"x" * 70_000]))
    if field.type == field.TYPE_BOOL:
        return draw(st.booleans())
    if field.type in (field.TYPE_DOUBLE, field.TYPE_FLOAT):
        return draw(st.sampled_from([0.0, -1.5, float("nan"), float("inf")]))
    if field.type == field.TYPE_ENUM:
        return draw(st.integers(0, 9))
    limited = field.type in (field.TYPE_INT32, field.TYPE_UINT32)
    return draw(st.sampled_from(NUMBERS if limited else [*NUMBERS, 2**63 - 1, -(2**63)]))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_only_designed_errors_come_out(api, existing, method: Method, data):
    request = protos.message(method.request)()
    # The parent's own part is most often right, so that what lies behind the names is reached.
    fill(data.draw, request, existing)
    service = next(service for service in api.services if hasattr(service, method.attribute))
    handler = getattr(service, method.attribute)
    deletes = method.name.startswith(("Delete", "Purge"))
    if deletes and method.resource and data.draw(st.integers(0, 9)):
        setattr(request, method.resource, f"{PLACE}/tensorboards/none")
    with contextlib.suppress(*DESIGNED):
        reply = handler(request.SerializeToString() if method.raw else request, api.context)
        for message in reply if method.streaming else [reply]:
            encoded = isinstance(message, protos.Encoded)
            protos.to_json(message.message() if encoded else message)

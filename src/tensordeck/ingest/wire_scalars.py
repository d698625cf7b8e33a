"""Scalar points of a write request, found in its bytes with numpy instead of message objects.

Reading points attribute by attribute costs about 1 µs each, more than everything else that a write
does. Every protobuf library writes a scalar point in one form (field numbers in order, shortest
varints), so the reader guesses that form for all points at once and then checks each byte of the
guess; whatever differs in any way is left to the protobuf library. A guess that passes is the only
way to read those bytes, so both readers agree.

    1a LL            point of LL bytes (TimeSeriesData.values)
       0a WW         wall_time of WW bytes
          08 S{5}    seconds: five bytes from 1978 to 3058
          10 N{1,5}  nanos; absent when zero
       10 K{1,8}     step; absent when zero
       1a 09 09 V{8} scalar value; `1a 00` when it is +0.0

Format: https://protobuf.dev/programming-guides/encoding/; messages: `api/vertex.binpb`.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tensordeck.store.contract import ScalarColumns

Words = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.intp]

_PADDING: Final = bytes(288)
"""Lets eight bytes be loaded from any offset that a point's lengths, a byte each, may lead to."""
_HEAD_MASK: Final = np.uint64(0x808080FF00FF00FF)
_HEAD: Final = np.uint64(0x80808008000A001A)
_CONTINUED: Final = np.array(
    [0, *(0x8080808080808080 & ((1 << 8 * (n - 1)) - 1) for n in range(1, 9))], np.uint64
)
"""The high bits of a varint of n bytes: all but the last byte's are set."""
_KEPT: Final = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
_HIGH_BITS: Final = np.uint64(0x8080808080808080)
_SCALAR: Final = np.uint64(0x09091A)
_LONGEST_WALL: Final = 12
_ALL: Final = 2**64 - 1
_NANOS_TAG: Final = np.array([*[_ALL] * 6, 0, _ALL, *[0xFF0000] * 5], np.uint64)
"""By the wall time's length: where the nanos' tag must be; `_ALL`, which never fits, if there is no
such length."""
_STEP_TAG: Final = np.array([0, _ALL, *[0xFF] * 8], np.uint64)
"""By the step's length and one: the same for its tag."""


def read_joined_scalars(
    data: bytes, starts: Sequence[int], ends: Sequence[int]
) -> tuple[ScalarColumns, list[int]] | None:
    """Reads the points of several series into one set of columns.

    Args:
        data: The request, or several behind one another.
        starts: Where the points of each series start: at the first one's tag.
        ends: Where they end. None is empty.

    Returns:
        The columns, and where each series' points end in them; None when some point has another
        form.
    """
    padded = data + _PADDING
    words: Words = np.ndarray((len(padded) - 7,), np.dtype("<u8"), padded, strides=(1,))
    spans = _guess_spans(padded, words, starts, ends) or _walk_spans(data, words, starts, ends)
    if spans is None:
        return None
    columns = _decode(words, spans.starts, spans.scalars, spans.ends)
    if columns is None:
        return None
    return ScalarColumns(*columns), spans.bounds


class _Spans(NamedTuple):
    """The offsets of every point: its tag, its scalar's tag, its end; and each region's count."""

    starts: Indices
    scalars: Indices
    ends: Indices
    bounds: list[int]


def _guess_spans(
    padded: bytes, words: Words, region_starts: Sequence[int], region_ends: Sequence[int]
) -> _Spans | None:
    """Takes every `1a 09 09` for the scalar that ends a point."""
    tags = np.flatnonzero(np.frombuffer(padded, np.uint8) == 0x1A)
    scalars = tags[(words[tags] & np.uint64(0xFFFFFF)) == _SCALAR]
    if not len(scalars):
        return None
    openings, closings = np.array(region_starts, np.intp), np.array(region_ends, np.intp)
    firsts = np.searchsorted(scalars, openings)
    lasts = np.searchsorted(scalars, closings)
    if firsts[0] or lasts[-1] != len(scalars) or (lasts <= firsts).any():
        return None
    ends = scalars + 11
    if (ends[lasts - 1] != closings).any():
        return None
    starts = np.empty_like(ends)
    starts[1:] = ends[:-1]
    starts[firsts] = openings
    if ((words[starts] >> np.uint64(8) & np.uint64(0xFF)) != ends - starts - 2).any():
        return None
    return _Spans(starts, scalars, ends, lasts.tolist())


def _walk_spans(
    data: bytes, words: Words, region_starts: Sequence[int], region_ends: Sequence[int]
) -> _Spans | None:
    """Follows the lengths from point to point: slower, for requests that hold a zero."""
    starts: list[int] = []
    ends: list[int] = []
    bounds: list[int] = []
    for start, end in zip(region_starts, region_ends, strict=True):
        at = start
        while at < end:
            if data[at] != 0x1A or at + 2 > end or (length := data[at + 1]) > 0x7F or length < 10:
                return None
            starts.append(at)
            at += 2 + length
            ends.append(at)
        if at != end:
            return None
        bounds.append(len(starts))
    stops = np.array(ends, np.intp)
    full = (words[stops - 11] & np.uint64(0xFFFFFF)) == _SCALAR
    return _Spans(np.array(starts, np.intp), np.where(full, stops - 11, stops - 2), stops, bounds)


def _decode(
    words: Words, starts: Indices, scalars: Indices, ends: Indices
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]] | None:
    """Decodes points at known offsets, or returns None unless every byte is as expected."""
    head, after = words[starts], words[starts + 8]
    wall_length = (head >> np.uint64(24) & np.uint64(0xFF)).view(np.int64)
    step_at = starts + 4 + wall_length
    step_length = scalars - step_at - 1  # -1 when the field is absent
    if wall_length.max() > _LONGEST_WALL or step_length.min() < -1 or step_length.max() > 8:
        return None

    nanos_length = np.maximum(wall_length - 7, 0)
    nanos = after >> np.uint64(24) & _KEPT[nanos_length]
    varint_length = np.maximum(step_length, 0)
    step = words[step_at + 1] & _KEPT[varint_length]
    wrong = (head & _HEAD_MASK) ^ _HEAD
    wrong |= (after & np.uint64(0x8080)) ^ np.uint64(0x80)
    wrong |= (after ^ np.uint64(0x100000)) & _NANOS_TAG[wall_length]
    wrong |= (nanos & _HIGH_BITS) ^ _CONTINUED[nanos_length]
    wrong |= (words[step_at] ^ np.uint64(0x10)) & _STEP_TAG[step_length + 1]
    wrong |= (step & _HIGH_BITS) ^ _CONTINUED[varint_length]
    whole = ends - scalars == 11
    values = words[scalars + 3]
    if not whole.all():
        wrong |= np.where(whole, 0, (words[scalars] & np.uint64(0xFFFF)) ^ np.uint64(0x1A))
        values = np.where(whole, values, 0)
    if wrong.any():
        return None

    seconds = _join(head >> np.uint64(40) | (after & np.uint64(0xFFFF)) << np.uint64(24))
    nanos = _join(nanos)
    # 9_223_372_036 is the last whole second that int64 nanoseconds hold.
    if nanos.max() > 999_999_999 or seconds.max() >= 9_223_372_036:
        return None
    wall_ns = (seconds * np.uint64(10**9) + nanos).view(np.int64)
    return _join(step).view(np.int64), wall_ns, values.view(np.float64)


def _join(varints: Words) -> Words:
    """Joins the seven-bit groups of varints of up to eight bytes, in three rounds of pairs."""
    x = varints
    x = x & np.uint64(0x007F007F007F007F) | (x & np.uint64(0x7F007F007F007F00)) >> np.uint64(1)
    x = x & np.uint64(0x00003FFF00003FFF) | (x & np.uint64(0x3FFF00003FFF0000)) >> np.uint64(2)
    return x & np.uint64(0x000000000FFFFFFF) | (x & np.uint64(0x0FFFFFFF00000000)) >> np.uint64(4)

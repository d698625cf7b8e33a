# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Reads write requests of plain scalars byte by byte: what `ingest.wire_group` does with numpy where
this module could not be compiled.

It follows the wire format (https://protobuf.dev/programming-guides/encoding/) of
WriteTensorboardExperimentDataRequest and WriteTensorboardRunDataRequest, fields in any order, and
gives up at whatever a protobuf library might read in another way than by taking each field once.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

import numpy as np

cdef enum:
    # Field numbers and wire types: `number << 3 | type`.
    EXPERIMENT_NAME = 0x0A
    EXPERIMENT_RUN = 0x12
    RUN_NAME = 0x0A
    RUN_SERIES = 0x12
    SERIES_ID = 0x0A
    SERIES_TYPE = 0x10
    SERIES_POINT = 0x1A
    POINT_WALL_TIME = 0x0A
    POINT_STEP = 0x10
    POINT_SCALAR = 0x1A
    TIME_SECONDS = 0x08
    TIME_NANOS = 0x10
    SCALAR_VALUE = 0x09
    TYPE_SCALAR = 1
    # The fewest bytes that a point with a wall time and a scalar takes.
    SMALLEST_POINT = 8

cdef int64_t NANOS = 1_000_000_000
# The last whole second that 64 bits of nanoseconds hold.
cdef int64_t LAST_SECOND = 9_223_372_036


cdef class _Columns:
    """Room for the points of a request, and how many have been read.

    Every reader below answers -1 or None when it gives up.
    """

    cdef int64_t* steps
    cdef int64_t* wall_ns
    cdef double* values
    cdef Py_ssize_t count


cdef inline int _varint(const uint8_t** at, const uint8_t* end, uint64_t* value) noexcept nogil:
    """Reads a varint and moves on; -1 if it does not end in time."""
    cdef const uint8_t* p = at[0]
    cdef uint64_t result = 0
    cdef int shift = 0
    cdef uint8_t byte
    while p < end:
        byte = p[0]
        p += 1
        if shift == 63 and byte > 1:
            return -1
        result |= <uint64_t>(byte & 0x7F) << shift
        if byte < 0x80:
            value[0] = result
            at[0] = p
            return 0
        shift += 7
        if shift > 63:
            return -1
    return -1


cdef inline int _length(const uint8_t** at, const uint8_t* end, Py_ssize_t* length) noexcept nogil:
    """Reads the length of a field and moves on; -1 if the field would end outside."""
    cdef uint64_t value
    if at[0] < end and at[0][0] < 0x80:
        value = at[0][0]
        at[0] += 1
    elif _varint(at, end, &value) < 0:
        return -1
    if value > <uint64_t>(end - at[0]):
        return -1
    length[0] = <Py_ssize_t>value
    return 0


cdef int _wall_time(const uint8_t* p, const uint8_t* end, int64_t* wall_ns) noexcept nogil:
    """Reads a google.protobuf.Timestamp."""
    cdef uint64_t seconds = 0, nanos = 0
    cdef bint has_seconds = False, has_nanos = False
    cdef uint8_t tag
    while p < end:
        tag = p[0]
        p += 1
        if tag == TIME_SECONDS and not has_seconds:
            has_seconds = True
            if _varint(&p, end, &seconds) < 0:
                return -1
        elif tag == TIME_NANOS and not has_nanos:
            has_nanos = True
            if _varint(&p, end, &nanos) < 0:
                return -1
        else:
            return -1
    if seconds == 0 or seconds >= <uint64_t>LAST_SECOND or nanos >= <uint64_t>NANOS:
        return -1
    wall_ns[0] = <int64_t>seconds * NANOS + <int64_t>nanos
    return 0


cdef int _point(const uint8_t* p, const uint8_t* end, _Columns columns) noexcept nogil:
    """Reads a TimeSeriesDataPoint that holds a scalar."""
    cdef uint64_t step = 0
    cdef int64_t wall_ns = 0
    cdef double value = 0.0
    cdef bint has_wall = False, has_step = False, has_scalar = False
    cdef Py_ssize_t length
    cdef uint8_t tag
    while p < end:
        tag = p[0]
        p += 1
        if tag == POINT_STEP and not has_step:
            has_step = True
            if _varint(&p, end, &step) < 0:
                return -1
            continue
        if _length(&p, end, &length) < 0:
            return -1
        if tag == POINT_WALL_TIME and not has_wall:
            has_wall = True
            if _wall_time(p, p + length, &wall_ns) < 0:
                return -1
        elif tag == POINT_SCALAR and not has_scalar:
            has_scalar = True
            if length == 9 and p[0] == SCALAR_VALUE:
                memcpy(&value, p + 1, 8)
            elif length != 0:
                return -1
        else:
            return -1
        p += length
    if not has_wall or not has_scalar:
        return -1
    columns.steps[columns.count] = <int64_t>step
    columns.wall_ns[columns.count] = wall_ns
    columns.values[columns.count] = value
    columns.count += 1
    return 0


cdef int _series(const uint8_t* p, const uint8_t* end, _Columns columns, list ids, list counts) except -2:
    """Reads a TimeSeriesData message; one without points leaves no trace, as in `ingest.wire`."""
    cdef Py_ssize_t first = columns.count
    cdef Py_ssize_t length
    cdef uint64_t kind = 0
    cdef const uint8_t* name = NULL
    cdef Py_ssize_t name_length = 0
    cdef bint has_kind = False
    cdef uint8_t tag
    while p < end:
        tag = p[0]
        p += 1
        if tag == SERIES_TYPE and not has_kind:
            has_kind = True
            if _varint(&p, end, &kind) < 0:
                return -1
            continue
        if _length(&p, end, &length) < 0:
            return -1
        if tag == SERIES_POINT:
            if _point(p, p + length, columns) < 0:
                return -1
        elif tag == SERIES_ID and name == NULL:
            name, name_length = p, length
        else:
            return -1
        p += length
    identifier = PyUnicode_DecodeUTF8(<const char*>name, name_length, NULL) if name != NULL else ""
    if columns.count > first:
        if kind != TYPE_SCALAR:
            return -1
        ids.append(identifier)
        counts.append(columns.count - first)
    return 0


cdef object _run(const uint8_t* p, const uint8_t* end, _Columns columns):
    """Reads a WriteTensorboardRunDataRequest: (name, ids, counts, first point, last), or None."""
    cdef Py_ssize_t first = columns.count
    cdef Py_ssize_t length
    cdef uint8_t tag
    name = None
    ids = []
    counts = []
    while p < end:
        tag = p[0]
        p += 1
        if _length(&p, end, &length) < 0:
            return None
        if tag == RUN_SERIES:
            if _series(p, p + length, columns, ids, counts) < 0:
                return None
        elif tag == RUN_NAME and name is None:
            name = PyUnicode_DecodeUTF8(<const char*>p, length, NULL)
        else:
            return None
        p += length
    return name or "", ids, counts, first, columns.count


cdef list _runs(const uint8_t* p, const uint8_t* end, bint whole_experiment, _Columns columns, list names):
    """Reads a request; its experiment's name is added to `names`. None if it has another form."""
    cdef Py_ssize_t length
    cdef uint8_t tag
    if not whole_experiment:
        run = _run(p, end, columns)
        return None if run is None else [run]
    runs = []
    while p < end:
        tag = p[0]
        p += 1
        if _length(&p, end, &length) < 0:
            return None
        if tag == EXPERIMENT_RUN:
            run = _run(p, p + length, columns)
            if run is None:
                return None
            runs.append(run)
        elif tag == EXPERIMENT_NAME and not names:
            names.append(PyUnicode_DecodeUTF8(<const char*>p, length, NULL))
        else:
            return None
        p += length
    return runs


def read_scalars(bytes data not None, bint whole_experiment):
    """Reads a write request that holds plain scalars only.

    Args:
        data: The message.
        whole_experiment: Whether it is a WriteTensorboardExperimentDataRequest, else a
            WriteTensorboardRunDataRequest.

    Returns:
        The experiment's name; for each run its name, its time series' ids, how many points each
        has, and where its points begin and end; and the points of all: steps, wall times (ns) and
        values. None if there is anything else in it, or it is malformed.
    """
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    cdef const uint8_t* start = <const uint8_t*>PyBytes_AS_STRING(data)
    cdef _Columns columns = _Columns()
    # Pages that no point is written to take no memory.
    room = np.empty((3, size // SMALLEST_POINT + 1), np.int64)
    cdef int64_t[:, ::1] words = room
    columns.steps = &words[0, 0]
    columns.wall_ns = &words[1, 0]
    columns.values = <double*>&words[2, 0]
    names = []
    try:
        runs = _runs(start, start + size, whole_experiment, columns, names)
    except UnicodeDecodeError:
        return None
    if runs is None:
        return None
    count = columns.count
    return (
        names[0] if names else "",
        runs,
        room[0, :count],
        room[1, :count],
        room[2, :count].view(np.float64),
    )

# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The columns of journal rows, shortened and gathered in one pass each: what
`store.journal_numpy` does with numpy where this module could not be compiled.

`store.journal` describes the rows.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

import numpy as np

cdef enum:
    WHOLE = 0
    SHORT = 1
    # A row is a matter of some ten microseconds.
    ROWS_AT_ONCE = 64

cdef uint64_t MILLISECOND = 1_000_000
# What a word of 32 bits holds.
cdef uint64_t SPAN = 1 << 32


cdef bint _fits(const int64_t[::1] words, uint64_t unit, int64_t* smallest) noexcept nogil:
    """Whether a column's distances from its smallest word are 32-bit multiples of the unit."""
    cdef int64_t low = words[0], high = words[0]
    cdef Py_ssize_t i
    for i in range(1, words.shape[0]):
        if words[i] < low:
            low = words[i]
        elif words[i] > high:
            high = words[i]
    # The difference of two int64 always fits in 64 bits without a sign.
    if <uint64_t>high - <uint64_t>low >= unit * SPAN:
        return False
    smallest[0] = low
    if unit != 1:
        for i in range(words.shape[0]):
            if (<uint64_t>words[i] - <uint64_t>low) % MILLISECOND:
                return False
    return True


cdef bint _single(const double[::1] values) noexcept nogil:
    """Whether a float32 holds every bit of each value."""
    cdef double again
    cdef Py_ssize_t i
    for i in range(values.shape[0]):
        again = <double><float>values[i]
        if memcmp(&again, &values[i], 8):
            return False
    return True


cdef inline void _put(char* place, uint32_t word) noexcept nogil:
    memcpy(place, &word, 4)


def shorten(const int64_t[::1] steps, const int64_t[::1] wall_ns, const double[::1] values):
    """Packs columns of at least one point, each in the shorter form if it loses nothing.

    Returns:
        The forms of steps, wall times and values; the smallest step and wall time, 0 for a whole
        column; and the columns' bytes.
    """
    cdef Py_ssize_t count = steps.shape[0], i
    cdef int64_t first_step = 0, first_wall = 0
    cdef bint short_steps, short_walls, single
    cdef float value
    with nogil:
        short_steps = _fits(steps, 1, &first_step)
        short_walls = _fits(wall_ns, MILLISECOND, &first_wall)
        single = _single(values)
    content = PyBytes_FromStringAndSize(
        NULL, count * (24 - 4 * (<int>short_steps + <int>short_walls + <int>single))
    )
    cdef char* at = PyBytes_AS_STRING(content)
    if short_steps:
        for i in range(count):
            _put(at + 4 * i, <uint32_t>(<uint64_t>steps[i] - <uint64_t>first_step))
        at += 4 * count
    else:
        first_step = 0
        memcpy(at, &steps[0], 8 * count)
        at += 8 * count
    if short_walls:
        for i in range(count):
            _put(
                at + 4 * i,
                <uint32_t>((<uint64_t>wall_ns[i] - <uint64_t>first_wall) / MILLISECOND),
            )
        at += 4 * count
    else:
        first_wall = 0
        memcpy(at, &wall_ns[0], 8 * count)
        at += 8 * count
    if single:
        for i in range(count):
            value = <float>values[i]
            memcpy(at + 4 * i, &value, 4)
    else:
        memcpy(at, &values[0], 8 * count)
    return (short_steps, short_walls, single), (first_step, first_wall), content


cdef inline int64_t _word(const char* column, Py_ssize_t i, int form) noexcept nogil:
    cdef int64_t word
    cdef uint32_t part
    if form == SHORT:
        memcpy(&part, column + 4 * i, 4)
        return part
    memcpy(&word, column + 8 * i, 8)
    return word


cdef inline double _value(const char* column, Py_ssize_t i, int form) noexcept nogil:
    cdef double value
    cdef float part
    if form == SHORT:
        memcpy(&part, column + 4 * i, 4)
        return part
    memcpy(&value, column + 8 * i, 8)
    return value


cdef class _Layout:
    """Which series a row's chunks are of. The rows of a run are mostly laid out alike."""

    cdef bytes keys
    cdef Py_ssize_t chunks
    cdef object held
    # The slot of each chunk's series; -1 for one that is not wanted.
    cdef const int64_t* slots

    @staticmethod
    cdef _Layout of(const char* keys, Py_ssize_t chunks, dict slots, object wanted):
        """Gives series that come for the first time the next free slot."""
        cdef _Layout self = _Layout.__new__(_Layout)
        cdef int64_t key
        cdef Py_ssize_t chunk
        self.keys = PyBytes_FromStringAndSize(keys, 8 * chunks)
        self.chunks = chunks
        self.held = np.empty(max(chunks, 1), np.int64)
        cdef int64_t[::1] places = self.held
        for chunk in range(chunks):
            memcpy(&key, keys + 8 * chunk, 8)
            if wanted is None or key in wanted:
                places[chunk] = slots.setdefault(key, len(slots))
            else:
                places[chunk] = -1
        self.slots = &places[0]
        return self

    cdef bint holds(self, const char* keys, Py_ssize_t chunks) noexcept:
        """Whether a row's keys are these."""
        return chunks == self.chunks and not memcmp(keys, PyBytes_AS_STRING(self.keys), 8 * chunks)


def gather(list rows not None, wanted):
    """Sorts the points of journal rows by series; within one they stay in the order they came.

    Args:
        rows: `store.journal.Row`s, whose payloads are as long as they say.
        wanted: The series_pk to look for; all when None.

    Returns:
        For each series found, its key, where its points begin and end, the smallest and the largest
        finite value (NaN when there is none), the latest wall time, the last `seq`, and whether
        each step is larger than the one before; and the points of all: steps, wall times (ns),
        values.

    Raises:
        ValueError: If a row's counts do not add up; its `seq` is the argument.
    """
    cdef Py_ssize_t head, chunk, chunks, total, i, place, slot, point
    cdef int64_t count, first_step, first_wall, step, wall, sequence, newest, growing, before
    cdef int step_form, wall_form, value_form
    cdef bytes payload
    cdef bint fresh
    cdef const char* data
    cdef const char* step_column
    cdef const char* wall_column
    cdef const char* value_column
    cdef double value, low, high
    cdef _Layout layout = None
    cdef dict slots = {}
    layouts = []
    sizes = np.zeros(64, np.int64)
    cdef int64_t[::1] size_of = sizes
    for row in rows:
        payload, head, chunks, total = row.payload, row.columns_at, row.chunks, row.points
        data = PyBytes_AS_STRING(payload) + head - 16 * chunks
        if layout is None or not layout.holds(data, chunks):
            layout = _Layout.of(data, chunks, slots, wanted)
            if len(slots) > size_of.shape[0]:
                sizes = np.append(sizes, np.zeros(len(slots), np.int64))
                size_of = sizes
        layouts.append(layout)
        for chunk in range(chunks):
            memcpy(&count, data + 8 * (chunks + chunk), 8)
            if count < 1 or count > total:
                raise ValueError(row.seq)
            total -= count
            if layout.slots[chunk] >= 0:
                size_of[layout.slots[chunk]] += count
        if total:
            raise ValueError(row.seq)
    cdef Py_ssize_t found = len(slots)
    points = int(sizes.sum())
    room = np.empty((2, points), np.int64)
    room_values = np.empty(points, np.float64)
    if not found:
        return [], room[0], room[1], room_values
    order = sorted(slots.items())
    # For each series: where its points begin, and where its next one goes.
    bounds = np.zeros((2, found), np.int64)
    latest = np.zeros((3, found), np.int64)
    extremes = np.full((2, found), np.nan)
    cdef int64_t[:, ::1] words = room
    cdef double[::1] values = room_values
    cdef int64_t[:, ::1] places = bounds
    cdef int64_t[:, ::1] last = latest
    cdef double[:, ::1] limits = extremes
    place = 0
    for _, slot in order:
        places[0, slot] = places[1, slot] = place
        place += size_of[slot]
        last[0, slot] = -1 - <int64_t>0x7FFFFFFFFFFFFFFF
        last[2, slot] = 1
    for number, row in enumerate(rows):
        if number % ROWS_AT_ONCE == ROWS_AT_ONCE - 1:
            with nogil:  # folding is in no hurry, other threads may be
                pass
        payload, head, chunks, total = row.payload, row.columns_at, row.chunks, row.points
        step_form, wall_form, value_form = row.forms
        first_step, first_wall, sequence = row.first_step, row.first_wall, row.seq
        data = PyBytes_AS_STRING(payload)
        step_column = data + head
        wall_column = step_column + total * (4 if step_form == SHORT else 8)
        value_column = wall_column + total * (4 if wall_form == SHORT else 8)
        if step_form != SHORT:
            first_step = 0
        data += head - 16 * chunks
        layout = layouts[number]
        point = 0
        for chunk in range(chunks):
            memcpy(&count, data + 8 * (chunks + chunk), 8)
            slot = layout.slots[chunk]
            if slot < 0:
                point += count
                continue
            place = places[1, slot]
            fresh = place == places[0, slot]
            # In locals: the compiler can't know that the columns lie elsewhere.
            low, high, newest, growing = limits[0, slot], limits[1, slot], last[0, slot], last[2, slot]
            before = 0 if fresh else words[0, place - 1]
            for i in range(point, point + count):
                step = <int64_t>(<uint64_t>_word(step_column, i, step_form) + <uint64_t>first_step)
                wall = _word(wall_column, i, wall_form)
                if wall_form == SHORT:
                    wall = <int64_t>(<uint64_t>wall * MILLISECOND + <uint64_t>first_wall)
                value = _value(value_column, i, value_form)
                if not fresh and step <= before:
                    growing = 0
                fresh = False
                before = step
                words[0, place] = step
                words[1, place] = wall
                values[place] = value
                place += 1
                if wall > newest:
                    newest = wall
                if isfinite(value):
                    # Not `value >= low`, which NaN would answer with no.
                    if not low <= value:
                        low = value
                    if not high >= value:
                        high = value
            limits[0, slot], limits[1, slot], last[0, slot], last[2, slot] = low, high, newest, growing
            places[1, slot] = place
            last[1, slot] = sequence
            point += count
    starts, ends = bounds.tolist()
    lowest, highest = extremes.tolist()
    walls, sequences, ascending = latest.tolist()
    series = [
        (
            key,
            starts[slot],
            ends[slot],
            lowest[slot],
            highest[slot],
            walls[slot],
            sequences[slot],
            bool(ascending[slot]),
        )
        for key, slot in order
    ]
    return series, room[0], room[1], room_values

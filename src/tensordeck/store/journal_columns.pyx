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
    SHORT = 1
    REPEATED = 2
    # A row is a matter of some ten microseconds.
    ROWS_AT_ONCE = 64

cdef uint64_t MILLISECOND = 1_000_000
# What a word of 32 bits holds.
cdef uint64_t SPAN = 1 << 32


cdef inline Py_ssize_t _period(const int64_t[::1] words, Py_ssize_t chunk) noexcept nogil:
    """How many words a column has before it repeats them: one chunk's, or all."""
    cdef Py_ssize_t rest = words.shape[0] - chunk
    return chunk if rest > 0 and not memcmp(&words[0], &words[chunk], 8 * rest) else words.shape[0]


cdef bint _fits(
    const int64_t[::1] words, Py_ssize_t count, uint64_t unit, int64_t* smallest
) noexcept nogil:
    """Whether the first words' distances from the smallest are 32-bit multiples of the unit."""
    cdef int64_t low = words[0], high = words[0]
    cdef Py_ssize_t i
    for i in range(1, count):
        if words[i] < low:
            low = words[i]
        elif words[i] > high:
            high = words[i]
    # The difference of two int64 always fits in 64 bits without a sign.
    if <uint64_t>high - <uint64_t>low >= unit * SPAN:
        return False
    smallest[0] = low
    if unit != 1:
        for i in range(count):
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


def shorten(
    const int64_t[::1] steps,
    const int64_t[::1] wall_ns,
    const double[::1] values,
    Py_ssize_t chunk,
):
    """Packs columns of at least one point, each in the shorter form if it loses nothing.

    Args:
        steps: A word a point.
        wall_ns: The same.
        values: The same.
        chunk: After how many points steps and wall times may begin again; at least 1.

    Returns:
        The forms of steps, wall times and values; the smallest step and wall time, 0 for a whole
        column; and the columns' bytes.
    """
    cdef Py_ssize_t count = steps.shape[0], i, step_words, wall_words
    cdef int64_t first_step = 0, first_wall = 0
    cdef bint short_steps, short_walls, single
    cdef float value
    with nogil:
        step_words = _period(steps, chunk)
        wall_words = _period(wall_ns, chunk)
        short_steps = _fits(steps, step_words, 1, &first_step)
        short_walls = _fits(wall_ns, wall_words, MILLISECOND, &first_wall)
        single = _single(values)
    content = PyBytes_FromStringAndSize(
        NULL,
        step_words * (4 if short_steps else 8)
        + wall_words * (4 if short_walls else 8)
        + count * (4 if single else 8),
    )
    cdef char* at = PyBytes_AS_STRING(content)
    if short_steps:
        for i in range(step_words):
            _put(at + 4 * i, <uint32_t>(<uint64_t>steps[i] - <uint64_t>first_step))
        at += 4 * step_words
    else:
        first_step = 0
        memcpy(at, &steps[0], 8 * step_words)
        at += 8 * step_words
    if short_walls:
        for i in range(wall_words):
            _put(
                at + 4 * i,
                <uint32_t>((<uint64_t>wall_ns[i] - <uint64_t>first_wall) / MILLISECOND),
            )
        at += 4 * wall_words
    else:
        first_wall = 0
        memcpy(at, &wall_ns[0], 8 * wall_words)
        at += 8 * wall_words
    if single:
        for i in range(count):
            value = <float>values[i]
            memcpy(at + 4 * i, &value, 4)
    else:
        memcpy(at, &values[0], 8 * count)
    forms = (
        <int>short_steps | (REPEATED if step_words < count else 0),
        <int>short_walls | (REPEATED if wall_words < count else 0),
        <int>single,
    )
    return forms, (first_step, first_wall), content


cdef inline int64_t _word(const char* column, Py_ssize_t i, int form) noexcept nogil:
    cdef int64_t word
    cdef uint32_t part
    if form & SHORT:
        memcpy(&part, column + 4 * i, 4)
        return part
    memcpy(&word, column + 8 * i, 8)
    return word


cdef inline double _value(const char* column, Py_ssize_t i, int form) noexcept nogil:
    cdef double value
    cdef float part
    if form & SHORT:
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
    cdef Py_ssize_t head, chunk, chunks, total, i, place, slot, point, step_words, wall_words, each
    cdef int64_t count, first_step, first_wall, step, wall, sequence, newest, growing, before
    cdef int step_form, wall_form, value_form
    cdef bytes payload
    cdef bint fresh
    cdef const char* data
    cdef const char* step_column
    cdef const char* wall_column
    cdef const char* value_column
    cdef const char* chunk_steps
    cdef const char* chunk_walls
    cdef const char* chunk_values
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
        step_form, wall_form, _ = row.forms
        each = total // chunks if (step_form | wall_form) & REPEATED else 0
        for chunk in range(chunks):
            memcpy(&count, data + 8 * (chunks + chunk), 8)
            if count < 1 or count > total or (each and count != each):
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
        step_words = total // chunks if step_form & REPEATED else total
        wall_words = total // chunks if wall_form & REPEATED else total
        step_column = data + head
        wall_column = step_column + step_words * (4 if step_form & SHORT else 8)
        value_column = wall_column + wall_words * (4 if wall_form & SHORT else 8)
        if not step_form & SHORT:
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
            chunk_steps, chunk_walls = step_column, wall_column
            if not step_form & REPEATED:
                chunk_steps += point * (4 if step_form & SHORT else 8)
            if not wall_form & REPEATED:
                chunk_walls += point * (4 if wall_form & SHORT else 8)
            chunk_values = value_column + point * (4 if value_form & SHORT else 8)
            for i in range(count):
                step = <int64_t>(<uint64_t>_word(chunk_steps, i, step_form) + <uint64_t>first_step)
                wall = _word(chunk_walls, i, wall_form)
                if wall_form & SHORT:
                    wall = <int64_t>(<uint64_t>wall * MILLISECOND + <uint64_t>first_wall)
                value = _value(chunk_values, i, value_form)
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

"""Points against a dict: random writes, rewrites, folds, deletions and reopenings."""

import atexit
import contextlib
import math
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tensordeck.store.resources import TimeSeries
from tests.store.points_place import EXPERIMENT, Key, open_place, scalars

SERIES = 3
STEPS = st.one_of(st.integers(-5, 60), st.sampled_from([-(2**63), 2**63 - 1, 2**40]))
VALUES = st.one_of(st.floats(width=32), st.floats())
WRITES = st.lists(st.tuples(STEPS, VALUES), min_size=1, max_size=20)


@cache
def prepared() -> tuple[Path, list[Key]]:
    """A closed store with one run, to copy: making it anew takes longer than an example."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    with open_place(folder) as place:
        place.make_experiment()
        return folder, place.make_run("r", SERIES)


class PointsModel(RuleBasedStateMachine):
    """The store next to what it should hold."""

    @initialize()
    def start(self):
        template, self.keys = prepared()
        self.folder = Path(tempfile.mkdtemp())
        shutil.copytree(template, self.folder, dirs_exist_ok=True)
        self.stack = contextlib.ExitStack()
        self.place = self.stack.enter_context(open_place(self.folder))
        self.points = [dict[int, float]() for _ in range(SERIES)]
        self.written = [list[float]() for _ in range(SERIES)]
        self.alive = set(range(SERIES))
        self.next_step = 0
        self.version = 0

    def write(self, parts):
        """Appends [(series number, [(step, value)])] in one request."""
        self.place.points.append(
            [
                scalars(self.keys[number], *map(list, zip(*points, strict=True)))
                for number, points in parts
            ]
        )
        for number, points in parts:
            if number in self.alive:
                self.points[number].update(points)
                self.written[number] += [value for _, value in points]
        version = self.place.points.run_versions([self.keys[0][0]])[self.keys[0][0]]
        assert version > self.version
        self.version = version

    @rule(parts=st.lists(st.tuples(st.integers(0, SERIES - 1), WRITES), min_size=1, max_size=3))
    def write_anywhere(self, parts):
        self.write(parts)

    @rule(number=st.integers(0, SERIES - 1), count=st.integers(1, 30), value=VALUES)
    def write_behind(self, number, count, value):
        """The usual case: steps that go on where the last request ended."""
        steps = range(self.next_step, self.next_step + count)
        self.next_step += count
        self.write([(number, [(step, value) for step in steps])])

    @rule()
    def fold(self):
        self.place.points.fold()
        assert self.place.points.fold() == 0

    @rule()
    def reopen(self):
        self.stack.close()
        self.place = self.stack.enter_context(open_place(self.folder))

    @rule(number=st.integers(0, SERIES - 1))
    def delete_series(self, number):
        if number in self.alive:
            self.place.catalog.delete(TimeSeries, f"{EXPERIMENT}/runs/r/timeSeries/{number}")
            self.alive.remove(number)

    @invariant()
    def holds_what_was_written(self):
        columns = self.place.points.read_scalars(self.keys)
        summaries = self.place.points.summaries(self.keys)
        for number in self.alive:
            key = self.keys[number][1]
            expected = sorted(self.points[number].items())
            found = columns[key]
            assert found.steps.tolist() == [step for step, _ in expected]
            values = np.array([value for _, value in expected], np.float64)
            assert found.values.view(np.int64).tolist() == values.view(np.int64).tolist()
            summary = summaries[key]
            assert summary.count == len(expected)
            if expected:
                assert summary.max_step == expected[-1][0]
                assert np.array_equal(summary.last, expected[-1][1], equal_nan=True)
            finite = [value for value in self.written[number] if math.isfinite(value)]
            if finite:
                assert (summary.minimum, summary.maximum) == (min(finite), max(finite))
            else:
                assert math.isnan(summary.minimum)

    @invariant()
    def version_stays(self):
        run = self.keys[0][0]
        assert self.place.points.run_versions([run])[run] == self.version

    def teardown(self):
        if hasattr(self, "stack"):
            self.stack.close()
            shutil.rmtree(self.folder)


TestPointsModel = PointsModel.TestCase
TestPointsModel.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

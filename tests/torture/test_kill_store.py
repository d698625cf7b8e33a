"""kill -9 of a process that writes and folds: what it acknowledged is there, once and unaltered."""

import itertools
import multiprocessing
import os
import random
import threading
import time
from pathlib import Path

import pytest

from tests.store.points_place import EAGER, open_place, scalars

KILLS = 50
THREADS = 4
SERIES = 3
POINTS = 7
REWRITTEN = -1


def value_of(number: int, series: int, step: int) -> float:
    return number * 1000.5 + series * 7 + step / 8


def steps_of(number: int) -> range:
    return range(number * POINTS, number * POINTS + POINTS)


def request_of(keys, number):
    """A request's points follow from its number; a thread's requests all write one step too."""
    batch = []
    for series, key in enumerate(keys):
        steps = list(steps_of(number))
        batch.append(scalars(key, steps, [value_of(number, series, step) for step in steps]))
    batch.append(scalars(keys[0], [REWRITTEN - number % THREADS], [number]))
    return batch


def check(place, keys, acknowledged: set[int], last_number: int) -> None:
    columns = place.points.read_scalars(keys)
    summaries = place.points.summaries(keys)
    found = []
    for series, key in enumerate(keys):
        one = columns[key[1]]
        steps = one.steps.tolist()
        assert len(set(steps)) == len(steps), "a step is there twice"
        assert summaries[key[1]].count == len(steps)
        points = dict(zip(steps, one.values.tolist(), strict=True))
        whole = set()
        for number in {step // POINTS for step in steps if step >= 0}:
            assert number <= last_number + THREADS
            there = [points.pop(step) for step in steps_of(number)]
            assert there == [value_of(number, series, step) for step in steps_of(number)]
            whole.add(number)
        found.append(whole)
        for step, value in points.items():
            thread = REWRITTEN - step
            assert value == max(n for n in whole if n % THREADS == thread)
    assert all(whole == found[0] for whole in found), "a request was written in part"
    assert acknowledged <= found[0], "an acknowledged request is gone"


def write_until_killed(folder: Path, keys, begin: int, tell: int) -> None:
    """Writes from several threads; says the number of each acknowledged request."""
    with open_place(folder, EAGER, segment_points=64) as place:

        def work(thread):
            for number in itertools.count(begin + thread, THREADS):
                place.points.append(request_of(keys, number))
                os.write(tell, b"%d\n" % number)

        for thread in range(THREADS):
            threading.Thread(target=work, args=(thread,), daemon=True).start()
        threading.Event().wait()


@pytest.mark.torture
@pytest.mark.timeout(1200)
def test_acknowledged_points_survive_kill_9(tmp_path):
    rng = random.Random(7)
    with open_place(tmp_path) as place:
        place.make_experiment()
        keys = place.make_run("r", SERIES)
    acknowledged: set[int] = set()
    begin = 0
    fork = multiprocessing.get_context("fork")  # no store is open here, so no thread is lost
    for _ in range(KILLS):
        listen, tell = os.pipe()
        writer = fork.Process(target=write_until_killed, args=(tmp_path, keys, begin, tell))
        writer.start()
        os.close(tell)
        with os.fdopen(listen) as told:
            acknowledged.add(int(told.readline()))
            # A random moment of the writer's life is what this test is about.
            time.sleep(rng.uniform(0, 0.3))
            writer.kill()
            writer.join()
            acknowledged.update(int(line) for line in told if line.endswith("\n"))
        last = max(acknowledged)
        begin = (last // THREADS + 2) * THREADS
        with open_place(tmp_path) as place:
            check(place, keys, acknowledged, last)
    with open_place(tmp_path) as place:
        place.points.fold()
        check(place, keys, acknowledged, begin)
    assert len(acknowledged) > KILLS

"""What is remembered to save time takes a bounded amount of memory."""

import gc
import os
import platform
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Callable

import pytest

from tensordeck import names
from tensordeck.board.replies import KeptAnswers, data_reply
from tensordeck.services.concurrent_writes import HandedOut
from tensordeck.store.resources import Context
from tests.store.points_place import NEVER, open_place

MIB = 2**20
RUN = "projects/p/locations/us-central1/tensorboards/1/experiments/e/runs/r{}"


def kept(work: Callable[[int], object], times: int) -> int:
    """Bytes that are still held after a piece of work was done so many times."""
    work(0)
    gc.collect()
    tracemalloc.start()
    try:
        for i in range(1, times):
            work(i)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_names_that_were_seen():
    assert kept(lambda i: names.parse(RUN.format(i), names.RUN), 20_000) < 5 * MIB


def test_answers_of_boards_however_small():
    answers = KeptAnswers(capacity=MIB)

    def ask(i: int) -> None:
        answers.get((f"state {i}", "data/plugin/scalars"), lambda: data_reply(b"[]", ""))

    assert kept(ask, 5_000) < 2 * MIB


def test_contexts_that_were_handed_out():
    handed_out = HandedOut()

    def hand_out(i: int) -> None:
        name = f"projects/p/locations/us-central1/metadataStores/default/contexts/c{i}"
        handed_out.remember(Context(name=name, metadata={}, labels={}), f"etag {i}", 0)

    assert kept(hand_out, 20_000) < 6 * MIB


def test_statements_about_ever_other_keys(tmp_path):
    """Python keeps a connection's statements by their text, whose keys may be thousands."""
    with open_place(tmp_path, NEVER) as place:
        place.make_experiment()
        runs = [place.make_run(f"r{i}", 2) for i in range(40)]

        def statements_after(runs: list[list[tuple[int, int]]]) -> int:
            for first, run in enumerate(runs):
                place.write(run[0], [1], [0.5])
                chosen = [key for run in runs[first:] for key in run]
                place.points.summaries(chosen)
                place.points.read_scalars(chosen)
                place.points.sample_scalars(chosen, 1)
            return sum(type(one).__name__ == "Statement" for one in gc.get_objects())

        before = statements_after(runs[:20])
        assert statements_after(runs[20:]) < before + 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="arenas are glibc's")
@pytest.mark.parametrize(("variables", "most"), [({}, 1), ({"MALLOC_ARENA_MAX": "3"}, 3)])
def test_free_memory_of_threads(variables, most):
    """Eight threads share a server's one arena, unless its environment says otherwise."""
    program = """
        import ctypes, threading
        from tensordeck.startup import lean_start
        together = threading.Barrier(9)
        def allocate():
            kept = [bytes(1000 + i) for i in range(50)]
            together.wait()
            together.wait()
        with lean_start():
            for _ in range(8):
                threading.Thread(target=allocate, daemon=True).start()
            together.wait()
            libc = ctypes.CDLL(None)
            libc.fopen.restype = ctypes.c_void_p
            out = libc.fopen(b"/dev/stdout", b"w")
            libc.malloc_info(0, ctypes.c_void_p(out))
            libc.fclose(ctypes.c_void_p(out))
            together.wait()
    """
    environment = {
        k: v for k, v in os.environ.items() if k not in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")
    }
    report = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert report.count("<heap nr=") == most

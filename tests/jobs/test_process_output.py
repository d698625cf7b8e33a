"""What a process prints becomes lines of the log, whatever it is."""

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensordeck.jobs import job_log
from tensordeck.jobs.job_log import LogWriter, Severity
from tensordeck.jobs.printed_lines import LINE_BYTES
from tensordeck.jobs.process.output import OutputPipe


def _logged(folder: Path, chunks: Sequence[bytes]) -> list[str]:
    """What the log has after a process has written chunks and closed its output."""
    reading, writing = os.pipe()
    with LogWriter(folder, "a") as log:
        pipe = OutputPipe(reading, log, Severity.INFO)
        os.set_blocking(writing, False)
        for chunk in chunks:
            left = chunk
            while left:
                left = left[os.write(writing, left[:65_536]) :]
                assert pipe.read()
        os.close(writing)
        while pipe.read():
            pass
        pipe.close()
    return [line.text for line in job_log.read(folder, limit=100_000).lines]


@pytest.mark.parametrize(
    ("printed", "logged"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"no newline at the end", ["no newline at the end"]),
        (b"\n\n", ["", ""]),
        (b"windows\r\nlines\r\n", ["windows", "lines"]),
        (b"\x1b[1;31mred\x1b[0m\x07\n", ["red"]),
        (b"\x1b]0;title\x07text\n", ["text"]),
        (b" 1/2 [==]\r 2/2 [====]\n", [" 2/2 [====]"]),
        (b"1/2\x08\x08\x08\x08\r2/2\n", ["2/2"]),
        (b"tab\tstays\n", ["tab\tstays"]),
        ("Grüße 😀\n".encode(), ["Grüße 😀"]),
        (b"\xff\xfe junk \x00\x01\n", ["\ufffd\ufffd junk \ufffd\ufffd"]),
        ("a C1 \x9b control\n".encode(), ["a C1 \ufffd control"]),
    ],
)
def test_a_line_is_what_a_terminal_would_show(
    tmp_path: Path, printed: bytes, logged: list[str]
) -> None:
    assert _logged(tmp_path, [printed]) == logged


def test_a_progress_bar_that_never_ends_its_line_takes_no_memory(tmp_path: Path) -> None:
    bars = [b"\r%d/100000 " % number + b"=" * 100 for number in range(10_000)]
    assert _logged(tmp_path, [*bars, b"\n"]) == ["9999/100000 " + "=" * 100]


def test_a_very_long_line_is_cut_and_says_so(tmp_path: Path) -> None:
    long = b"x" * (3 * LINE_BYTES)
    note = f" [{2 * LINE_BYTES} more bytes of this line]"
    expected = "x" * LINE_BYTES + note
    assert _logged(tmp_path / "one", [b"a\n" + long + b"\nb\n"]) == ["a", expected, "b"]
    pieces = [long[:1000], long[1000:50_000], long[50_000:], b"\nb"]
    assert _logged(tmp_path / "pieces", pieces) == [expected, "b"]
    assert _logged(tmp_path / "end", [long]) == [expected]


@given(
    lines=st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)),
    cuts=st.lists(st.integers(0, 300)),
)
def test_it_does_not_matter_how_output_is_cut_into_pieces(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], cuts: list[int]
) -> None:
    data = "".join(f"{line}\n" for line in lines).encode()
    places = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    chunks = [data[begin:end] for begin, end in pairwise(places)]
    assert _logged(tmp_path_factory.mktemp("logs"), chunks) == lines


@given(st.lists(st.binary(max_size=100)))
def test_anything_can_be_printed(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes]
) -> None:
    data = b"".join(chunks)
    logged = _logged(tmp_path_factory.mktemp("logs"), chunks)
    assert len(logged) == len(data.removesuffix(b"\n").split(b"\n")) if data else not logged
    assert not any(ord(letter) < 0x20 and letter != "\t" for text in logged for letter in text)

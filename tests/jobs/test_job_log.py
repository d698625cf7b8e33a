"""The log of a job: appended by some, read by others, bounded on disk."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensordeck.errors import InvalidArgument
from tensordeck.jobs import job_log
from tensordeck.jobs.job_log import LogWriter, Severity

SMALL = {"head_bytes": 2000, "tail_bytes": 4000, "segment_bytes": 1000}


def _texts(folder: Path, **how: object) -> list[str]:
    return [line.text for line in job_log.read(folder, **how).lines]  # type: ignore[arg-type]


def test_lines_of_all_replicas_come_in_the_order_of_time(tmp_path: Path) -> None:
    with LogWriter(tmp_path, "workerpool0-0") as chief, LogWriter(tmp_path, "service") as service:
        service.append("preparing")
        chief.append("one\ntwo")
        service.append("warned", Severity.WARNING)
        chief.append("three", Severity.ERROR)
    page = job_log.read(tmp_path)
    assert [(line.replica, line.severity, line.text) for line in page.lines] == [
        ("service", "INFO", "preparing"),
        ("workerpool0-0", "INFO", "one"),
        ("workerpool0-0", "INFO", "two"),
        ("service", "WARNING", "warned"),
        ("workerpool0-0", "ERROR", "three"),
    ]
    assert [line.time_ns for line in page.lines] == sorted(line.time_ns for line in page.lines)
    assert job_log.replicas(tmp_path) == ["service", "workerpool0-0"]


def test_a_reader_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with LogWriter(tmp_path, "a") as first, LogWriter(tmp_path, "b") as second:
        first.append("1\n2\n3")
        page = job_log.read(tmp_path, limit=2)
        assert [line.text for line in page.lines] == ["1", "2"]
        second.append("4")
        first.append("5")
        rest = job_log.read(tmp_path, page.cursor)
        assert [line.text for line in rest.lines] == ["3", "4", "5"]
        empty = job_log.read(tmp_path, rest.cursor)
        assert empty == ([], rest.cursor)
        second.append("6")
        assert _texts(tmp_path, after=rest.cursor) == ["6"]


@given(
    pages=st.lists(st.integers(1, 7), min_size=30, max_size=30),
    batches=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5)), max_size=20),
)
def test_pages_of_any_size_hold_every_line_once(
    tmp_path_factory: pytest.TempPathFactory, pages: list[int], batches: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    writers = {name: LogWriter(folder, name) for name in "abc"}
    written = []
    for number, (name, count) in enumerate(batches):
        texts = [f"{name} {number} {index}" for index in range(count)]
        writers[name].append("\n".join(texts))
        written += texts
    cursor, read = "", []
    for limit in pages:
        page = job_log.read(folder, cursor, limit)
        cursor = page.cursor
        read += [line.text for line in page.lines]
    assert read == written[: sum(pages)]
    for writer in writers.values():
        writer.close()


@given(text=st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=200))
def test_a_line_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    with LogWriter(folder, "a") as writer:
        writer.append(text)
    assert _texts(folder) == [text]


def test_a_long_log_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    with LogWriter(tmp_path, "a", **SMALL) as writer:
        for number in range(1000):
            writer.append(f"line {number}")
    texts = _texts(tmp_path, limit=10_000)
    assert texts[:3] == ["line 0", "line 1", "line 2"]
    assert texts[-2:] == ["line 998", "line 999"]
    [gap] = [index for index, text in enumerate(texts) if "bytes of output are left out" in text]
    before, after = int(texts[gap - 1].split()[1]), int(texts[gap + 1].split()[1])
    assert texts[:gap] == [f"line {number}" for number in range(before + 1)]
    assert texts[gap + 1 :] == [f"line {number}" for number in range(after, 1000)]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 8000


def test_a_reader_that_was_overtaken_is_told_what_it_missed(tmp_path: Path) -> None:
    with LogWriter(tmp_path, "a", **SMALL) as writer:
        for number in range(100):
            writer.append(f"line {number}")
        page = job_log.read(tmp_path, limit=90)
        for number in range(100, 1000):
            writer.append(f"line {number}")
    first, second, *_ = job_log.read(tmp_path, page.cursor).lines
    assert first.severity is Severity.WARNING
    assert "left out" in first.text
    assert int(second.text.split()[1]) > 800
    assert first.position < second.position


def test_reading_since_a_time_begins_there(tmp_path: Path) -> None:
    with LogWriter(tmp_path, "a", **SMALL) as writer:
        for number in range(60):
            writer.append(f"line {number}")
    lines = job_log.read(tmp_path).lines
    since = lines[40].time_ns
    assert _texts(tmp_path, since_ns=since) == [
        line.text for line in lines if line.time_ns >= since
    ]
    assert _texts(tmp_path, since_ns=lines[-1].time_ns + 1) == []


def test_the_last_lines_are_found_across_segments(tmp_path: Path) -> None:
    assert job_log.last(tmp_path, "a", 5) == []
    with LogWriter(tmp_path, "a", **SMALL) as writer:
        for number in range(100):
            writer.append(f"line {number}")
    lines = job_log.read(tmp_path, limit=10_000).lines
    for count in (0, 1, 5, 40):
        assert job_log.last(tmp_path, "a", count) == lines[len(lines) - count :]


def test_a_line_that_was_cut_by_a_crash_stays_alone(tmp_path: Path) -> None:
    with LogWriter(tmp_path, "a") as writer:
        writer.append("whole")
        writer.append("about to be cut")
    [segment] = tmp_path.glob("*.log")
    os.truncate(segment, segment.stat().st_size - 8)
    assert _texts(tmp_path) == ["whole"]
    with LogWriter(tmp_path, "a") as writer:
        writer.append("after")
    assert _texts(tmp_path) == ["whole", "about to", "after"]


def test_a_line_that_was_cut_at_the_end_of_a_segment_is_no_gap(tmp_path: Path) -> None:
    with LogWriter(tmp_path, "a", segment_bytes=10) as writer:
        writer.append("a line that a full disk has cut")
    [segment] = tmp_path.glob("*.log")
    os.truncate(segment, segment.stat().st_size - 9)
    with LogWriter(tmp_path, "a", segment_bytes=10) as writer:
        writer.append("next")
    assert _texts(tmp_path) == ["a line that a full disk", "next"]


def test_a_full_disk_loses_lines_and_says_how_many(tmp_path: Path) -> None:
    segment = tmp_path / f"a.{0:012d}.log"
    segment.symlink_to("/dev/full")
    with LogWriter(tmp_path, "a") as writer:
        writer.append("lost\nlost, too")
        writer.append("lost as well")
        segment.unlink()
        writer.append("there is room again")
        writer.append("as ever")
    assert _texts(tmp_path) == [
        "[3 lines could not be written: the disk was full]",
        "there is room again",
        "as ever",
    ]


def test_several_writers_share_a_stream(tmp_path: Path) -> None:
    with LogWriter(tmp_path, "a", **SMALL) as one, LogWriter(tmp_path, "a", **SMALL) as other:
        for number in range(40):
            (one if number % 2 else other).append(f"line {number}")
    assert _texts(tmp_path) == [f"line {number}" for number in range(40)]


def test_a_cursor_of_somebody_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="no place in a job's log"):
        job_log.read(tmp_path, "workerpool0-0")


def test_there_may_be_no_log_yet(tmp_path: Path) -> None:
    assert job_log.read(tmp_path / "none") == ([], "")

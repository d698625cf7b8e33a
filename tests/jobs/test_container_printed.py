"""What `docker logs --timestamps` gives, on its way into a job's log."""

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tensordeck.jobs.container.printed import StampedLines, nanoseconds
from tensordeck.jobs.job_log import LogWriter, read
from tensordeck.jobs.printed_lines import PrintedLines

SECOND = 1_000_000_000
BEGIN = 1_700_000_000


def stamp(number: int) -> bytes:
    """The time of a line, one every quarter of a second."""
    minutes, quarters = divmod(number, 240)
    return b"2023-11-14T22:%02d:%02d.%09dZ" % (
        13 + minutes, 20 + quarters // 4, quarters % 4 * SECOND // 4,
    )  # fmt: skip


def printed(folder: Path, pieces: list[bytes], since: str = "") -> tuple[list[str], StampedLines]:
    with LogWriter(folder, "workerpool0-0") as log:
        stream = StampedLines(PrintedLines(log, "INFO"), since)
        for piece in pieces:
            stream.take(piece)
    return [line.text for line in read(folder, limit=10_000).lines], stream


texts = st.lists(
    st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"])), max_size=40
)


@given(texts, st.lists(st.integers(0, 4000), max_size=8), st.data())
def test_however_it_is_cut_it_becomes_the_same_lines(tmp_path_factory, lines, cuts, data):
    stream = b"".join(stamp(n) + b" " + text.encode() + b"\n" for n, text in enumerate(lines))
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    pieces = [stream[a:b] for a, b in pairwise(places)]
    folder = tmp_path_factory.mktemp("logs")

    found, reader = printed(folder, pieces)
    assert found == lines
    assert reader.stamp == (stamp(len(lines) - 1).decode() if lines else "")

    # Another reader leaves out what is known, wherever the first one stopped.
    known = data.draw(st.integers(0, len(lines)))
    since = stamp(known - 1).decode() if known else ""
    assert printed(tmp_path_factory.mktemp("rest"), [stream], since)[0] == lines[known:]


def test_lines_have_the_times_at_which_they_were_printed(tmp_path):
    folder = tmp_path / "logs"
    printed(folder, [stamp(0) + b" first\n" + stamp(9) + b" tenth\n"])

    times = [line.time_ns for line in read(folder).lines]

    assert times == [BEGIN * SECOND, BEGIN * SECOND + 9 * SECOND // 4]


def test_a_long_line_that_comes_in_parts_is_one_line(tmp_path):
    part = stamp(0) + b" " + b"x" * 16_384

    found, _ = printed(tmp_path / "logs", [part, part, stamp(0) + b" end\n", stamp(1) + b" next\n"])

    assert found == ["x" * 32_768 + " [3 more bytes of this line]", "next"]


def test_a_line_without_end_fills_no_memory(tmp_path):
    part = stamp(0) + b" " + b"x" * 16_384

    found, _ = printed(tmp_path / "logs", [part] * 200 + [b"\n", stamp(1) + b" next\n"])

    assert found[0].startswith("x" * 1000)
    assert "2023" not in found[0]
    assert len(found[0]) < 33_000
    assert found[1] == "next"


def test_what_the_engine_itself_says_is_no_line_of_the_job(tmp_path):
    found, stream = printed(tmp_path / "logs", [b"Error response from daemon: gone\n"])

    assert found == []
    assert stream.complaint == "Error response from daemon: gone"


def test_times_are_understood_as_docker_and_podman_write_them():
    assert nanoseconds(b"2023-11-14T22:13:20.000000001Z") == BEGIN * SECOND + 1
    assert nanoseconds(b"2023-11-15T00:13:20.5+02:00") == BEGIN * SECOND + SECOND // 2
    assert nanoseconds(b"2023-11-14T22:13:20Z") == BEGIN * SECOND
    assert nanoseconds(b"0001-01-01T00:00:00Z") == 0
    assert nanoseconds(b"yesterday") == 0

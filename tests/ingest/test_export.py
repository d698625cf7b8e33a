"""Exports of what was uploaded, in each format, against what was logged."""

import csv
import io
import json
import math
from dataclasses import replace

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboardX import SummaryWriter

from tensordeck.errors import FailedPrecondition, InvalidArgument, NotFound
from tensordeck.ingest.export import export
from tensordeck.ingest.tables import COLUMNS, FORMATS, Rows, open_table
from tensordeck.ingest.uploader import upload
from tests.ingest.sample_logs import write

VALUES = [1.5, -0.0, math.inf, -math.inf, math.nan]


def read_csv(data):
    rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    return [
        {**row, "step": int(row["step"]), "value": float(row["value"]), "wall_time": None}
        for row in rows
    ]


def read_jsonl(data):
    rows = [json.loads(line) for line in data.decode().split("\n") if line]
    return [{**row, "value": float(row["value"]), "wall_time": None} for row in rows]


def read_parquet(data):
    table = pyarrow.parquet.read_table(io.BytesIO(data))
    rows = zip(*(table[name].to_pylist() for name in COLUMNS if name != "wall_time"), strict=True)
    return [
        {"experiment": e, "run": r, "tag": t, "step": s, "value": v, "wall_time": None}
        for e, r, t, s, v in rows
    ]


READ = {"csv": read_csv, "jsonl": read_jsonl, "parquet": read_parquet}

texts = st.text(st.characters(codec="utf-8"), max_size=20)
series = st.builds(
    lambda experiment, run, tag, points: Rows(
        experiment,
        run,
        tag,
        [step for step, _, _ in points],
        [wall for _, wall, _ in points],
        [value for _, _, value in points],
    ),
    texts,
    texts,
    texts,
    st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            st.none() | st.integers(0, 2**62),
            st.floats(allow_nan=True, allow_infinity=True),
        ),
        min_size=1,
        max_size=5,
    ),
)


def same(left, right):
    """Equality where NaN equals NaN and 0.0 does not equal -0.0."""
    return len(left) == len(right) and all(
        repr(sorted(a.items())) == repr(sorted(b.items())) for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("name", FORMATS)
@settings(deadline=None)  # the first example imports pyarrow
@given(blocks=st.lists(series, max_size=4))
def test_every_format_gives_back_what_was_written(name, blocks):
    stream = io.BytesIO()
    table = open_table(name, stream)
    for block in blocks:
        table.write(block)
    table.close()

    expected = [
        {
            "experiment": block.experiment,
            "run": block.run,
            "tag": block.tag,
            "step": step,
            "value": value,
            "wall_time": None,
        }
        for block in blocks
        for step, value in zip(block.steps, block.values, strict=True)
    ]
    assert same(READ[name](stream.getvalue()), expected)


def test_wall_times_are_utc_in_every_format():
    written = {}
    for name in FORMATS:
        stream = io.BytesIO()
        table = open_table(name, stream)
        table.write(Rows("e", "r", "t", [0, 1], [1_700_000_000_123_456_789, None], [0.0, 0.0]))
        table.close()
        written[name] = stream.getvalue()

    text = "2023-11-14T22:13:20.123456+00:00"
    assert [row["wall_time"] for row in csv.DictReader(io.StringIO(written["csv"].decode()))] == [
        text,
        "",
    ]
    assert [json.loads(line)["wall_time"] for line in written["jsonl"].splitlines()] == [text, None]
    column = pyarrow.parquet.read_table(io.BytesIO(written["parquet"]))["wall_time"]
    assert column.cast("int64").to_pylist() == [1_700_000_000_123_456_789, None]
    assert str(column.type) == "timestamp[ns, tz=UTC]"


@pytest.fixture
def uploaded(logdir, target, positions):
    write(logdir / "a/b", VALUES)
    write(logdir / "c", range(12_000), tag="long")
    with SummaryWriter(str(logdir / "c"), filename_suffix=".more") as writer:
        writer.add_histogram("weights", np.arange(10.0), 0)
    upload(logdir, "exported", target, positions=positions)
    return f"{target.tensorboard}/experiments/exported"


@pytest.mark.parametrize("name", FORMATS)
def test_an_experiment_is_exported_whole(uploaded, target, tmp_path, name):
    out = tmp_path / f"table.{name}"

    count = export(uploaded, name, out, target)

    rows = READ[name](out.read_bytes())
    short = [
        {"experiment": "exported", "run": "a/b", "tag": "loss", "step": step, "value": value}
        for step, value in enumerate(VALUES)
    ]
    long = [
        {"experiment": "exported", "run": "c", "tag": "long", "step": step, "value": float(step)}
        for step in range(12_000)
    ]
    assert count == len(rows) == len(short) + len(long)
    for row in rows:
        del row["wall_time"]
    assert same([row for row in rows if row["run"] == "a/b"], short)
    assert same([row for row in rows if row["run"] == "c"], long)
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


def test_each_level_can_be_exported(uploaded, target, reader):
    run = reader.runs("exported")["a/b"]
    one = reader.series(run)["loss"].name
    everything = len(VALUES) + 12_000

    counts = [
        export(name, "csv", io.BytesIO(), target)
        for name in (target.tensorboard, uploaded, run, one)
    ]

    assert counts == [everything, everything, len(VALUES), len(VALUES)]


def test_an_empty_experiment_has_a_header_only(target, tmp_path, positions):
    (tmp_path / "none").mkdir()
    upload(tmp_path / "none", "nothing", target, positions=positions)
    stream = io.BytesIO()

    assert export(f"{target.tensorboard}/experiments/nothing", "csv", stream, target) == 0
    assert stream.getvalue().decode().strip() == ",".join(COLUMNS)


def test_mistakes_are_told_and_leave_no_file(uploaded, target, reader, tmp_path):
    out = tmp_path / "out.csv"
    weights = reader.series(reader.runs("exported")["c"])["weights"].name
    missing = uploaded.replace("exported", "missing")

    with pytest.raises(NotFound, match="missing"):
        export(missing, "csv", out, target)
    with pytest.raises(InvalidArgument, match="TENSOR"):
        export(weights, "csv", out, target)
    with pytest.raises(InvalidArgument, match="projects/p"):
        export("projects/p", "csv", out, target)
    with pytest.raises(InvalidArgument, match="xlsx"):
        export(uploaded, "xlsx", out, target)
    with pytest.raises(FailedPrecondition, match="nowhere"):
        export(uploaded, "csv", tmp_path / "nowhere" / "out.csv", target)
    with pytest.raises(InvalidArgument, match="https://host:port"):
        export(uploaded, "csv", out, replace(target, url="localhost:6060"))

    assert not out.exists()

"""What can't be read or taken is left out, told once, and keeps nothing else back."""

import pytest
from tensorboard.compat.proto import event_pb2, summary_pb2, types_pb2

from tensordeck.ingest.event_files import EventFile
from tensordeck.ingest.summaries import SummaryDecoder
from tensordeck.ingest.tfrecord import LARGEST, framed, masked_crc
from tensordeck.ingest.uploader import upload
from tests.ingest.sample_logs import numbered, write


def write_values(folder, *values, step=0):
    """An event file with one event."""
    folder.mkdir(parents=True, exist_ok=True)
    event = event_pb2.Event(wall_time=1.0, step=step)
    event.summary.value.extend(values)
    path = folder / "events.out.tfevents.1.host"
    path.write_bytes(framed(event.SerializeToString()))
    return path


def value(tag, number=1.0):
    return summary_pb2.Summary.Value(tag=tag, simple_value=number)


def read(path):
    """Points and warnings of a file."""
    warnings = []
    file = EventFile(path, warn=warnings.append)
    return list(file.points(SummaryDecoder("run", warn=warnings.append))), warnings


@pytest.mark.parametrize("tag", ["", "t" * 5000, "nul\0"])
def test_a_tag_that_the_server_refuses(logdir, target, reader, positions, tag):
    write_values(logdir / "a", value("before"), value(tag), value("after"))
    write(logdir / "b", range(3))
    warnings = []

    upload(logdir, "refused", target, positions=positions, warn=warnings.append)

    assert reader.scalars("refused") == {
        "a": {"before": [(0, 1.0)], "after": [(0, 1.0)]},
        "b": {"loss": numbered(range(3))},
    }
    (warning,) = warnings
    assert "left out" in warning
    assert len(warning) < 2000


def test_many_refused_tags_among_many_good_ones(logdir, target, reader, positions):
    tags = [f"good-{number}" if number % 7 else f"bad-{number}\0" for number in range(30)]
    write_values(logdir, *map(value, tags))
    warnings = []

    upload(logdir, "some", target, positions=positions, warn=warnings.append)

    good = {tag for tag in tags if tag.startswith("good")}
    assert set(reader.scalars("some")["default"]) == good
    assert len(warnings) == 30 - len(good)


def test_runs_with_names_that_are_too_long_keep_apart(logdir, target, reader, positions):
    folders = [logdir / ("r" * 100) / f"{'q' * 100}{last}" for last in "abc"]
    for number, folder in enumerate(folders):
        write(folder, [number])

    upload(logdir, "names", target, positions=positions)
    assert upload(logdir, "names", target, positions=positions).points == 0

    runs = reader.scalars("names")
    assert {len(name) for name in runs} == {128}
    assert all(name.startswith("r" * 100 + "/" + "q" * 20) for name in runs)
    values = [value for run in runs.values() for _, value in run["loss"]]
    assert sorted(values) == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    "dtype", [types_pb2.DT_FLOAT, types_pb2.DT_STRING, types_pb2.DT_DOUBLE, types_pb2.DT_BOOL]
)
@pytest.mark.parametrize("data_class", ["DATA_CLASS_SCALAR", "DATA_CLASS_BLOB_SEQUENCE"])
def test_a_tensor_that_claims_to_be_huge_costs_no_memory(tmp_path, dtype, data_class):
    huge = summary_pb2.Summary.Value(tag="huge")
    huge.metadata.data_class = getattr(summary_pb2, data_class)
    huge.metadata.plugin_data.plugin_name = "own"
    huge.tensor.dtype = dtype
    huge.tensor.tensor_shape.dim.add(size=10**12)
    huge.tensor.float_val.append(1)
    huge.tensor.double_val.append(1)
    huge.tensor.bool_val.append(True)
    huge.tensor.string_val.append(b"x")

    points, warnings = read(write_values(tmp_path, huge, value("small")))

    assert [point.series.tag for point in points] == ["small"]
    assert len(warnings) == 1


def test_a_record_that_claims_to_be_huge_ends_its_file(tmp_path):
    path = write_values(tmp_path, value("small"))
    length = (LARGEST + 1).to_bytes(8, "little")
    with path.open("ab") as file:
        file.write(length + masked_crc(length).to_bytes(4, "little"))
        file.truncate(file.tell() + LARGEST + 5)  # without taking disk space

    points, warnings = read(path)

    assert [point.series.tag for point in points] == ["small"]
    assert "more than" in warnings[0]

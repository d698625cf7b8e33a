"""Event files as tensorboardX writes them, against TensorBoard's own reading of them."""

import logging

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.proto import summary_pb2
from tensorboard.util import tensor_util
from tensorboardX import SummaryWriter

from tensordeck.ingest.event_files import EventFile, is_event_file
from tensordeck.ingest.log_directory import find_event_files, run_id
from tensordeck.ingest.summaries import Series, SummaryDecoder, ValueType
from tests.ingest.sample_logs import points_of, write_everything

VALUE_TYPE = {
    summary_pb2.DATA_CLASS_SCALAR: ValueType.SCALAR,
    summary_pb2.DATA_CLASS_TENSOR: ValueType.TENSOR,
    summary_pb2.DATA_CLASS_BLOB_SEQUENCE: ValueType.BLOB_SEQUENCE,
}


def event_file(folder):
    return next(path for path in folder.iterdir() if is_event_file(path.name))


def tensorboards_reading(path):
    """(tag, step, wall time, tensor) of each value, and the metadata of each tag."""
    values, metadata = [], {}
    for event in EventFileLoader(str(path)).Load():
        for value in event.summary.value:
            metadata.setdefault(value.tag, value.metadata)
            values.append((value.tag, event.step, event.wall_time, value.tensor))
    return values, metadata


def test_every_value_is_what_tensorboard_reads(logdir):
    write_everything(logdir)
    for path in [path for _, path in find_event_files(logdir)]:
        expected, metadata = tensorboards_reading(path)

        got = points_of(EventFile(path))

        assert len(got) == len(expected) > 0
        for point, (tag, step, wall_time, tensor) in zip(got, expected, strict=True):
            series = point.series
            plugin = metadata[tag].plugin_data
            assert (series.tag, point.step, point.wall_time) == (tag, step, wall_time)
            assert (series.plugin_name, series.plugin_data) == (plugin.plugin_name, plugin.content)
            assert series.value_type == VALUE_TYPE[metadata[tag].data_class]
            if series.value_type is ValueType.SCALAR:
                assert np.array_equal(point.value, tensor_util.make_ndarray(tensor), equal_nan=True)
            elif series.value_type is ValueType.TENSOR:
                assert point.value == tensor.SerializeToString()
            else:
                assert point.value == tuple(tensor.string_val)


def test_no_plugin_is_dropped(logdir):
    write_everything(logdir)

    kinds = {}
    for _, path in find_event_files(logdir):
        for point in points_of(EventFile(path)):
            kinds[point.series.plugin_name] = point.series.value_type

    assert kinds == {
        "scalars": ValueType.SCALAR,
        "histograms": ValueType.TENSOR,
        "images": ValueType.BLOB_SEQUENCE,
        "text": ValueType.TENSOR,
        "audio": ValueType.BLOB_SEQUENCE,
        "pr_curves": ValueType.TENSOR,
        "mesh": ValueType.TENSOR,
        "hparams": ValueType.TENSOR,
        "custom_scalars": ValueType.TENSOR,
    }


def test_a_growing_file_is_read_on_wherever_it_was_cut(logdir, tmp_path):
    with SummaryWriter(str(logdir)) as writer:
        for step in range(3):
            writer.add_scalar("a", step, step)
    whole = event_file(logdir).read_bytes()
    growing = tmp_path / "events.out.tfevents.1.host"
    growing.touch()
    file = EventFile(growing)
    decoder = SummaryDecoder("run")

    got = []
    with growing.open("ab", buffering=0) as stream:
        for start in range(0, len(whole), 11):
            stream.write(whole[start : start + 11])
            assert file.may_have_grown()
            got += points_of(file, decoder)
            assert not file.may_have_grown()

    assert [point.step for point in got] == [0, 1, 2]
    assert file.position == len(whole)


def test_a_reading_that_was_given_up_repeats_the_last_record(logdir):
    with SummaryWriter(str(logdir)) as writer:
        for step in range(3):
            writer.add_scalar("a", step, step)
    file = EventFile(event_file(logdir))
    reading = file.points(SummaryDecoder("run"))
    next(reading)
    next(reading)
    reading.close()

    rest = points_of(EventFile(file.path, file.position))

    assert [point.step for point in rest] == [1, 2]


def test_a_tag_whose_metadata_came_earlier_keeps_its_plugin():
    from tensorboard.compat.proto import event_pb2

    bare = event_pb2.Event(step=3, wall_time=1.0)
    bare.summary.value.add(tag="t", tensor=tensor_util.make_tensor_proto(np.float32(4)))
    known = Series("t", ValueType.SCALAR, "scalars")

    (point,) = SummaryDecoder("run", {"t": known}).points(bare.SerializeToString())

    assert (point.series.plugin_name, point.series.value_type) == ("scalars", ValueType.SCALAR)
    assert point.value == 4.0


def test_an_unknown_plugin_is_kept_as_tensors():
    from tensorboard.compat.proto import event_pb2

    event = event_pb2.Event(step=3, wall_time=1.0)
    value = event.summary.value.add(tag="t", tensor=tensor_util.make_tensor_proto([1, 2]))
    value.metadata.plugin_data.plugin_name = "someones-own"
    value.metadata.plugin_data.content = b"\x00\xff"

    (point,) = SummaryDecoder("run").points(event.SerializeToString())

    assert point.series == Series("t", ValueType.TENSOR, "someones-own", b"\x00\xff")
    assert point.value == value.tensor.SerializeToString()


def test_a_graph_is_a_blob_sequence():
    from tensorboard.compat.proto import event_pb2

    event = event_pb2.Event(graph_def=b"the graph")

    (point,) = SummaryDecoder("run").points(event.SerializeToString())

    assert point.series.plugin_name == "graphs"
    assert point.value == (b"the graph",)


def test_a_scalar_with_two_values_is_skipped_with_one_warning(caplog):
    from tensorboard.compat.proto import event_pb2

    event = event_pb2.Event(step=3)
    value = event.summary.value.add(tag="pair", tensor=tensor_util.make_tensor_proto([1.0, 2.0]))
    value.metadata.plugin_data.plugin_name = "scalars"
    value.metadata.data_class = summary_pb2.DATA_CLASS_SCALAR
    decoder = SummaryDecoder("my-run")

    with caplog.at_level(logging.WARNING):
        assert [*decoder.points(event.SerializeToString())] == []
        assert [*decoder.points(event.SerializeToString())] == []

    (warning,) = caplog.messages
    assert "my-run" in warning
    assert "pair" in warning


def test_a_corrupt_record_ends_its_file_with_a_warning_that_names_the_place(logdir, caplog):
    with SummaryWriter(str(logdir)) as writer:
        for step in range(10):
            writer.add_scalar("a", step, step)
    path = event_file(logdir)
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    file = EventFile(path)

    with caplog.at_level(logging.WARNING):
        got = points_of(file)

    assert [point.step for point in got] == list(range(9))
    assert file.dead
    assert not file.may_have_grown()
    assert str(path) in caplog.text
    assert f"byte {file.position}" in caplog.text


def test_an_empty_file_has_no_points(tmp_path):
    path = tmp_path / "events.out.tfevents.1.host"
    path.touch()

    assert points_of(EventFile(path)) == []


def test_a_replaced_file_is_read_from_its_start(tmp_path):
    for number, name in enumerate(("one", "two")):
        with SummaryWriter(str(tmp_path / name)) as writer:
            for step in range(5 + number):
                writer.add_scalar("a", number, step)
    path = event_file(tmp_path / "one")
    file = EventFile(path)
    decoder = SummaryDecoder("run")
    assert len(points_of(file, decoder)) == 5

    path.write_bytes(event_file(tmp_path / "two").read_bytes())

    assert [point.value for point in points_of(file, decoder)] == [1.0] * 6


def test_runs_are_folders_with_event_files(tmp_path):
    for folder in (".", "train", "eval/fold_0", "empty"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        if folder != "empty":
            (tmp_path / folder / "events.out.tfevents.1.h").touch()
    (tmp_path / "train" / "events.out.tfevents.2.h").touch()
    (tmp_path / "train" / "events.out.tfevents.3.h.profile-empty").touch()
    (tmp_path / "train" / "again").symlink_to(tmp_path)

    found = [(run, path.name) for run, path in find_event_files(tmp_path)]

    assert found == [
        ("default", "events.out.tfevents.1.h"),
        ("eval/fold_0", "events.out.tfevents.1.h"),
        ("train", "events.out.tfevents.1.h"),
        ("train", "events.out.tfevents.2.h"),
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("default", "default"), ("eval/fold_0", "eval-fold-0"), ("LR=0.1", "LR-0-1")],
)
def test_a_runs_id_is_the_official_uploaders(name, expected):
    assert run_id(name, ()) == expected


@pytest.mark.parametrize("name", [".hidden", "实验", "x" * 300, "a/b", "🙂"])
def test_other_names_get_a_valid_id_of_their_own(name):
    taken = {"a-b"}

    first = run_id(name, taken)
    second = run_id(name, {*taken, first})

    assert first != second
    for made in (first, second):
        assert made not in taken
        assert made[0] != "-"
        assert len(made) <= 128
        assert all(c.isascii() and (c.isalnum() or c == "-") for c in made)

"""What TensorBoard itself reads from event files, to compare the server's answers with."""

from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.proto import summary_pb2, tensor_pb2
from tensorboard.util import tensor_util

KINDS = {
    summary_pb2.DATA_CLASS_SCALAR: "SCALAR",
    summary_pb2.DATA_CLASS_TENSOR: "TENSOR",
    summary_pb2.DATA_CLASS_BLOB_SEQUENCE: "BLOB_SEQUENCE",
}


def logged(logdir):
    """By run and tag: plugin, plugin data, kind, and (wall time, value) by step."""
    runs = {}
    for path in sorted(Path(logdir).rglob("*tfevents*")):
        relative = path.parent.relative_to(logdir).as_posix()
        series = runs.setdefault("default" if relative == "." else relative, {})
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.tag not in series:
                    plugin = value.metadata.plugin_data
                    series[value.tag] = {
                        "plugin": plugin.plugin_name,
                        "plugin_data": plugin.content,
                        "kind": KINDS[value.metadata.data_class],
                        "points": {},
                    }
                tensor = tensor_util.make_ndarray(value.tensor)
                series[value.tag]["points"][event.step] = (event.wall_time, tensor)
    return {run: series for run, series in runs.items() if series}


def assert_same(stored, expected, *, plugins=None):
    """Compares what was read back with what was logged, value by value.

    Args:
        stored: From `Reader.read_back`, by run id.
        expected: From `logged`, by run name.
        plugins: The plugins that the uploader keeps; all of them if None.
    """
    by_name = {run["display_name"]: run["series"] for run in stored.values()}
    assert set(by_name) == set(expected)
    compared = 0
    for run, series in expected.items():
        wanted = {t: s for t, s in series.items() if plugins is None or s["plugin"] in plugins}
        assert set(by_name[run]) == set(wanted)
        for tag, one in wanted.items():
            got = by_name[run][tag]
            assert {k: got[k] for k in ("plugin", "plugin_data", "kind")} == {
                k: one[k] for k in ("plugin", "plugin_data", "kind")
            }
            assert [step for step, _, _ in got["points"]] == sorted(one["points"])
            for step, wall_time, value in got["points"]:
                expected_wall, array = one["points"][step]
                assert abs(wall_time - expected_wall) < 1e-3
                if one["kind"] == "SCALAR":
                    assert np.array_equal(value, array, equal_nan=True)
                elif one["kind"] == "TENSOR":
                    tensor = tensor_util.make_ndarray(tensor_pb2.TensorProto.FromString(value))
                    assert tensor.dtype == array.dtype
                    assert np.array_equal(tensor, array)
                else:
                    assert list(value) == array.ravel().tolist()
                compared += 1
    return compared

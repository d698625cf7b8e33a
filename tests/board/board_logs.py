"""Event files with something for every tab, and their way into a store."""

import io
import math
import wave
from collections import defaultdict
from pathlib import Path

import numpy as np
from tensorboardX import SummaryWriter
from tensorboardX.proto import summary_pb2

from tensordeck.ingest.event_files import EventFile
from tensordeck.ingest.log_directory import find_event_files, run_id
from tensordeck.ingest.summaries import Point, Series, SummaryDecoder
from tensordeck.names import ResourceName
from tensordeck.protos import message
from tensordeck.services.blob_objects import BlobObjects
from tensordeck.store.contract import PayloadColumns, ScalarColumns, SeriesPoints, Store
from tensordeck.store.resources import Run, TimeSeries, ValueType


def write_scalars(logdir: Path, runs: int = 2, steps: int = 60) -> None:
    """Scalars with NaN, infinities and a peak."""
    for number in range(runs):
        with SummaryWriter(str(logdir / f"run_{number}" / "train")) as writer:
            for step in range(steps):
                writer.add_scalar("loss", math.exp(-step / 20) * (1 + number / 5), step, 1e9 + step)
                odd = {5: math.nan, 6: math.inf, 7: -math.inf}.get(step, float(step % 7))
                writer.add_scalar("odd/values", odd, step, 1e9 + step)


def write_everything(folder: Path, seed: int) -> None:
    """One of each kind of summary that a board shows, except graphs and hyper-parameters."""
    rng = np.random.default_rng(seed)
    with SummaryWriter(str(folder)) as writer:
        for step in range(30):
            noise = rng.normal() / 30
            writer.add_scalar("loss/train", math.exp(-step / (8 + seed)) + noise, step)
            writer.add_scalar("accuracy", 1 - math.exp(-step / 10) + noise, step)
            writer.add_histogram("layer1/weights", rng.normal(step / 10, 1 + seed, 500), step)
            if step % 10 == 0:
                picture = np.zeros((3, 32, 32))
                picture[seed % 3] = np.linspace(0, 1, 32)[None, :]
                picture[:, :, step] = 1
                writer.add_image("digits", picture, step)
                writer.add_text("notes", f"## Step {step}\n**Everything** is `fine` 🙂", step)
                writer.file_writer.add_summary(_audio("tone"), step)
                writer.add_pr_curve("pr", rng.integers(0, 2, 200), rng.random(200), step)
        corners = np.array([[[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]], dtype=np.float32)
        sides = np.array([[[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]]])
        writer.add_mesh("tetrahedron", corners, faces=sides, global_step=0)
        writer.add_custom_scalars({"Both": {"loss and accuracy": ["Multiline", ["loss", "acc"]]}})
    for number, rate in enumerate((0.1, 0.01)):
        with SummaryWriter(str(folder.parent / f"trial-{seed}-{number}")) as writer:
            # add_hparams of tensorboardX makes a run of its own for each call
            for item in _hparams({"lr": rate, "optimizer": "adam"}, {"accuracy": None}):
                writer.file_writer.add_summary(item)
            writer.add_scalar("accuracy", 0.9 - rate, 1)


def _audio(tag: str) -> summary_pb2.Summary:
    """A second of sound; tensorboardX itself would want libsndfile for that."""
    tone = (np.sin(np.linspace(0, 440 * 2 * math.pi, 8000)) * 20_000).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(tone.tobytes())
    value = summary_pb2.Summary.Value(tag=tag)
    value.audio.encoded_audio_string = file.getvalue()
    value.audio.content_type = "audio/wav"
    value.audio.sample_rate = 8000
    return summary_pb2.Summary(value=[value])


def _hparams(parameters: dict, metrics: dict) -> tuple:
    from tensorboardX.summary import hparams

    return hparams(parameters, metrics)


def write_graph(folder: Path) -> None:
    """A small network's graph, by PyTorch."""
    import torch
    from torch.utils.tensorboard import SummaryWriter as TorchWriter

    network = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    with TorchWriter(str(folder)) as writer:
        writer.add_graph(network, torch.zeros(1, 8))


def load_logs(store: Store, experiment: str, logdir: Path) -> None:
    """Puts every run of a log directory into an experiment that exists."""
    taken: set[str] = set()
    for name, path in find_event_files(logdir):
        run = store.catalog.find(Run, f"{experiment}/runs/{run_id(name, ())}")
        if run is None:
            taken.add(chosen := run_id(name, taken))
            full = f"{experiment}/runs/{chosen}"
            run = store.catalog.create(Run(name=full, display_name=name))
        load_points(store, run, EventFile(path).points(SummaryDecoder(name)))


def load_points(store: Store, run: Run, points: "list[Point]") -> None:
    """Creates the series that points belong to, and appends the points."""
    by_series: dict[Series, list[Point]] = defaultdict(list)
    for point in points:
        by_series[point.series].append(point)
    known = {
        s.display_name: s for s in store.catalog.list(TimeSeries, run.name, page_size=100_000).items
    }
    batch = []
    for number, (series, values) in enumerate(by_series.items()):
        record = known.get(series.tag) or store.catalog.create(
            TimeSeries(
                name=f"{run.name}/timeSeries/s{len(known) + number}",
                display_name=series.tag,
                description=series.description,
                value_type=ValueType(series.value_type),
                plugin_name=series.plugin_name,
                plugin_data=series.plugin_data,
            )
        )
        batch.append(SeriesPoints(record.pk, run.pk, _columns(store, record, values)))
    store.points.append(batch)


def _columns(
    store: Store, series: TimeSeries, points: "list[Point]"
) -> ScalarColumns | PayloadColumns:
    steps = np.array([p.step for p in points], dtype=np.int64)
    walls = np.array([round(p.wall_time * 1e9) for p in points], dtype=np.int64)
    if series.value_type is ValueType.SCALAR:
        return ScalarColumns(steps, walls, np.array([p.value for p in points], dtype=np.float64))
    if series.value_type is ValueType.TENSOR:
        count = len(points)
        return PayloadColumns(steps, walls, [p.value for p in points], [1] * count, [0] * count)
    blobs = BlobObjects(store)
    payloads = []
    for point in points:
        sequence = message("TensorboardBlobSequence")()
        for index, blob in enumerate(point.value):
            blob_id = f"{point.step}-{index}"
            blobs.write(ResourceName.parse(series.name), blob_id, blob)
            sequence.values.add(id=blob_id)
        payloads.append(sequence.SerializeToString())
    lengths = [len(p.value) for p in points]
    return PayloadColumns(steps, walls, payloads, [0] * len(points), lengths)

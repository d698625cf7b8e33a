"""Event files for tests, written by tensorboardX."""

import numpy as np
from tensorboardX import SummaryWriter
from tensorboardX.proto import summary_pb2 as tensorboardx_summary

from tensordeck.ingest.summaries import SummaryDecoder


def write(folder, values, tag="loss", first_step=0, **options):
    """Writes one event file with one scalar series."""
    with SummaryWriter(str(folder), **options) as writer:
        for step, value in enumerate(values, first_step):
            writer.add_scalar(tag, value, step)


def numbered(values, first_step=0):
    return [(step, float(np.float32(value))) for step, value in enumerate(values, first_step)]


def write_everything(folder):
    """One of each kind of summary that tensorboardX can write."""
    rng = np.random.default_rng(7)
    with SummaryWriter(str(folder)) as writer:
        for step in range(5):
            writer.add_scalar("loss", 1 / (step + 1), step)
            writer.add_scalar("odd", [np.nan, np.inf, -np.inf, -0.0, 1e-40][step], step)
            writer.add_histogram("weights", rng.normal(size=100), step)
            writer.add_image("picture", rng.random((3, 4, 5)), step)
            writer.add_text("note", f"**step** {step} 🙂", step)
            writer.file_writer.add_summary(old_audio("sound", b"RIFF%d" % step), step)
        writer.add_pr_curve("pr", rng.integers(0, 2, 50), rng.random(50), 1)
        writer.add_mesh("mesh", rng.random((1, 4, 3)), global_step=1)
        writer.add_hparams({"lr": 0.1, "opt": "adam"}, {"accuracy": 0.9}, name="trial")
        writer.add_custom_scalars({"group": {"chart": ["Multiline", ["loss"]]}})


def old_audio(tag, wave):
    """An audio summary as TensorFlow 1 wrote it."""
    value = tensorboardx_summary.Summary.Value(tag=tag)
    value.audio.encoded_audio_string = wave
    value.audio.sample_rate = 8000
    return tensorboardx_summary.Summary(value=[value])


def points_of(file, decoder=None):
    return list(file.points(decoder or SummaryDecoder("run")))

"""Trains small neural networks on scikit-learn's handwritten digits and logs all of it.

One run for each pair of learning rate and layer size. It is an ordinary training script: it knows
nothing of any server and writes event files to `AIP_TENSORBOARD_LOG_DIR`.
"""

import os
from itertools import product
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix, log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from tensorboardX import SummaryWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.graph_pb2 import GraphDef
from tensorboardX.summary import hparams
from threadpoolctl import threadpool_limits

EPOCHS = 25
LEARNING_RATES = (0.02, 0.004, 0.0008)
UNITS = (16, 64)
CLASSES = np.arange(10)


def main() -> None:
    """Trains every run, one after the other."""
    folder = Path(os.environ.get("AIP_TENSORBOARD_LOG_DIR", "logs"))
    digits = load_digits()
    data = train_test_split(
        digits.data / 16.0, digits.target, test_size=0.3, random_state=0, stratify=digits.target
    )
    # Matrices as small as these are slower on several threads, and the server wants a core too.
    with threadpool_limits(1):
        for learning_rate, units in product(LEARNING_RATES, UNITS):
            train(folder / f"lr-{learning_rate}-units-{units}", learning_rate, units, data)


def train(folder: Path, learning_rate: float, units: int, data: list[np.ndarray]) -> None:
    """Trains one network and logs it to a folder."""
    x_train, x_test, y_train, y_test = data
    model = MLPClassifier((units,), learning_rate_init=learning_rate, batch_size=32, random_state=1)
    with SummaryWriter(str(folder), flush_secs=1) as writer:
        write_start(writer, learning_rate, units, x_train)
        for epoch in range(EPOCHS):
            model.partial_fit(x_train, y_train, classes=CLASSES)
            scores = {}
            for name, x, y in (("train", x_train, y_train), ("validation", x_test, y_test)):
                chances = model.predict_proba(x)
                scores[f"loss/{name}"] = log_loss(y, chances, labels=CLASSES)
                scores[f"accuracy/{name}"] = float((chances.argmax(axis=1) == y).mean())
            for tag, value in scores.items():
                writer.add_scalar(tag, value, epoch)
            for layer, weights in enumerate(model.coefs_):
                writer.add_histogram(f"weights/layer_{layer}", weights, epoch)
            if epoch % 6 == 0:
                matrix = confusion_matrix(y_test, model.predict(x_test), normalize="true")
                writer.add_image("confusion_matrix", enlarged(matrix, 16), epoch)
                pictures = model.coefs_[0].T.reshape(-1, 8, 8)
                writer.add_image("first_layer", enlarged(tiled(pictures), 4), epoch)
        final = {"accuracy/validation": scores["accuracy/validation"]}
        write_hparams(writer, learning_rate, units, final)
        writer.add_text(
            "report",
            f"After **{EPOCHS} epochs**, {scores['accuracy/validation']:.1%} of the digits that "
            f"the network had not seen are read correctly.",
            EPOCHS,
        )
    print(
        f"    {folder.name:<20} validation accuracy {scores['accuracy/validation']:6.1%}"
        f"   loss {scores['loss/validation']:.3f}",
        flush=True,
    )


def write_start(writer: SummaryWriter, learning_rate: float, units: int, x: np.ndarray) -> None:
    """Logs what is known before the training: settings, some of the data, the network's graph."""
    writer.add_text(
        "settings",
        "| setting | value |\n|---|---|\n"
        f"| learning rate | {learning_rate} |\n| hidden units | {units} |\n| epochs | {EPOCHS} |",
        0,
    )
    writer.add_image("digits", enlarged(tiled(x[:64].reshape(-1, 8, 8)), 4), 0)
    graph = GraphDef()
    before = ""
    for name, operation in (
        ("pixels", "Placeholder"),
        ("hidden/weights", "MatMul"),
        ("hidden/bias", "BiasAdd"),
        ("hidden/relu", "Relu"),
        ("digit/weights", "MatMul"),
        ("digit/bias", "BiasAdd"),
        ("digit/softmax", "Softmax"),
    ):
        graph.node.add(name=name, op=operation, input=[before] if before else [])
        before = name
    writer.file_writer.event_writer.add_event(Event(graph_def=graph.SerializeToString()))


def write_hparams(
    writer: SummaryWriter, learning_rate: float, units: int, metrics: dict[str, float]
) -> None:
    """Logs hyper-parameters for the HParams tab, into the run's own folder."""
    for summary in hparams({"learning_rate": learning_rate, "hidden_units": units}, metrics):
        writer.file_writer.add_summary(summary)


def tiled(pictures: np.ndarray) -> np.ndarray:
    """Lays pictures out in a grid of eight columns, each scaled to 0..1."""
    low = pictures.min(axis=(1, 2), keepdims=True)
    high = pictures.max(axis=(1, 2), keepdims=True)
    scaled = np.pad((pictures - low) / (high - low + 1e-9), ((0, 0), (0, 1), (0, 1)))
    count, height, width = scaled.shape
    rows = count // 8
    grid = scaled[: rows * 8].reshape(rows, 8, height, width).swapaxes(1, 2)
    return grid.reshape(rows * height, 8 * width)


def enlarged(picture: np.ndarray, factor: int) -> np.ndarray:
    """Makes each pixel a square, and the picture one of one channel, as TensorBoard takes it."""
    return np.kron(picture, np.ones((factor, factor)))[np.newaxis]


if __name__ == "__main__":
    main()

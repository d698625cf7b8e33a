"""A data set of the form and the names of Fashion-MNIST, made of scikit-learn's digits."""

import gzip
import struct

import numpy as np
from sklearn.datasets import load_digits

TRAINING, TESTING = slice(0, 500), slice(500, 600)


def fashion_mnist_files() -> dict[str, bytes]:
    """The files that Keras downloads, by name: 28 x 28 pixels, in the idx format of MNIST.

    Format: https://yann.lecun.com/exdb/mnist/.
    """
    digits = load_digits()
    pictures = np.kron(digits.images[:600], np.ones((1, 4, 4)))[:, 2:30, 2:30] * 15
    files = {}
    for name, part in (("train", TRAINING), ("t10k", TESTING)):
        images, labels = pictures[part].astype(np.uint8), digits.target[:600][part]
        files[f"{name}-images-idx3-ubyte.gz"] = gzip.compress(
            struct.pack(">IIII", 2051, len(images), 28, 28) + images.tobytes()
        )
        files[f"{name}-labels-idx1-ubyte.gz"] = gzip.compress(
            struct.pack(">II", 2049, len(labels)) + labels.astype(np.uint8).tobytes()
        )
    return files

"""TensorBoard with its Rust data server, on event files."""

from pathlib import Path
from typing import ClassVar

from benchmarks.peers import environments
from benchmarks.peers.peer import Peer
from benchmarks.peers.servers.one_server import OneServer


class TensorBoard(Peer):
    """TensorBoard without TensorFlow."""

    name, title = "tensorboard", "TensorBoard, Rust server"
    durability = "event files in the disk's cache; values rounded to 32 bits"
    client_path = "`tensorboardX.SummaryWriter.add_scalar`, a call a scalar, into event files"
    cannot: ClassVar = {
        "sampled": "samples are drawn when files are read, by a setting of the whole server",
        "kill": "it takes no writes: its event files are the training process's own",
    }

    def prepare(self) -> None:
        self._python = environments.environment(
            "tensorboard",
            "tensorboard==2.21.0",
            "tensorboard-data-server==0.7.2",
            "tensorboardX==2.6.5",
        )

    def versions(self) -> dict[str, str]:
        names = ("tensorboard", "tensorboard-data-server", "tensorboardX")
        return {name: environments.version(self._python, name) for name in names}

    def open(self, folder: Path) -> OneServer:
        return OneServer(
            folder,
            self._python,
            [
                *(self._python, "-m", "tensorboard.main", "--load_fast=true", "--port", "{port}"),
                *("--logdir", "{data}", "--samples_per_plugin", "scalars=1000000"),
            ],
            "/data/runs",
            "tensorboard_client.py",
            always={"logs": "{data}"},
        )

"""The peers, each in a module."""

from benchmarks.peers.peer import Peer
from benchmarks.peers.servers.aim import Aim
from benchmarks.peers.servers.mlflow import MlFlow
from benchmarks.peers.servers.tensorboard import TensorBoard
from benchmarks.peers.servers.tensordeck import Embedded, OnPostgresql, TwoOnPostgresql
from benchmarks.peers.servers.trackio import Trackio

PEERS: dict[str, type[Peer]] = {
    peer.name: peer
    for peer in (Embedded, OnPostgresql, TwoOnPostgresql, MlFlow, Trackio, Aim, TensorBoard)
}
"""In the order of the table."""

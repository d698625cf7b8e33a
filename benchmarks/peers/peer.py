"""What a peer is to a workload."""

import contextlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from benchmarks.peers.client import Client
from benchmarks.peers.process_tree import cpu_seconds, memory_mb


class Session(ABC):
    """A peer's server that runs on a folder of its own, with a client.

    Attributes:
        start_seconds: From the start of its process until it answered.
        client: Takes the commands that the peer's script in `clients/` has.
    """

    start_seconds: float
    client: Client

    @abstractmethod
    def pids(self) -> list[int]:
        """The heads of the server's process trees, the database's not among them."""

    def database_pids(self) -> list[int]:
        """The head of the database server's process tree, where there is one."""
        return []

    def settle(self) -> None:
        """Waits until what the server does after it has acknowledged writes is done."""

    @abstractmethod
    def bytes_on_disk(self) -> int:
        """Blocks that the stored data has on the disk now."""

    @abstractmethod
    def kill(self) -> None:
        """Kills the server, the database not."""

    @abstractmethod
    def restart(self) -> None:
        """Starts it again on the same data and address; sets `start_seconds`."""

    @abstractmethod
    def close(self) -> None:
        """Ends server and client."""

    def memory_mb(self) -> dict[str, float]:
        return memory_mb(self.pids())

    def cpu_seconds(self) -> dict[str, float]:
        return {
            "server": cpu_seconds(self.pids()),
            "database": cpu_seconds(self.database_pids()),
        }


class Peer(ABC):
    """A tracker, installed.

    Attributes:
        name: The key of its figures.
        title: What people call it.
        durability: What an acknowledged write has survived, in a phrase.
        client_path: Its fastest documented way in, as used here.
        cannot: Workloads that it has no way to run, with the reason.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    durability: ClassVar[str]
    client_path: ClassVar[str]
    cannot: ClassVar[dict[str, str]] = {}

    def prepare(self) -> None:
        """Installs what is missing.

        Raises:
            NotInstallable: If that can't be.
        """

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Versions of what takes part."""

    @abstractmethod
    def open(self, folder: Path) -> Session:
        """Starts a server on an empty folder."""

    def close(self) -> None:
        """Ends what sessions share."""


def blocks(*places: Path) -> int:
    """Bytes that files and folders occupy on the disk, less free pages of SQLite's files.

    What SQLite has deleted it uses again, so that free pages tell of the last minute, not of size.
    """
    total = 0
    for place in places:
        found = [place, *place.rglob("*")] if place.is_dir() else [place]
        for path in found:
            with contextlib.suppress(FileNotFoundError):
                total += path.lstat().st_blocks * 512 - _free_pages(path)
    return total


def _free_pages(path: Path) -> int:
    """Bytes of a database's free pages, by its header: sqlite.org/fileformat.html, section 1.3."""
    if path.suffix != ".db" or not path.is_file():
        return 0
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        return 0
    page_size = int.from_bytes(header[16:18], "big")
    return int.from_bytes(header[36:40], "big") * (65_536 if page_size == 1 else page_size)

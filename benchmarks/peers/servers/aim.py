"""Aim: clients write the repository on the disk, `aim up` indexes and shows it."""

import subprocess
from pathlib import Path
from typing import ClassVar

from benchmarks.peers import environments
from benchmarks.peers.peer import Peer
from benchmarks.peers.servers.one_server import OneServer


class Aim(Peer):
    """Aim 3."""

    name, title = "aim", "Aim, local repository"
    durability = "written to RocksDB by the client itself; nothing is acknowledged"
    client_path = "`Run.track` with a dictionary a step, into the repository on the same disk"
    cannot: ClassVar = {
        "kill": "its fast client writes the repository itself: no server acknowledges anything",
    }

    def prepare(self) -> None:
        self._python = environments.environment("aim", "aim==3.29.1")

    def versions(self) -> dict[str, str]:
        return {"aim": environments.version(self._python, "aim")}

    def open(self, folder: Path) -> OneServer:
        aim, repo = self._python.parent / "aim", folder / "data"
        repo.mkdir()
        subprocess.run([aim, "init", "--repo", repo, "-y"], check=True, stdout=subprocess.DEVNULL)
        return OneServer(
            folder,
            self._python,
            [aim, "up", "--repo", "{data}", "-h", "127.0.0.1", "-p", "{port}", "-y"],
            "/api/projects/",
            "aim_client.py",
            {"AIM_UI_TELEMETRY_ENABLED": "0"},
            {"repo": "{data}"},
        )

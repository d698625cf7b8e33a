"""trackio's self-hosted server."""

from pathlib import Path

from benchmarks.peers import environments
from benchmarks.peers.peer import Peer
from benchmarks.peers.servers.one_server import OneServer

TOKEN = "benchmark"  # noqa: S105 -- of a server on this machine


class Trackio(Peer):
    """trackio, with `server_url`."""

    name, title = "trackio", "trackio server"
    durability = "queued by the client; commit of SQLite without a sync"
    client_path = "`Run.log` with `server_url`, which sends what is queued twice a second"

    def prepare(self) -> None:
        self._python = environments.environment("trackio", "trackio==0.43.0")

    def versions(self) -> dict[str, str]:
        return {"trackio": environments.version(self._python, "trackio")}

    def open(self, folder: Path) -> OneServer:
        serve = (
            "import sys, trackio; trackio.show(open_browser=False, block_thread=True, "
            "host='127.0.0.1', share=False, server_port=int(sys.argv[1]))"
        )
        return OneServer(
            folder,
            self._python,
            [self._python, "-c", serve, "{port}"],
            "/",
            "trackio_client.py",
            {
                "TRACKIO_DIR": str(folder / "data"),
                "TRACKIO_WRITE_TOKEN": TOKEN,
                "HF_HUB_OFFLINE": "1",
            },
        )

"""One of several worker processes: `python -m tensordeck.workers.worker DESCRIPTOR`.

Its supervisor hands it a socket, over which come first its settings, a line of JSON, and then the
connections that it is to serve. It ends when that socket does, so that no worker outlives its
supervisor.
"""

import json
import signal
import socket
import sys
from typing import Any

from tensordeck.data_directory import Running
from tensordeck.errors import TensordeckError
from tensordeck.settings import Settings
from tensordeck.startup import lean_start, settle

__all__ = ["main"]


def main(descriptor: int) -> int:
    """Serves what comes over a socket.

    Returns:
        The process's exit status.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the supervisor says what to do
    channel = socket.socket(fileno=descriptor)
    given = json.loads(_line(channel))
    port = given.pop("listening_port")
    settings = Settings(**{name: Settings.read(name, value) for name, value in given.items()})
    with lean_start():
        from tensordeck import server  # noqa: PLC0415 -- after what `lean_start` has done
        from tensordeck.front.handed_connections import HandedConnections  # noqa: PLC0415
        from tensordeck.telemetry.logs import configure_logs  # noqa: PLC0415
        from tensordeck.telemetry.tracing import span_fields  # noqa: PLC0415

        configure_logs(settings.log_format, settings.log_level, span_fields)

        def ready(running: Running) -> None:
            settle()
            _tell(channel, ready={"sign_in_url": running.sign_in_url})

        try:
            server.run_worker(settings, lambda: HandedConnections(channel, port), ready)
        except TensordeckError as error:
            _tell(channel, failed=error.message)
            return 1
    return 0


def _line(channel: socket.socket) -> bytes:
    """The first line; not a byte more, for connections come with those."""
    line = b""
    while not line.endswith(b"\n"):
        byte = channel.recv(1)
        if not byte:
            raise SystemExit(1)  # the supervisor is gone already
        line += byte
    return line


def _tell(channel: socket.socket, **what: Any) -> None:
    channel.setblocking(True)
    channel.sendall(json.dumps(what).encode() + b"\n")
    channel.setblocking(False)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))

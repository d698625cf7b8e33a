"""How the replicas of a job on Ray find each other.

The server gives replicas addresses of its own host before anybody knows where they will run. Here
each takes an address of the node that it has come to, leaves word of it in the attempt's folder,
waits for the others, and puts the true addresses in the place of the server's.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tensordeck.jobs.process.json_file import write_json

MEETING_SECONDS: Final = 900.0
"""How long replicas wait for each other: as long as Ray waits for room for them."""

_LOOK_SECONDS: Final = 0.5


class NobodyCame(Exception):  # noqa: N818 -- says what happened
    """Not all replicas have come."""


def meet(
    folder: Path,
    name: str,
    names: Mapping[str, str],
    is_wanted: Callable[[], bool],
    seconds: float = MEETING_SECONDS,
) -> dict[str, str]:
    """Waits until all replicas of a job have come to their nodes.

    Args:
        folder: Where they leave word, for all of them.
        name: Who asks.
        names: All of them, the primary first, by any value.
        is_wanted: Asked meanwhile.
        seconds: How long to wait.

    Returns:
        The address of each by its name, and at "" the one where they meet.

    Raises:
        NobodyCame: If they have not all come in time, or nobody wants to wait any more.
    """
    folder.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        host = own_address()

        def address() -> str:
            # Held until all have come, so that the node gives it to nobody else.
            probe = stack.enter_context(socket.socket())
            probe.bind((host, 0))
            return f"{host}:{probe.getsockname()[1]}"

        write_json(folder / f"{name}.json", {"address": address(), "meeting": address()})
        deadline = time.monotonic() + seconds
        while missing := [other for other in names if not (folder / f"{other}.json").exists()]:
            if not is_wanted() or time.monotonic() > deadline:
                raise NobodyCame(
                    f"Ray has found no room for {', '.join(missing)} within {seconds:g} s, while "
                    f"{name} waited for them."
                )
            time.sleep(_LOOK_SECONDS)
    places = {other: json.loads((folder / f"{other}.json").read_text()) for other in names}
    primary = next(iter(names))
    return {other: place["address"] for other, place in places.items()} | {
        "": places[primary]["meeting"]
    }


def with_addresses(
    env: Mapping[str, str], before: Mapping[str, str], now: Mapping[str, str]
) -> dict[str, str]:
    """A replica's variables with the replicas' true addresses.

    Args:
        env: The variables.
        before: The address that they give each replica, by its name.
        now: What `meet` returned.
    """
    moved = {old: now[name] for name, old in before.items()}
    host, _, port = now[""].rpartition(":")
    changed = {"MASTER_ADDR": host, "MASTER_PORT": port}
    for variable in ("CLUSTER_SPEC", "TF_CONFIG"):
        if variable in env:
            document = json.loads(env[variable])
            document["cluster"] = {
                task: [moved.get(address, address) for address in addresses]
                for task, addresses in document["cluster"].items()
            }
            changed[variable] = json.dumps(document)
    return {**env, **{name: value for name, value in changed.items() if name in env}}


def own_address() -> str:
    """This node's address, as the others of the cluster reach it."""
    head = os.environ.get("RAY_ADDRESS", "").rpartition(":")[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((head or "127.0.0.1", 9))  # sends nothing
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


__all__ = ["MEETING_SECONDS", "NobodyCame", "meet", "own_address", "with_addresses"]

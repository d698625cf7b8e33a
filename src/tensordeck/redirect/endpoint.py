"""A running server as a program that is led to it needs to know it."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Endpoint"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A running server, and what a caller needs to talk to it.

    Attributes:
        url: `http://host:port`, without a trailing slash; `https` for a remote one.
        host: The host to connect to.
        port: The port to connect to.
        credentials: The credentials file that its token endpoint honours.
        ca_bundle: Public roots and the server's own CA.
        state_dir: A folder for what child programs keep (gcloud's configuration).
        local: Whether the server runs on this machine, on a data directory that we can read.
    """

    url: str
    host: str
    port: int
    credentials: Path
    ca_bundle: Path
    state_dir: Path
    local: bool

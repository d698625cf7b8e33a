"""A network of two hosts whose cable can be cut without anybody being told.

The other host is a network namespace. The cut changes the hardware address that each side sends
to: frames leave and nobody takes them, as when a switch between two hosts dies.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator

import psutil
import pytest

HERE, THERE = "10.213.77.1", "10.213.77.2"
NOBODY = "02:00:00:00:00:99"
_PREFIX = "td"


class BlackHole:
    """The network.

    Attributes:
        launcher: A command that runs its arguments on the other host.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.launcher = ("ip", "netns", "exec", name)
        self._here = f"{name}a"
        self._there = f"{name}b"
        _remove_abandoned()
        _ip("netns", "add", name)
        _ip("link", "add", self._here, "type", "veth", "peer", "name", self._there, "netns", name)
        _ip("addr", "add", f"{HERE}/30", "dev", self._here)
        _ip("link", "set", self._here, "up")
        _ip("-n", name, "addr", "add", f"{THERE}/30", "dev", self._there)
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "link", "set", self._there, "up")
        self._mac_here = _mac("link", "show", self._here)
        self._mac_there = _mac("-n", name, "link", "show", self._there)
        self.heal()

    def cut(self) -> None:
        """Drops every packet in both directions."""
        self._send_to(NOBODY, NOBODY)

    def heal(self) -> None:
        """Packets arrive again."""
        self._send_to(self._mac_there, self._mac_here)

    def close(self) -> None:
        _ip("link", "del", self._here)
        _ip("netns", "del", self._name)

    def _send_to(self, there: str, here: str) -> None:
        for prefix, address, mac, device in (
            ((), THERE, there, self._here),
            (("-n", self._name), HERE, here, self._there),
        ):
            permanent = ("lladdr", mac, "dev", device, "nud", "permanent")
            _ip(*prefix, "neigh", "replace", address, *permanent)


@contextlib.contextmanager
def open_black_hole() -> Iterator[BlackHole]:
    """Makes the network; skips the test where that is not allowed."""
    try:
        network = BlackHole(f"{_PREFIX}{os.getpid()}")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"network namespaces can't be made here: {error}")
    try:
        yield network
    finally:
        network.close()


def _remove_abandoned() -> None:
    """Removes networks of tests that were killed: their addresses are those that we take."""
    for line in _ip("-o", "address", "show", "to", f"{HERE}/30").splitlines():
        device = line.split()[1]
        name = device.removesuffix("a")
        if not psutil.pid_exists(int(name.removeprefix(_PREFIX))):
            _ip("link", "delete", device)
            _ip("netns", "delete", name)


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def _mac(*arguments: str) -> str:
    return _ip(*arguments).split("link/ether ")[1].split()[0]

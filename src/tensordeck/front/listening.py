"""Listening sockets on every address that a host setting means."""

import errno
import socket
from collections.abc import Iterator
from typing import Final

from tensordeck.errors import FailedPrecondition

BACKLOG: Final = 4096
"""Connections that the kernel holds until they are accepted."""

_ANY_PORT_TRIES: Final = 20
_NO_IPV6: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


def listen_on(host: str, port: int) -> list[socket.socket]:
    """Binds every address of a host to one port; `localhost` and 127.0.0.1 mean ::1 as well.

    Raises:
        FailedPrecondition: If that can't be.
    """
    loopback = host in {"localhost", "127.0.0.1"}
    addresses = ["127.0.0.1", "::1"] if loopback else list(_addresses(host, port))
    for attempt in range(_ANY_PORT_TRIES):
        sockets: list[socket.socket] = []
        try:
            for address in addresses:
                chosen = sockets[0].getsockname()[1] if sockets else port
                try:
                    sockets.append(_bind(address, chosen))
                except OSError as error:
                    if loopback and sockets and error.errno in _NO_IPV6:
                        continue
                    raise _cannot_listen(address, chosen, error) from error
        except FailedPrecondition:
            for bound in sockets:
                bound.close()
            # Of "any port", the first address chose one that the second has in use.
            if port or not sockets or attempt + 1 == _ANY_PORT_TRIES:
                raise
        else:
            return sockets
    raise AssertionError  # the last attempt returned or raised


def shown_host(host: str) -> str:
    """What people call this machine who open a server that listens on a host."""
    return "localhost" if host in ("127.0.0.1", "::1", "0.0.0.0", "::", "") else host  # noqa: S104 -- compared, not bound


def _addresses(host: str, port: int) -> Iterator[str]:
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
    except OSError as error:
        raise FailedPrecondition(
            f"host: {host!r} is no address of this machine ({error.strerror})."
        ) from error
    yield from dict.fromkeys(str(address[0]) for *_, address in found)


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit it: a client that vanished does not hold its place for ever.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address != "::"))
        bound.bind((address, port))
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except BaseException:
        bound.close()
        raise
    return bound


def _cannot_listen(address: str, port: int, error: OSError) -> FailedPrecondition:
    if error.errno == errno.EADDRINUSE:
        return FailedPrecondition(
            f"Port {port} of {address} is in use by another program. Stop that, or choose another "
            "port with --port."
        )
    if error.errno == errno.EACCES:
        return FailedPrecondition(
            f"Port {port} needs more rights than this user has; choose one above 1023 with --port."
        )
    return FailedPrecondition(
        f"{address} port {port} can't be listened on: {error.strerror}. Choose another address "
        "with --host."
    )

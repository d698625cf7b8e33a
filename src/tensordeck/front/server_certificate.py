"""The certificates that callers are shown: the operator's own for our address, ours for the rest.

A certificate of the operator's covers the address that people use. Google's hosts, for which the
gateway answers, are nobody's to certify but our own authority's: a caller that asks for one of them
by name (SNI, RFC 6066 section 3) is shown ours whatever the operator gave.
"""

import datetime as dt
import logging
import os
import ssl
from pathlib import Path
from typing import Final

import grpc

from tensordeck.errors import FailedPrecondition, InvalidArgument
from tensordeck.front.google_hosts import is_intercepted
from tensordeck.front.tls import RENEW_DAYS, Certificates
from tensordeck.settings import Settings

__all__ = ["ServerCertificate", "open_server_certificate"]

log: Final = logging.getLogger(__name__)

_State = tuple[tuple[int, int, int], ...]


def open_server_certificate(settings: Settings, ours: Certificates) -> "ServerCertificate":
    """Reads the certificate that the settings name, if they name one.

    Raises:
        InvalidArgument: If only one of certificate and key is named.
        FailedPrecondition: If they can't be read, don't belong together, or have ended.
    """
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise InvalidArgument(
            "tls-cert and tls-key belong together: give the certificate's chain and its key."
        )
    own = (Path(settings.tls_cert), Path(settings.tls_key)) if settings.tls_cert else None
    return ServerCertificate(ours, own)


class ServerCertificate:
    """What both listeners with TLS show, and how to show something else without a restart.

    Args:
        ours: The certificate of our own authority.
        own: The operator's chain and key, PEM files, if there are any.

    Raises:
        FailedPrecondition: As `open_server_certificate`.
    """

    def __init__(self, ours: Certificates, own: tuple[Path, Path] | None) -> None:
        self._ours = (ours.cert, ours.key)
        self._own = own
        self._fallback = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._fallback.load_cert_chain(*self._ours)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._fresh: grpc.ServerCertificateConfiguration | None = None
        self._seen: _State = ()
        self.ends = ours.ends
        """When the certificate for our address ends, in seconds since the epoch."""
        if own is None:
            self._context.load_cert_chain(*self._ours)
        else:
            self._context.sni_callback = self._choose
            self._load(own)

    def https_context(self) -> ssl.SSLContext:
        """The context of the HTTPS listener; a later `reload` changes it."""
        return self._context

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """The credentials of the gRPC listener."""
        if self._own is None:
            return grpc.ssl_server_credentials([_pair(self._ours)])
        return grpc.dynamic_ssl_server_credentials(self._pairs(self._own), self._fetch)

    def reload(self) -> bool:
        """Takes the operator's files anew if they have changed; new connections are shown them.

        Files that are no good change nothing: the log says why.

        Returns:
            Whether new ones are shown.
        """
        if self._own is None or self._seen == _state(self._own):
            return False
        try:
            self._load(self._own)
        except FailedPrecondition as error:
            log.error("The certificate stays as it was: %s", error.message)  # noqa: TRY400 -- the message is all
            self._seen = _state(self._own)
            return False
        self._fresh = self._pairs(self._own)
        log.info("The certificate was read anew; it ends on %s", _date(self.ends))
        return True

    def _load(self, own: tuple[Path, Path]) -> None:
        seen = _state(own)
        ends = _checked(*own)
        self._context.load_cert_chain(*own)
        self._seen, self.ends = seen, ends
        if ends < dt.datetime.now(dt.UTC).timestamp() + RENEW_DAYS * 86_400:
            log.warning("The certificate %s ends on %s", own[0], _date(ends))

    def _choose(self, connection: ssl.SSLObject, name: str | None, _context: object) -> None:
        if name and is_intercepted(name):
            connection.context = self._fallback

    def _fetch(self) -> "grpc.ServerCertificateConfiguration | None":
        """What grpcio asks before every handshake: a new configuration, or None for no change."""
        fresh, self._fresh = self._fresh, None
        return fresh

    def _pairs(self, own: tuple[Path, Path]) -> "grpc.ServerCertificateConfiguration":
        # grpcio shows the first whose names match what the client asks for, or else the first.
        return grpc.ssl_server_certificate_configuration([_pair(own), _pair(self._ours)])


def _pair(files: tuple[Path, Path]) -> tuple[bytes, bytes]:
    """The key and the chain, in grpcio's order."""
    return files[1].read_bytes(), files[0].read_bytes()


def _checked(certificate: Path, key: Path) -> float:
    """When a certificate ends, if it can be used with a key. Raises FailedPrecondition."""
    from cryptography import x509  # noqa: PLC0415 -- takes 100 ms, and only some have such a one

    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        # A password that is never asked for: without it OpenSSL would prompt on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        raise FailedPrecondition(
            f"tls-cert {certificate} and tls-key {key} can't be used together "
            f"({(error.reason or 'not readable as PEM').replace('_', ' ').lower()})."
        ) from error
    except OSError as error:
        raise FailedPrecondition(
            f"tls-cert or tls-key can't be read: {error.filename}: {error.strerror}."
        ) from error
    except ValueError as error:
        raise FailedPrecondition(
            f"tls-cert {certificate} holds no certificate in PEM form."
        ) from error
    ends = found.not_valid_after_utc
    if ends < dt.datetime.now(dt.UTC):
        raise FailedPrecondition(f"The certificate {certificate} ended on {ends:%Y-%m-%d}.")
    return ends.timestamp()


def _state(files: tuple[Path, Path]) -> _State:
    """What changes when one of the files does; empty while one is away."""
    try:
        found = [os.stat(path) for path in files]  # noqa: PTH116 -- follows links, as secrets are mounted
    except OSError:
        return ()
    return tuple((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in found)


def _date(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d")

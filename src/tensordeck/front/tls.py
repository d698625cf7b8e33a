"""Our own certificate authority and the server's certificate, made at first start.

Both are ECDSA P-256: the official client makes about one connection per call, and its handshake
costs a tenth of RSA's. The CA lives long, because every environment that was told of it must be
told again when it changes; the certificate lives as long as clients accept (398 days is the most
that browsers do) and is renewed at start. Names and extensions: RFC 5280.
"""

import datetime as dt
import ipaddress
import os
import re
import shutil
import socket
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import certifi
from msgspec import Struct
from msgspec.structs import replace

from tensordeck.errors import FailedPrecondition, InvalidArgument
from tensordeck.front.google_hosts import CERTIFICATE_NAMES
from tensordeck.settings import Settings
from tensordeck.whole_file import PUBLIC, sync, write_whole

RENEW_DAYS: Final = 30
"""A certificate that ends sooner than this is renewed at start."""

BUNDLE_VARIABLES: Final = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE")
"""Variables that may name authorities which the user trusts already (a company's own)."""

_DNS_NAME: Final = re.compile(r"(?:\*\.)?[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_EXPIRED: Final = 10  # X509_V_ERR_CERT_HAS_EXPIRED


class Certificates(Struct, frozen=True):
    """Where the PEM files lie.

    Attributes:
        ca: Our certificate authority.
        cert: The server's certificate.
        key: The server's private key.
        bundle: What a client must trust: the public authorities, the user's own, and ours.
        ends: When the certificate ends, in seconds since the epoch.
    """

    ca: Path
    cert: Path
    key: Path
    bundle: Path
    ends: float = 0.0

    @property
    def ca_key(self) -> Path:
        """The authority's private key."""
        return self.ca.with_name("ca-key.pem")


def ensure_certificates(
    settings: Settings, environ: Mapping[str, str] = os.environ
) -> Certificates:
    """Makes what is missing at the first start, renews what ends soon, and checks the rest.

    Args:
        settings: For the data directory and the names that the server has.
        environ: For the authorities that the user trusts already.

    Raises:
        InvalidArgument: If a setting names what no certificate can hold.
        FailedPrecondition: If some files are missing while others are there, one is damaged, or
            the folder can't be written. The message names the file and says what to do.
    """
    folder = settings.data_dir / "tls"
    files = _files(folder)
    names = _server_names(settings)
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        if not any(path.exists() for path in (files.ca, files.ca_key, files.cert, files.key)):
            _make_all(folder, names)
        _require_both(
            files.ca,
            files.ca_key,
            f"Restore it, or delete the folder {folder}: a new authority is made, and clients "
            "must load the new bundle.",
        )
        if not files.cert.exists() and not files.key.exists():
            _issue(files, names)
        _require_both(
            files.cert,
            files.key,
            f"Delete what is left of the two in {folder}: they are made again.",
        )
        expires, covered = _inspect(files)
        soon = dt.datetime.now(dt.UTC) + dt.timedelta(days=RENEW_DAYS)
        if expires < soon or not names <= covered:
            _issue(files, names)
            expires, _ = _inspect(files)
        bundle = _bundle(files, environ)
        if not files.bundle.exists() or files.bundle.read_bytes() != bundle:
            write_whole(files.bundle, bundle, PUBLIC, durable=True)
    except OSError as error:
        raise FailedPrecondition(
            f"{error.filename or folder}: {error.strerror}. The server keeps its certificates in "
            f"{folder}; make it readable and writable, or choose another --data-dir."
        ) from error
    return replace(files, ends=expires.timestamp())


def _files(folder: Path) -> Certificates:
    return Certificates(
        ca=folder / "ca.pem",
        cert=folder / "server.pem",
        key=folder / "server-key.pem",
        bundle=folder / "bundle.pem",
    )


def _make_all(folder: Path, names: frozenset[str]) -> None:
    """Makes authority and certificate; the folder appears whole or not at all."""
    from tensordeck.front import authority  # noqa: PLC0415 -- imports X.509, only to issue

    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".tls-"))
    try:
        files = _files(partial)
        ca, ca_key = authority.make_authority(f"Tensordeck CA of {socket.gethostname()}")
        write_whole(files.ca, ca, PUBLIC, durable=True)
        write_whole(files.ca_key, ca_key, durable=True)
        _issue(files, names)
        partial.chmod(0o755)
        sync(partial)  # a name that outlives a power cut should stand for all four files
        partial.rename(folder)
        sync(folder.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _issue(files: Certificates, names: frozenset[str]) -> None:
    """Makes the server's certificate, and its key when there is none yet.

    Raises:
        FailedPrecondition: If the authority's files are damaged.
    """
    from tensordeck.front import authority  # noqa: PLC0415 -- imports X.509, only to issue

    try:
        issuer = authority.load_authority(files.ca.read_bytes(), files.ca_key.read_bytes())
    except ValueError as error:
        raise FailedPrecondition(
            f"{files.ca} or {files.ca_key} is damaged: {error}. Restore both, or delete the "
            f"folder {files.ca.parent}: a new authority is made, and clients must load the new "
            "bundle."
        ) from error
    if not files.key.exists():
        write_whole(files.key, authority.make_key(), durable=True)
    write_whole(
        files.cert, issuer.issue(files.key.read_bytes(), sorted(names)), PUBLIC, durable=True
    )


def _require_both(certificate: Path, key: Path, way_out: str) -> None:
    for path in (certificate, key):
        if not path.exists():
            raise FailedPrecondition(f"{path} is missing. {way_out}")


def _server_names(settings: Settings) -> frozenset[str]:
    """The names the certificate must cover, DNS names and addresses alike.

    Raises:
        InvalidArgument: If a setting names what no certificate can hold.
    """
    names = {"localhost", "127.0.0.1", "::1", *CERTIFICATE_NAMES}
    names.add(_canonical(socket.gethostname()) or "localhost")
    if settings.host not in {"", "0.0.0.0", "::"}:  # noqa: S104 -- compared, not bound
        names.add(settings.host)
    if settings.public_url:
        names.add(urlsplit(settings.public_url).hostname or "localhost")
    for name in (*names, *settings.server_names):
        if not _canonical(name):
            raise InvalidArgument(f"server-names: {name!r} is neither a host name nor an address.")
    return frozenset(_canonical(name) for name in (*names, *settings.server_names))


def _canonical(name: str) -> str:
    """The one spelling of a name; empty if a certificate can't hold it."""
    name = name.strip().strip("[]").rstrip(".").lower()
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        name = name.encode("idna").decode() if not name.isascii() else name
    except UnicodeError:
        return ""
    return name if _DNS_NAME.fullmatch(name) else ""


def _inspect(files: Certificates) -> tuple[dt.datetime, frozenset[str]]:
    """Shakes hands with ourselves: returns when the certificate ends and what it names.

    That the four files are sound and belong together is then proven, without the X.509 parser
    that takes 100 ms to import.

    Raises:
        FailedPrecondition: If they don't.
    """
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False  # which names it must cover is compared afterwards
    try:
        client.load_verify_locations(files.ca)
    except ssl.SSLError as error:
        raise FailedPrecondition(
            f"{files.ca} is damaged ({_reason(error)}). Restore it, or delete the folder "
            f"{files.ca.parent}: a new authority is made, and clients must load the new bundle."
        ) from error
    try:
        # A password that is never asked for: without it OpenSSL would prompt on the terminal.
        server.load_cert_chain(files.cert, files.key, password="")
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        theirs = server.wrap_bio(to_server, to_client, server_side=True)
        ours = client.wrap_bio(to_client, to_server, server_hostname=None)
        for side in (ours, theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == _EXPIRED:
            return dt.datetime.fromtimestamp(0, dt.UTC), frozenset()
        raise FailedPrecondition(
            f"{files.cert} does not come from {files.ca} ({error.verify_message}). "
            f"Delete {files.cert} and {files.key}: they are made again."
        ) from error
    except ssl.SSLError as error:
        raise FailedPrecondition(
            f"{files.cert} or {files.key} is damaged ({_reason(error)}). "
            "Delete both: they are made again."
        ) from error
    peer = ours.getpeercert() or {}
    # The standard library types a certificate's fields as a union of everything they may be.
    expires = ssl.cert_time_to_seconds(str(peer["notAfter"]))
    names = frozenset(_canonical(str(entry[1])) for entry in peer.get("subjectAltName", ()))
    return dt.datetime.fromtimestamp(expires, dt.UTC), names


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or error.strerror or "not readable as PEM").replace("_", " ").lower()


def _bundle(files: Certificates, environ: Mapping[str, str]) -> bytes:
    """Authorities that the user's environment names, else the public ones; then ours."""
    parts: list[bytes] = []
    for variable in BUNDLE_VARIABLES:
        path = Path(environ.get(variable) or "")
        # A bundle of ours names an older state of all this: the server was started from `env`.
        if path.is_file() and path.parent.resolve() != files.ca.parent.resolve():
            content = path.read_bytes().strip()
            if content not in parts:
                parts.append(content)
    if not parts:
        parts.append(Path(certifi.where()).read_bytes().strip())
    parts.append(files.ca.read_bytes().strip())
    return b"\n".join(parts) + b"\n"

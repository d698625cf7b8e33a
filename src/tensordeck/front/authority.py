"""A private certificate authority: its making, and the certificates it issues (RFC 5280).

Apart from `tls`, because the X.509 library takes 100 ms to import and most starts issue nothing.
"""

import datetime as dt
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS: Final = 3650
SERVER_DAYS: Final = 397
"""Browsers refuse certificates that are valid for more than 398 days."""

_LONGEST_COMMON_NAME: Final = 64


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority that can issue.

    Attributes:
        certificate: Its own certificate.
        key: Its private key.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def issue(self, server_key: bytes, names: Iterable[str]) -> bytes:
        """Issues a server certificate.

        Args:
            server_key: The server's private key, PEM.
            names: DNS names and IP addresses that it covers.

        Returns:
            The certificate, PEM.

        Raises:
            ValueError: If the key can't be read.
        """
        public = _load_key(server_key).public_key()
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        certificate = (
            _builder(self.certificate.subject, _name("Tensordeck"), public, SERVER_DAYS)
            .add_extension(alternatives, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(issuer_id, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


def make_authority(common_name: str) -> tuple[bytes, bytes]:
    """Makes an authority; returns its certificate and its private key, PEM."""
    key_pem = make_key()
    key = _load_key(key_pem)
    name = _name(common_name)
    certificate = (
        _builder(name, name, key.public_key(), CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key_pem


def load_authority(certificate: bytes, key: bytes) -> Authority:
    """Reads an authority back from PEM.

    Raises:
        ValueError: If one can't be read, or they don't belong together.
    """
    loaded = Authority(x509.load_pem_x509_certificate(certificate), _load_key(key))
    if loaded.key.public_key() != loaded.certificate.public_key():
        raise ValueError("the key is not this authority's")
    return loaded


def make_key() -> bytes:
    """Makes an ECDSA P-256 private key, PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except TypeError as error:  # cryptography's way to say that there is a password
        raise ValueError("the private key is encrypted") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the private key is not an elliptic-curve key")  # noqa: TRY004 -- the file's content is wrong, not an argument's type
    return key


def _builder(
    issuer: x509.Name, subject: x509.Name, public: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    # An hour back, for clients whose clock is slow; it counts towards the days.
    start = now - dt.timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:_LONGEST_COMMON_NAME])])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)

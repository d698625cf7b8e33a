"""A certificate of the operator's own: shown for our address, and read anew without a restart."""

import datetime as dt
import signal
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tensordeck.errors import FailedPrecondition, InvalidArgument
from tensordeck.front.server_certificate import open_server_certificate
from tensordeck.front.tls import ensure_certificates
from tensordeck.settings import Settings
from tests.conftest import Server, make_server

HOST = "deck.example.com"
GOOGLE = "us-central1-aiplatform.googleapis.com"
PEM = serialization.Encoding.PEM


@dataclass
class Issuer:
    """A company's certificate authority."""

    folder: Path

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Company CA")])
        builder = self._builder(self.name, self.key.public_key(), 365)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        self.file = self.folder / "company.pem"
        self.file.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(PEM))

    def issue(self, name: str = "deck", days: int = 90) -> int:
        """Writes NAME.pem and NAME.key; returns the certificate's serial number."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
        names = x509.SubjectAlternativeName([x509.DNSName(HOST)])
        certificate = (
            self._builder(subject, key.public_key(), days)
            .add_extension(names, False)
            .sign(self.key, hashes.SHA256())
        )
        (self.folder / f"{name}.key").write_bytes(
            key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        (self.folder / f"{name}.pem").write_bytes(certificate.public_bytes(PEM))
        return certificate.serial_number

    def _builder(self, subject, public_key, days):
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=400))
            .not_valid_after(now + dt.timedelta(days=days))
        )


@pytest.fixture(scope="module")
def issuer(tmp_path_factory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("company"))


@pytest.fixture(scope="module")
def server(issuer, tmp_path_factory) -> Iterator[Server]:
    issuer.issue()
    files = (
        "--tls-cert",
        str(issuer.folder / "deck.pem"),
        "--tls-key",
        str(issuer.folder / "deck.key"),
    )
    server = make_server(tmp_path_factory.mktemp("own") / "data", *files)
    yield server.start()
    server.kill()


def shown(server: Server, name: str, alpn: str = "http/1.1") -> x509.Certificate:
    """The certificate that a caller sees who asks for a name."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([alpn])
    with (
        socket.create_connection(("127.0.0.1", server.port)) as connection,
        context.wrap_socket(connection, server_hostname=name) as wrapped,
    ):
        return x509.load_der_x509_certificate(wrapped.getpeercert(binary_form=True))


def issuer_name(certificate: x509.Certificate) -> str:
    return str(certificate.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


@pytest.mark.parametrize("alpn", ["http/1.1", "h2"])
def test_our_address_shows_the_operator_s_and_google_s_hosts_ours(server, alpn):
    assert issuer_name(shown(server, HOST, alpn)) == "Company CA"
    assert issuer_name(shown(server, GOOGLE, alpn)).startswith("Tensordeck CA")


def test_a_grpc_client_that_trusts_the_company_is_served(server, issuer):
    credentials = grpc.ssl_channel_credentials(issuer.file.read_bytes())
    options = [("grpc.ssl_target_name_override", HOST)]
    with grpc.secure_channel(f"127.0.0.1:{server.port}", credentials, options) as channel:
        call = channel.unary_unary("/google.cloud.aiplatform.v1.TensorboardService/GetTensorboard")
        with pytest.raises(grpc.RpcError) as refused:
            call(b"", timeout=20)

    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED  # so it was understood


def test_the_gateway_still_works_for_cloud_scripts(server):
    done = server.exec(
        sys.executable,
        "-c",
        f"import requests; print(requests.get('https://{GOOGLE}/healthz').text)",
    )

    assert done.stdout.strip() == "ok", done.stderr


def test_sighup_has_renewed_files_shown_by_both_listeners(server, issuer):
    serial = issuer.issue()

    server.process.send_signal(signal.SIGHUP)

    for alpn in ("http/1.1", "h2"):
        deadline = time.monotonic() + 20
        while shown(server, HOST, alpn).serial_number != serial:
            assert time.monotonic() < deadline, f"{alpn} still shows the old one"
    assert issuer_name(shown(server, GOOGLE, "h2")).startswith("Tensordeck CA")


def test_sighup_with_files_that_are_no_good_changes_nothing(server, issuer):
    before = shown(server, HOST).serial_number
    content = (issuer.folder / "deck.pem").read_bytes()
    (issuer.folder / "deck.pem").write_text("not a certificate")
    try:
        server.process.send_signal(signal.SIGHUP)
        assert shown(server, HOST).serial_number == before
        assert shown(server, HOST, "h2").serial_number == before
        assert server.process.poll() is None
    finally:
        (issuer.folder / "deck.pem").write_bytes(content)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (("deck.pem", ""), "belong together"),
        (("deck.pem", "other.key"), "can't be used together"),
        (("ended.pem", "ended.key"), "ended on"),
        (("missing.pem", "deck.key"), "No such file"),
        (("deck.key", "deck.key"), "no certificate in PEM form"),
    ],
)
def test_files_that_can_not_be_used_are_refused_in_one_line(issuer, tmp_path, files, said):
    issuer.issue()
    issuer.issue("other")
    issuer.issue("ended", days=-1)
    certificate, key = (str(issuer.folder / file) if file else "" for file in files)
    settings = Settings(data_dir=tmp_path, tls_cert=certificate, tls_key=key)
    ours = ensure_certificates(settings, environ={})

    with pytest.raises((InvalidArgument, FailedPrecondition), match=said) as refused:
        open_server_certificate(settings, ours)

    assert "\n" not in refused.value.message

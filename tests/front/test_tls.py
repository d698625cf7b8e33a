import datetime
import os
import ssl
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import certifi
import pytest
from cryptography import x509

from tensordeck.errors import FailedPrecondition, InvalidArgument
from tensordeck.front import authority
from tensordeck.front.google_hosts import is_intercepted
from tensordeck.front.tls import ensure_certificates
from tensordeck.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


def handshake(files, name: str) -> dict:
    """A client that trusts only the bundle, strictly, connects to a server of that name."""
    client = ssl.create_default_context(cafile=str(files.bundle))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.cert, files.key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    ours = client.wrap_bio(to_client, to_server, server_hostname=name)
    for side in (ours, theirs, ours, theirs):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return ours.getpeercert()


HOSTS = [
    "us-central1-aiplatform.googleapis.com",
    "aiplatform.googleapis.com",
    "aiplatform.us.rep.googleapis.com",
    "aiplatform.eu.rep.googleapis.com",
    "storage.googleapis.com",
    "my-bucket.storage.googleapis.com",
    "www.googleapis.com",
    "oauth2.googleapis.com",
    "iamcredentials.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "logging.googleapis.com",
    "us-central1.tensorboard.googleusercontent.com",
]


def test_the_certificate_covers_every_name_that_we_stand_for(settings):
    given = replace(settings, server_names=("deck.example.com", "10.1.2.3"), host="127.0.0.1")
    files = ensure_certificates(given, {})

    for name in [*HOSTS, "localhost", "127.0.0.1", "::1", "deck.example.com", "10.1.2.3"]:
        handshake(files, name)
    assert all(is_intercepted(host) for host in HOSTS)


@pytest.mark.parametrize(
    "host",
    [
        "google.com",
        "pypi.org",
        "bigquery.googleapis.com",
        "aiplatform.googleapis.com.evil.org",
        "evil-googleapis.com",
        "x.us-central1-aiplatform.googleapis.com",
        "",
    ],
)
def test_other_hosts_are_not_intercepted(host):
    assert not is_intercepted(host)


def test_intercepted_hosts_are_matched_whatever_their_case_and_final_dot():
    assert is_intercepted("Storage.GoogleAPIs.com.")


def test_keys_are_for_the_owner_only(settings):
    files = ensure_certificates(settings, {})

    for key in (files.key, files.ca_key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_second_start_keeps_everything(settings):
    files = ensure_certificates(settings, {})
    before = {path: path.read_bytes() for path in files.ca.parent.iterdir()}

    assert ensure_certificates(settings, {}) == files
    assert {path: path.read_bytes() for path in files.ca.parent.iterdir()} == before


def test_a_certificate_that_ends_soon_is_renewed_by_the_same_authority(settings, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(authority, "SERVER_DAYS", 29)
        files = ensure_certificates(settings, {})
    ca, key, old = files.ca.read_bytes(), files.key.read_bytes(), files.cert.read_bytes()

    ensure_certificates(settings, {})

    assert files.cert.read_bytes() != old
    assert (files.ca.read_bytes(), files.key.read_bytes()) == (ca, key)
    renewed = x509.load_pem_x509_certificate(files.cert.read_bytes())
    left = renewed.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    assert left > datetime.timedelta(days=390)
    span = renewed.not_valid_after_utc - renewed.not_valid_before_utc
    assert span <= datetime.timedelta(days=397)
    handshake(files, "localhost")


def test_an_expired_certificate_is_renewed(settings, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(authority, "SERVER_DAYS", 0)
        files = ensure_certificates(settings, {})

    ensure_certificates(settings, {})

    handshake(files, "localhost")


def test_a_new_name_gets_a_new_certificate(settings):
    ca = ensure_certificates(settings, {}).ca.read_bytes()

    files = ensure_certificates(replace(settings, server_names=("deck.example.com",)), {})

    handshake(files, "deck.example.com")
    assert files.ca.read_bytes() == ca


@pytest.mark.parametrize("name", ["a b", "x" * 64, "-*.a", "a..b"])
def test_a_name_that_no_certificate_holds_is_refused(settings, name):
    with pytest.raises(InvalidArgument, match="server-names"):
        ensure_certificates(replace(settings, server_names=(name,)), {})


@pytest.mark.parametrize("name", ["ca.pem", "ca-key.pem", "server.pem", "server-key.pem"])
def test_a_missing_file_is_one_clear_line(settings, name):
    missing = ensure_certificates(settings, {}).ca.parent / name
    missing.unlink()

    with pytest.raises(FailedPrecondition) as caught:
        ensure_certificates(settings, {})

    assert str(missing) in caught.value.message
    assert "is missing" in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", ["ca.pem", "server.pem", "server-key.pem"])
@pytest.mark.parametrize("damage", [b"", b"not PEM", b"-----BEGIN CERTIFICATE-----\nQUJD\n"])
def test_a_damaged_file_is_one_clear_line(settings, name, damage):
    damaged = ensure_certificates(settings, {}).ca.parent / name
    damaged.write_bytes(damage)

    with pytest.raises(FailedPrecondition) as caught:
        ensure_certificates(settings, {})

    assert str(damaged) in caught.value.message
    assert "damaged" in caught.value.message
    assert "\n" not in caught.value.message


def test_a_damaged_authority_key_shows_when_it_is_needed(settings):
    files = ensure_certificates(settings, {})
    files.ca_key.write_bytes(b"not PEM")

    with pytest.raises(FailedPrecondition, match="damaged"):
        ensure_certificates(replace(settings, server_names=("new.example.com",)), {})


def test_files_of_two_authorities_do_not_pass(settings, tmp_path):
    files = ensure_certificates(settings, {})
    other = ensure_certificates(Settings(data_dir=tmp_path / "other"), {})
    files.cert.write_bytes(other.cert.read_bytes())
    files.key.write_bytes(other.key.read_bytes())

    with pytest.raises(FailedPrecondition, match="does not come from"):
        ensure_certificates(settings, {})


def test_deleting_certificate_and_key_is_the_way_out(settings):
    files = ensure_certificates(settings, {})
    files.cert.unlink()
    files.key.unlink()

    handshake(ensure_certificates(settings, {}), "localhost")


def test_the_bundle_has_the_public_authorities_and_ours(settings):
    files = ensure_certificates(settings, {})

    bundle = files.bundle.read_bytes()
    assert Path(certifi.where()).read_bytes().strip() in bundle
    assert files.ca.read_bytes().strip() in bundle


def test_the_bundle_has_the_authorities_that_the_user_trusts_already(settings, tmp_path):
    company = tmp_path / "company.pem"
    company.write_bytes(authority.make_authority("Company")[0])
    environ = {"REQUESTS_CA_BUNDLE": str(company), "SSL_CERT_FILE": str(company)}

    files = ensure_certificates(settings, environ)

    bundle = files.bundle.read_bytes()
    assert bundle == company.read_bytes().strip() + b"\n" + files.ca.read_bytes()


def test_a_server_started_inside_its_own_environment_does_not_trust_in_circles(settings):
    files = ensure_certificates(settings, {})
    before = files.bundle.read_bytes()

    ensure_certificates(settings, {"SSL_CERT_FILE": str(files.bundle)})

    assert files.bundle.read_bytes() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_can_not_be_written_is_one_clear_line(settings):
    settings.data_dir.mkdir()
    settings.data_dir.chmod(0o500)

    with pytest.raises(FailedPrecondition, match="--data-dir"):
        ensure_certificates(settings, {})


def test_a_file_in_the_place_of_the_data_directory_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(FailedPrecondition, match="--data-dir"):
        ensure_certificates(Settings(data_dir=tmp_path / "file"), {})


def test_openssl_verifies_the_chain_strictly(settings):
    files = ensure_certificates(settings, {})

    command = ["openssl", "verify", "-x509_strict", "-CAfile", str(files.ca), str(files.cert)]
    assert subprocess.run(command, capture_output=True, check=True).stdout.endswith(b": OK\n")

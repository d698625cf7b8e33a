"""Which server a command means."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensordeck.cli.endpoint import locate, require_answer, split_address
from tensordeck.errors import FailedPrecondition, InvalidArgument, Unavailable
from tensordeck.redirect.endpoint import Endpoint


def written(folder: Path, **record: object) -> Path:
    (folder / "server.json").write_text(json.dumps(record))
    return folder


def found(folder: Path, **options: object) -> tuple[str, int]:
    endpoint = locate(data_dir=str(folder), environ={}, **options)
    return endpoint.host, endpoint.port


def test_the_running_server_says_where_it_listens(tmp_path: Path):
    written(tmp_path, pid=1, port=7001, url="http://localhost:7001")

    assert found(tmp_path) == ("127.0.0.1", 7001)


def test_an_explicit_port_wins(tmp_path: Path):
    written(tmp_path, pid=1, port=7001, url="http://localhost:7001")

    assert found(tmp_path, port=7002) == ("127.0.0.1", 7002)


def test_a_server_on_another_address_of_this_machine_is_found_there(tmp_path: Path):
    written(tmp_path, pid=1, port=7001, url="http://10.0.0.5:7001")

    assert found(tmp_path) == ("10.0.0.5", 7001)


def test_a_load_balancer_before_it_does_not_mislead(tmp_path: Path):
    written(tmp_path, pid=1, port=7001, url="https://deck.example.com")

    assert found(tmp_path) == ("127.0.0.1", 7001)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"port": "x", "url": 3}', '{"port": 1}'])
def test_a_torn_note_is_no_note(tmp_path: Path, text: str):
    (tmp_path / "server.json").write_text(text)

    assert found(tmp_path) == ("127.0.0.1", 6060)


def test_files_are_named_absolutely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)

    endpoint = locate(data_dir="data", environ={})

    assert endpoint.credentials == tmp_path / "data" / "credentials" / "owner.json"
    assert endpoint.ca_bundle == tmp_path / "data" / "tls" / "bundle.pem"


def test_a_url_means_a_remote_server_and_needs_credentials():
    environ = {"TENSORDECK_URL": "https://deck.example.com", "TENSORDECK_CREDENTIALS": "/key.json"}

    endpoint = locate(environ=environ)

    assert (endpoint.host, endpoint.port, endpoint.local) == ("deck.example.com", 443, False)
    assert endpoint.credentials == Path("/key.json")
    assert endpoint.ca_bundle.is_file()
    with pytest.raises(InvalidArgument, match="--credentials"):
        locate(url="https://deck.example.com", environ={})


def test_a_missing_data_directory_is_told(tmp_path: Path):
    with pytest.raises(FailedPrecondition, match="no data directory"):
        locate(data_dir=str(tmp_path / "none"), environ={})


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://localhost:6060", ("localhost", 6060)),
        ("http://localhost:6060/", ("localhost", 6060)),
        ("https://deck.example.com", ("deck.example.com", 443)),
        ("http://[::1]:6060", ("::1", 6060)),
        ("http://[::1]", ("::1", 80)),
    ],
)
def test_an_address_is_taken_apart(url: str, address: tuple[str, int]):
    assert split_address(url) == address


@pytest.mark.parametrize(
    "url", ["", "localhost:6060", "ftp://x", "http://", "http://x:y", "http://x/y", "http://u@x"]
)
def test_what_is_no_address_is_refused(url: str):
    with pytest.raises(InvalidArgument, match="http://localhost:6060"):
        split_address(url)


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_refused(text: str):
    try:
        host, port = split_address(text)
    except InvalidArgument:
        return
    assert host
    assert port > 0


def nowhere(port: int) -> Endpoint:
    file = Path("/nowhere")
    return Endpoint(f"http://localhost:{port}", "127.0.0.1", port, file, file, file, local=True)


def test_a_silent_port_is_told_with_the_way_out():
    with pytest.raises(Unavailable, match="tensordeck serve"):
        require_answer(nowhere(1))

"""The gateway with real proxy clients before it and real servers, ours and others', behind it."""

import asyncio
import base64
import contextlib
import http.server
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from tensordeck.errors import InvalidArgument
from tensordeck.front import gateway
from tensordeck.front.authority import load_authority, make_authority, make_key
from tensordeck.front.gateway import Gateway, UpstreamProxy
from tensordeck.front.proxy_request import MalformedRequest, ProxyRequest
from tests.front.house import (
    PROXY_PASSWORD,
    House,
    body_of,
    listener_of,
    open_house,
    own_address,
    raw_request,
    secure_channel,
    trusting,
)


@pytest.fixture(scope="module", autouse=True)
def _no_outer_proxy() -> Iterator[None]:
    """Tests say themselves which proxy there is."""
    with pytest.MonkeyPatch.context() as patched:
        for name in ("https_proxy", "http_proxy", "no_proxy", "all_proxy"):
            patched.delenv(name, raising=False)
            patched.delenv(name.upper(), raising=False)
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # requests prefers them to `verify`
            patched.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, _no_outer_proxy) -> Iterator[House]:
    with open_house(tmp_path_factory.mktemp("house")) as opened:
        yield opened


class Stranger(http.server.BaseHTTPRequestHandler):
    """A server that is not us."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"stranger {self.path} {self.headers.get('Via', '')[:14]}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int, Path]]:
    """Ports of a plain and a TLS server with an authority of its own, and that authority."""
    folder = tmp_path_factory.mktemp("stranger")
    ca, ca_key = make_authority("Stranger")
    key = make_key()
    (folder / "ca.pem").write_bytes(ca)
    (folder / "key.pem").write_bytes(key)
    (folder / "cert.pem").write_bytes(load_authority(ca, ca_key).issue(key, ["127.0.0.1"]))
    plain = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    secure = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    for server in (plain, secure):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield plain.server_port, secure.server_port, folder / "ca.pem"
    for server in (plain, secure):
        server.shutdown()
        server.server_close()


def proxies(house: House) -> dict[str, str]:
    return {"https": house.proxy, "http": house.proxy}


@pytest.mark.parametrize(
    "host",
    [
        "us-central1-aiplatform.googleapis.com",
        "aiplatform.us.rep.googleapis.com",
        "storage.googleapis.com",
        "bucket.storage.googleapis.com",
        "oauth2.googleapis.com",
        "logging.googleapis.com",
        "www.googleapis.com",
    ],
)
def test_requests_to_google_hosts_reach_us(house, host):
    reply = requests.get(
        f"https://{host}/v1/x?y=1", proxies=proxies(house), verify=str(house.files.bundle)
    ).json()

    assert (reply["listener"], reply["host"], reply["query"]) == ("https", host, "y=1")


def test_httpx_reaches_us_through_the_gateway(house):
    with httpx.Client(proxy=house.proxy, verify=trusting(house)) as client:
        assert client.get("https://storage.googleapis.com/x").json()["listener"] == "https"


def test_grpc_to_a_google_host_reaches_us(house):
    options = (("grpc.http_proxy", house.proxy), ("grpc.use_local_subchannel_pool", 1))
    target = "europe-west4-aiplatform.googleapis.com:443"
    with secure_channel(house, target, *options) as channel:
        assert listener_of(channel, bytes(100_000)) == "grpc_tls"


def test_grpc_reads_the_proxy_variable(house, monkeypatch):
    monkeypatch.setenv("https_proxy", house.proxy)
    with secure_channel(house, "us-west1-aiplatform.googleapis.com:443") as channel:
        assert listener_of(channel) == "grpc_tls"


def test_another_host_is_tunnelled_untouched(house, stranger):
    _, port, authority = stranger
    with requests.Session() as session:
        session.proxies = proxies(house)
        session.verify = str(authority)
        for path in ("/one", "/two"):
            assert session.get(f"https://127.0.0.1:{port}{path}").text == f"stranger {path} "


def test_plain_http_is_forwarded(house, stranger):
    reply = requests.get(f"http://127.0.0.1:{stranger[0]}/a?b=c", proxies=proxies(house))

    assert reply.text.startswith("stranger /a?b=c 1.1 tensordeck")


def test_plain_http_to_a_google_host_reaches_us(house):
    reply = requests.get("http://storage.googleapis.com/b/o?x=1", proxies=proxies(house)).json()

    assert (reply["listener"], reply["path"], reply["query"]) == ("http", "/b/o", "x=1")


def test_bytes_sent_together_with_the_connect_are_not_lost(house):
    get = b"GET /early HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with house.connect() as connection:
        reply = raw_request(connection, b"CONNECT storage.googleapis.com:80 HTTP/1.1\r\n\r\n" + get)
    established, _, rest = reply.partition(b"\r\n\r\n")

    assert established.startswith(b"HTTP/1.1 200 ")
    assert body_of(rest)["path"] == "/early"


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"CONNECT nonsense HTTP/1.1", 400),
        (b"CONNECT :443 HTTP/1.1", 400),
        (b"CONNECT a:443:7 HTTP/1.1", 400),
        (b"CONNECT a:0 HTTP/1.1", 400),
        (b"CONNECT a:70000 HTTP/1.1", 400),
        (b"CONNECT a:443/path HTTP/1.1", 400),
        (b"CONNECT a b:443 HTTP/1.1", 400),
        (b"CONNECT a:443 HTTP/3", 400),
        (b"CONNECT a:443 HTTP/1.1\r\nno colon", 400),
        (b"GET http:// HTTP/1.1", 400),
        (b"GET http://user@host/ HTTP/1.1", 400),
        (b"CONNECT nowhere.invalid:443 HTTP/1.1", 502),
        (b"GET http://nowhere.invalid/ HTTP/1.1", 502),
    ],
)
def test_bad_requests_get_a_status_and_one_line(house, request_line, status):
    with house.connect() as connection:
        reply = raw_request(connection, request_line + b"\r\n\r\n")
    head, _, body = reply.partition(b"\r\n\r\n")

    assert int(head.split(b" ")[1]) == status
    assert body.count(b"\n") == 1
    assert body.endswith(b"\n")


def test_a_host_that_does_not_listen_is_a_bad_gateway(house):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with house.connect() as connection:
            request = f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode()
            assert b"refused" in raw_request(connection, request).lower()


def test_a_host_that_does_not_answer_is_a_gateway_timeout(house, monkeypatch):
    monkeypatch.setattr(gateway, "CONNECT_SECONDS", 0.05)
    with socket.socket() as full, contextlib.ExitStack() as held:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # fills the backlog: the kernel then ignores who connects
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        with house.connect() as connection:
            request = f"CONNECT 127.0.0.1:{full.getsockname()[1]} HTTP/1.1\r\n\r\n".encode()
            assert raw_request(connection, request).startswith(b"HTTP/1.1 504 ")


def test_a_connect_inside_a_connect_is_refused(house):
    with house.connect() as connection:
        connect = b"CONNECT storage.googleapis.com:443 HTTP/1.1\r\n\r\n"
        connection.sendall(connect)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        assert raw_request(connection, connect).startswith(b"HTTP/1.1 400 ")


def test_an_idle_tunnel_does_not_hold_the_stop(tmp_path, stranger):
    with open_house(tmp_path) as house, house.connect() as connection:
        connection.sendall(f"CONNECT 127.0.0.1:{stranger[0]} HTTP/1.1\r\n\r\n".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        house.run(asyncio.wait_for(house.door.stop(60), 10))
        assert connection.recv(1000) == b""


class TestUpstreamProxy:
    @pytest.fixture
    def outer(self, tmp_path) -> Iterator[House]:
        """A second gateway, which stands for a company's proxy."""
        with open_house(tmp_path / "outer") as opened:
            yield opened

    @pytest.fixture
    def inner(self, tmp_path, outer) -> Iterator[House]:
        with open_house(
            tmp_path / "inner", upstream_proxy=f"http://us%40er:p%3Aw@127.0.0.1:{outer.port}"
        ) as opened:
            yield opened

    @pytest.fixture
    def seen(self, monkeypatch) -> list[ProxyRequest]:
        """What any gateway in this process was asked to connect to."""
        requests_seen = []
        original = Gateway.connect

        async def connect(self, request, protocol, *, trusted):
            requests_seen.append(request)
            # Two gateways in one process have one mark; they are to be taken for two.
            headers = tuple(one for one in request.headers if one[0] != "Via")
            request = ProxyRequest(
                request.method, request.host, request.port, request.target, headers
            )
            # The name that the test uses for "a host out there".
            if request.host == "out.example" and self._proxy is None:
                request = ProxyRequest(
                    request.method, "127.0.0.1", request.port, request.target, headers
                )
            await original(self, request, protocol, trusted=trusted)

        monkeypatch.setattr(Gateway, "connect", connect)
        return requests_seen

    def test_tunnels_go_through_it_with_its_credential(self, inner, outer, stranger, seen):
        assert outer.port
        with inner.connect() as connection:
            connection.sendall(f"CONNECT out.example:{stranger[0]} HTTP/1.1\r\n\r\n".encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
            reply = raw_request(connection, b"GET /far HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert b"stranger /far" in reply
        credential = base64.b64encode(b"us@er:p:w").decode()
        assert seen[1].header("proxy-authorization") == f"Basic {credential}"

    def test_plain_requests_go_through_it(self, inner, outer, stranger, seen):
        assert outer.port
        reply = requests.get(f"http://out.example:{stranger[0]}/far", proxies=proxies(inner))
        assert reply.text.startswith("stranger /far")
        assert len(seen) == 2

    def test_hosts_of_this_machine_do_not(self, inner, stranger, seen):
        reply = requests.get(f"http://127.0.0.1:{stranger[0]}/near", proxies=proxies(inner))
        assert reply.text.startswith("stranger /near")
        assert len(seen) == 1

    def test_its_refusal_is_passed_on_as_a_bad_gateway(self, inner, seen):
        with pytest.raises(requests.exceptions.ProxyError, match=r"upstream proxy.*answered 502"):
            requests.get("https://nowhere.invalid/", proxies=proxies(inner))
        assert len(seen) == 2

    def test_its_absence_is_a_bad_gateway(self, tmp_path):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}"
            with open_house(tmp_path, upstream_proxy=url) as house:
                reply = requests.get("http://out.example/", proxies=proxies(house))
        assert reply.status_code == 502
        assert "upstream proxy" in reply.text

    def test_the_way_back_to_ourselves_is_noticed(self, tmp_path):
        with open_house(tmp_path / "a") as back:
            # The second gateway of the same process bears the same mark as the first.
            url = f"http://127.0.0.1:{back.port}"
            with open_house(tmp_path / "b", upstream_proxy=url) as house:
                reply = requests.get("http://out.example/", proxies=proxies(house))
        assert reply.status_code == 508

    def test_our_own_environment_names_no_other_proxy(self):
        environ = {"https_proxy": "http://127.0.0.1:6060"}
        assert Gateway(print, "", frozenset({6060}), environ)._proxy is None
        assert Gateway(print, "", frozenset({7070}), environ)._proxy is not None

    def test_no_proxy_is_honoured(self):
        environ = {"https_proxy": "http://proxy:3128", "no_proxy": "corp.example, 10.1.2.3"}
        chosen = Gateway(print, "", frozenset(), environ)._proxy_for

        def wanted(host: str) -> bool:
            return chosen(ProxyRequest("CONNECT", host, 443, "", ())) is not None

        assert wanted("pypi.org")
        assert not wanted("git.corp.example")
        assert not wanted("10.1.2.3")
        assert not wanted("localhost")

    @pytest.mark.parametrize("url", ["socks5://a:1", "http://", "http://a:x", "http://[::1"])
    def test_a_url_that_is_none_is_refused(self, url):
        with pytest.raises(InvalidArgument, match="upstream-proxy"):
            UpstreamProxy.parse(url)

    @given(st.text(max_size=30))
    def test_any_text_is_read_or_refused(self, url):
        with contextlib.suppress(InvalidArgument):
            UpstreamProxy.parse(url)


class TestFromAnotherMachine:
    @pytest.fixture
    def away(self, tmp_path) -> Iterator[tuple[House, str]]:
        with open_house(tmp_path, host="0.0.0.0") as opened:
            yield opened, f"{own_address()}:{opened.port}"

    def test_a_credential_is_demanded(self, away):
        house, address = away
        for password in ("", "user:wrong@"):
            with pytest.raises(requests.exceptions.ProxyError, match="407"):
                requests.get(
                    "https://storage.googleapis.com/",
                    proxies={"https": f"http://{password}{address}"},
                    verify=str(house.files.bundle),
                )

    def test_with_a_credential_google_hosts_reach_us(self, away):
        house, address = away
        reply = requests.get(
            "https://storage.googleapis.com/",
            proxies={"https": f"http://user:sesame@{address}"},
            verify=str(house.files.bundle),
        )
        assert reply.json()["listener"] == "https"

    def test_grpc_shows_the_credential_too(self, away):
        house, address = away
        options = (
            ("grpc.http_proxy", f"http://user:sesame@{address}"),
            ("grpc.use_local_subchannel_pool", 1),
        )
        target = "us-east1-aiplatform.googleapis.com:443"
        with secure_channel(house, target, *options) as channel:
            assert listener_of(channel) == "grpc_tls"

    def test_grpc_without_one_fails_clearly(self, away):
        house, address = away
        options = (("grpc.http_proxy", address), ("grpc.use_local_subchannel_pool", 1))
        with (
            secure_channel(house, "us-east4-aiplatform.googleapis.com:443", *options) as channel,
            pytest.raises(grpc.RpcError) as caught,
        ):
            listener_of(channel)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    @pytest.mark.parametrize(
        "target",
        [
            "127.0.0.1:22",
            "localhost:22",
            "[::1]:22",
            "[::ffff:127.0.0.1]:22",
            "[64:ff9b::7f00:1]:22",
            "[2002:7f00:1::]:22",
            "10.0.0.1:22",
            "192.168.1.1:22",
            "169.254.169.254:80",
            "[fe80::1]:22",
            "[fd00::1]:22",
            "0.0.0.0:22",
            "224.0.0.1:22",
            "2130706433:22",
            "0x7f.1:22",
        ],
    )
    def test_addresses_that_are_not_public_are_out_of_reach(self, away, target):
        house, _ = away
        with socket.create_connection((own_address(), house.port), 10) as connection:
            head = f"CONNECT {target} HTTP/1.1\r\nProxy-Authorization: {PROXY_PASSWORD}\r\n\r\n"
            reply = raw_request(connection, head.encode())
        assert reply.startswith(b"HTTP/1.1 403 "), reply

    def test_plain_http_is_not_answered_even_with_one(self, away):
        _, address = away
        reply = requests.get(
            "http://storage.googleapis.com/", proxies={"http": f"http://user:sesame@{address}"}
        )
        assert reply.status_code == 426


@given(st.binary(max_size=200))
def test_any_head_is_read_or_refused(head):
    with contextlib.suppress(MalformedRequest):
        ProxyRequest.parse(b"CONNECT " + head + b"\r\n\r\n")


@given(st.from_regex(r"(GET|CONNECT) (http://)?[^\r\n ]{0,40} HTTP/1\.1", fullmatch=True))
def test_a_head_that_is_read_names_one_host_and_port(line):
    try:
        request = ProxyRequest.parse(line.encode("utf-8", "replace") + b"\r\n\r\n")
    except MalformedRequest:
        return
    assert request.host
    assert 0 < request.port < 65536
    assert "\r" not in request.address
    assert os.sep not in request.host

"""The door with real clients before it and real gRPC and HTTP servers behind it."""

import asyncio
import contextlib
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest
import requests

from tensordeck.errors import FailedPrecondition, InvalidArgument
from tensordeck.front import arrival
from tensordeck.front.door import Door, Upstreams
from tests.front.house import (
    House,
    body_of,
    listener_of,
    open_house,
    own_address,
    raw_request,
    read_all,
    secure_channel,
    trusting,
)

GET = b"GET /here?a=b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with open_house(tmp_path_factory.mktemp("house")) as opened:
        yield opened


@pytest.fixture
def away(tmp_path: Path) -> Iterator[tuple[House, str]]:
    """A door on every address, and an address of this machine that is not loopback."""
    address = own_address()
    with open_house(tmp_path, host="0.0.0.0") as opened:
        yield opened, address


def test_requests_over_tls_reach_https(house):
    url = f"https://localhost:{house.port}/v1/x"
    assert requests.get(url, verify=str(house.files.bundle)).json()["listener"] == "https"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_httpx_reaches_https_by_every_name_of_this_machine(house, host):
    url = f"https://{host}:{house.port}/v1/x"
    assert httpx.get(url, verify=trusting(house)).json()["listener"] == "https"


def test_a_client_that_offers_both_protocols_gets_http_1(house):
    context = trusting(house)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with context.wrap_socket(house.connect(), server_hostname="localhost") as connection:
        assert body_of(raw_request(connection, GET))["listener"] == "https"


def test_grpc_over_tls_reaches_grpc(house):
    with secure_channel(house, f"localhost:{house.port}") as channel:
        assert listener_of(channel) == "grpc_tls"


def test_plain_grpc_from_this_machine_reaches_grpc(house):
    with grpc.insecure_channel(f"localhost:{house.port}") as channel:
        assert listener_of(channel) == "grpc_plain"


def test_plain_http_from_this_machine_reaches_http(house):
    reply = requests.post(f"http://localhost:{house.port}/here?a=b", data=b"xyz").json()

    assert reply["listener"] == "http"
    assert (reply["path"], reply["query"], reply["size"]) == ("/here", "a=b", 3)


def test_large_messages_pass_both_ways_unaltered(house):
    payload = bytes(range(256)) * 80_000
    with secure_channel(house, f"localhost:{house.port}") as channel:
        assert listener_of(channel, payload) == "grpc_tls"
    url = f"https://localhost:{house.port}"
    size = 30_000_000
    assert requests.post(url, data=bytes(size), verify=str(house.files.bundle)).json()["size"] == (
        size
    )
    assert len(requests.get(f"{url}/large/{size}", verify=str(house.files.bundle)).content) == size


def test_first_bytes_may_come_one_at_a_time(house):
    with house.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for position in range(len(GET)):
            connection.sendall(GET[position : position + 1])
        assert body_of(read_all(connection))["listener"] == "http"


def test_a_hello_over_many_segments_is_put_together(house):
    client, bridge = socket.socketpair()

    def pump(source: socket.socket, target: socket.socket, chunk: int) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(chunk):
                target.sendall(data)

    with house.connect() as door, bridge:
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for ends in ((bridge, door, 7), (door, bridge, 65536)):
            threading.Thread(target=pump, args=ends, daemon=True).start()
        context = trusting(house)
        context.set_alpn_protocols(["http/1.1"])
        with context.wrap_socket(client, server_hostname="localhost") as connection:
            assert body_of(raw_request(connection, GET))["listener"] == "https"
            connection.close()


@pytest.mark.parametrize(
    "garbage",
    [b"\x00\x01\x02", b"\x16\x03\x01\xff\xff", b"\x16\x02\x00", b"SSH-2.0-x\r\n", b"get /"],
)
def test_what_is_no_protocol_of_ours_is_dropped_and_the_door_goes_on(house, garbage):
    with house.connect() as connection:
        assert raw_request(connection, garbage) == b""
    with house.connect() as connection:
        assert body_of(raw_request(connection, GET))["listener"] == "http"


def test_openssl_shakes_hands_and_resumes(house):
    command = ["openssl", "s_client", "-connect", f"localhost:{house.port}", "-CAfile"]
    command += [str(house.files.ca), "-verify_return_error", "-servername", "localhost"]
    shown = subprocess.run(command, input=b"", capture_output=True, timeout=30, check=True).stdout

    assert b"Verify return code: 0 (ok)" in shown
    assert b"prime256v1" in shown or b"ECDSA" in shown


def test_a_half_close_reaches_the_other_side(house):
    with house.connect() as connection:
        connection.sendall(GET)
        connection.shutdown(socket.SHUT_WR)
        # uvicorn takes a half-close for the end of the connection: so must the client see it.
        read_all(connection)
    with house.connect() as connection:
        assert body_of(raw_request(connection, GET))["listener"] == "http"


def test_a_silent_client_is_dropped(house, monkeypatch):
    monkeypatch.setattr(arrival, "FIRST_BYTES_SECONDS", 0.1)
    with house.connect() as silent, house.connect() as slow:
        slow.sendall(b"CONN")
        assert read_all(silent) == b""
        assert read_all(slow) == b""


def test_a_client_that_resets_leaves_nothing_behind(house):
    before = set(house.door._served)
    for first in (b"", b"GET", GET, b"CONNECT storage.googleapis.com:443 HTTP/1.1\r\n\r\n"):
        connection = house.connect()
        connection.sendall(first)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    deadline = time.monotonic() + 10
    while house.door._served - before and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert not house.door._served - before


def test_more_connections_than_the_limit_wait_for_their_turn(tmp_path):
    with open_house(tmp_path, max_connections=4) as house:
        held = [house.connect() for _ in range(4)]
        for connection in held:
            connection.sendall(b"G")
        with ThreadPoolExecutor(4) as pool, contextlib.ExitStack() as waiting:
            others = [waiting.enter_context(house.connect()) for _ in range(4)]
            replies = [pool.submit(raw_request, other, GET) for other in others]
            for connection in held:
                connection.close()
            assert [body_of(reply.result(10))["listener"] for reply in replies] == ["http"] * 4


def test_a_hundred_clients_at_once_are_served(house):
    def one(number: int) -> str:
        with secure_channel(
            house, f"localhost:{house.port}", ("grpc.use_local_subchannel_pool", 1)
        ) as channel:
            return listener_of(channel, str(number).encode() * 1000)

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(one, range(100))) == {"grpc_tls"}


def test_a_slow_reader_does_not_fill_the_memory(house):
    size = 64 * 2**20
    with house.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        connection.sendall(b"GET /large/%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % size)
        first = connection.recv(1000)
        splice = next(one._splice for one in house.door._served if one._splice is not None)
        buffered = 0
        for _ in range(20):
            buffered = max(buffered, house.run(_buffered(splice)))
        assert buffered < 2 * 2**20
        assert len(first) + len(read_all(connection)) > size


async def _buffered(splice: object) -> int:
    await asyncio.sleep(0)
    return int(splice._client.transport.get_write_buffer_size())  # type: ignore[attr-defined]


def test_a_port_in_use_is_one_clear_line(house):
    nowhere = Path("/nowhere")
    second = Door(house.settings, Upstreams(nowhere, nowhere, nowhere, nowhere), print)
    with pytest.raises(FailedPrecondition) as caught:
        house.run(second.start())
    assert f"Port {house.port}" in str(caught.value)
    assert "--port" in str(caught.value)


def test_an_address_that_is_not_ours_is_one_clear_line(tmp_path):
    with pytest.raises(FailedPrecondition, match="--host"), open_house(tmp_path, host="192.0.2.77"):
        pass


def test_plain_text_networks_must_be_networks(tmp_path):
    with (
        pytest.raises(InvalidArgument, match="plaintext-networks"),
        open_house(tmp_path, plaintext_networks=("nonsense",)),
    ):
        pass


class TestFromAnotherMachine:
    def test_tls_is_served(self, away):
        house, address = away
        context = trusting(house)
        context.check_hostname = False
        with secure_channel(
            house, f"{address}:{house.port}", ("grpc.ssl_target_name_override", "localhost")
        ) as channel:
            assert listener_of(channel) == "grpc_tls"
        assert httpx.get(f"https://{address}:{house.port}/", verify=context).status_code == 200

    def test_plain_http_is_told_to_use_tls(self, away):
        house, address = away
        reply = requests.get(f"http://{address}:{house.port}/", timeout=10)

        assert reply.status_code == 426
        assert "https://" in reply.text

    def test_plain_grpc_is_told_to_use_tls(self, away):
        house, address = away
        with (
            grpc.insecure_channel(f"{address}:{house.port}") as channel,
            pytest.raises(grpc.RpcError) as caught,
        ):
            listener_of(channel)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "426" in caught.value.details()

    def test_a_trusted_network_may_come_without_tls(self, tmp_path):
        address = own_address()
        networks = ("10.9.8.0/24", f"{address}/32")
        with open_house(tmp_path, host="0.0.0.0", plaintext_networks=networks) as house:
            reply = requests.get(f"http://{address}:{house.port}/", timeout=10)
            assert reply.json()["listener"] == "http"


class TestStopping:
    def test_calls_in_flight_finish_and_new_ones_are_refused(self, tmp_path):
        with open_house(tmp_path) as house, ThreadPoolExecutor(4) as pool:
            channel = secure_channel(house, f"localhost:{house.port}")
            call = channel.unary_unary("/test/slow").future(b"in flight", timeout=30)
            assert house.slow.wait(10)
            house.slow.clear()
            url = f"https://localhost:{house.port}/slow"
            page = pool.submit(requests.get, url, verify=str(house.files.bundle))
            assert house.slow.wait(10)
            house.stop_inner(20)
            stopped = asyncio.run_coroutine_threadsafe(house.door.stop(20), house.loop)
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                try:
                    socket.create_connection(("127.0.0.1", house.port), 5).close()
                except (ConnectionRefusedError, ConnectionResetError):
                    break
            else:
                pytest.fail("the door still accepts")
            house.release.set()

            assert call.result(10) == b"in flight"
            assert page.result(10).json() == {"listener": "https"}
            stopped.result(10)
            channel.close()

    def test_idle_connections_do_not_hold_it(self, tmp_path):
        with open_house(tmp_path) as house, requests.Session() as session:
            session.get(f"http://localhost:{house.port}/")
            session.get(f"https://localhost:{house.port}/", verify=str(house.files.bundle))
            with secure_channel(house, f"localhost:{house.port}") as channel, house.connect():
                listener_of(channel)
                house.stop_inner(100)
                house.run(house.door.stop(100))  # `run` gives up long before

    def test_what_is_left_is_dropped_when_time_is_up(self, tmp_path):
        with open_house(tmp_path) as house, house.connect() as connection:
            connection.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            assert house.slow.wait(10)
            house.run(house.door.stop(0.1))
            assert read_all(connection) == b""

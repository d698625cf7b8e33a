"""The whole server behind the gateway, as the official clients see it."""

import dataclasses
import json
import socket
import subprocess
import sys
import textwrap

import grpc
import pytest
import requests

LIST_TENSORBOARDS = textwrap.dedent(
    """
    import sys
    from google.cloud import aiplatform
    from google.oauth2 import service_account

    credentials = service_account.Credentials.from_service_account_file(sys.argv[1])
    for transport in ("grpc", "rest"):
        aiplatform.init(
            project="p", location="us-central1", credentials=credentials, api_transport=transport
        )
        print(transport, len(aiplatform.Tensorboard.list()))
    """
)


@pytest.mark.heavy
def test_a_service_account_s_key_works_until_it_is_revoked(server, tmp_path):
    def keys(*arguments: str) -> str:
        command = [sys.executable, "-m", "tensordeck", "keys", *arguments]
        command += ["--data-dir", str(server.data_dir)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    key = tmp_path / "key.json"
    keys("create", "gateway-test", "-o", str(key))
    script = (sys.executable, "-c", LIST_TENSORBOARDS, str(key))

    listed = server.exec(*script)
    assert listed.returncode == 0, listed.stderr
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["grpc", "rest"]

    keys("revoke", json.loads(key.read_text())["private_key_id"])
    # The script takes longer to start than a revocation to be noticed.
    refused = server.exec(*script)
    assert refused.returncode != 0
    assert "revoked" in refused.stderr


def test_idle_connections_do_not_hold_the_server_s_stop(fresh_server):
    fresh_server.stop()
    # `Server.stop` gives up long before such a drain would.
    patient = dataclasses.replace(fresh_server, options=("--drain-seconds", "100"), process=None)
    try:
        _stop_with_idle_connections(patient.start())
    finally:
        patient.kill()


def _stop_with_idle_connections(fresh_server):
    bundle = str(fresh_server.data_dir / "tls" / "bundle.pem")
    port = fresh_server.port
    with (
        requests.Session() as session,
        socket.create_server(("127.0.0.1", 0)) as stranger,
        socket.create_connection(("127.0.0.1", port)) as tunnel,
        socket.create_connection(("127.0.0.1", port)),
        grpc.secure_channel(
            f"localhost:{port}",
            grpc.ssl_channel_credentials((fresh_server.data_dir / "tls" / "ca.pem").read_bytes()),
        ) as channel,
    ):
        session.trust_env = False
        for scheme in ("http", "https"):
            url = f"{scheme}://localhost:{port}/healthz"
            assert session.get(url, verify=bundle).status_code == 200
        grpc.channel_ready_future(channel).result(30)
        address = f"127.0.0.1:{stranger.getsockname()[1]}"
        tunnel.sendall(f"CONNECT {address} HTTP/1.1\r\n\r\n".encode())
        assert tunnel.recv(1000).startswith(b"HTTP/1.1 200 ")

        assert fresh_server.stop() == 0

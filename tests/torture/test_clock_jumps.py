"""The server's own clock is put back and forward while it serves, as operators and NTP do."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server, make_server

PLACE = "projects/clock/locations/us-central1"
HOUR, DAY = 3600, 86_400

Jump = Callable[[int], None]

pytestmark = pytest.mark.heavy


@pytest.fixture
def jumping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Jump]]:
    """A server, and what sets its wall clock some seconds off; its monotonic one goes on."""
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not libraries:
        pytest.skip("libfaketime is not installed (tools/install_system_packages.sh)")
    offset = tmp_path / "offset"

    def jump(seconds: int) -> None:
        draft = offset.with_suffix(".new")
        draft.write_text(f"{seconds:+d}\n")
        draft.replace(offset)

    jump(0)
    with monkeypatch.context() as environ:
        environ.setenv("LD_PRELOAD", str(libraries[0]))
        environ.setenv("FAKETIME_TIMESTAMP_FILE", str(offset))
        environ.setenv("FAKETIME_NO_CACHE", "1")
        environ.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        server = make_server(tmp_path / "data").start()
    yield server, jump
    server.kill()


def call(server: Server, token: str, verb: str, path: str, body: object = None) -> Any:
    request = urllib.request.Request(
        f"{server.url}/v1/{path}",
        method=verb,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


def test_nothing_is_lost_or_out_of_order_and_tokens_end_by_the_clock_of_the_moment(jumping):
    server, jump = jumping
    token = server.token
    board = call(server, token, "POST", f"{PLACE}/tensorboards", {"displayName": "t"})
    board = board["response"]["name"]
    experiment = f"{board}/experiments/e"
    call(server, token, "POST", f"{board}/experiments?tensorboardExperimentId=e", {})
    jumps = [0, -HOUR, 30 * 60, -20 * 365 * DAY, -HOUR, 10]
    for number, seconds in enumerate(jumps):
        jump(seconds)  # back by any time: a token that was good is still good
        run = call(
            server, token, "POST", f"{experiment}/runs?tensorboardRunId=r{number}",
            {"displayName": f"r{number}"},
        )["name"]  # fmt: skip
        series = call(
            server, token, "POST", f"{run}/timeSeries?tensorboardTimeSeriesId=1",
            {"displayName": "loss", "valueType": "SCALAR"},
        )["name"]  # fmt: skip
        for step in range(3):
            call(
                server, token, "POST", f"{run}:write",
                {"timeSeriesData": [{
                    "tensorboardTimeSeriesId": "1", "valueType": "SCALAR",
                    "values": [{"step": step, "scalar": {"value": number}}],
                }]},
            )  # fmt: skip
        renamed = call(
            server, token, "PATCH", f"{series}?updateMask=description", {"description": "x"}
        )
        assert renamed["updateTime"] >= renamed["createTime"]

    jump(3 * HOUR)
    with pytest.raises(urllib.error.HTTPError) as refused:
        call(server, token, "GET", board)
    assert refused.value.code == 401
    assert "expired" in json.load(refused.value)["error"]["message"]
    token = server.token  # as every client gets a new one then

    server.stop()
    server.start()  # by the true clock, on data that a jumping one dated
    listed: list[str] = []
    page = ""
    while True:
        reply = call(server, server.token, "GET", f"{experiment}/runs?pageSize=2{page}")
        listed += [run["displayName"] for run in reply["tensorboardRuns"]]
        if not reply.get("nextPageToken"):
            break
        page = f"&pageToken={reply['nextPageToken']}"
    assert listed == [f"r{number}" for number in range(len(jumps))]
    for number in range(len(jumps)):
        read = call(server, server.token, "GET", f"{experiment}/runs/r{number}/timeSeries/1:read")
        points = read["timeSeriesData"]["values"]
        assert [(p.get("step", "0"), p["scalar"].get("value", 0)) for p in points] == [
            (str(step), number) for step in range(3)
        ]

"""Log lines: their form, the requests that they tell of, and what they never hold."""

import io
import json
import logging
from contextvars import copy_context

import grpc
import httpx
import pytest

from tensordeck.telemetry.logs import JsonLines, TextLines, without_secrets
from tensordeck.telemetry.request_id import begin_request
from tests.conftest import make_server

BOARDS = "/v1/projects/p/locations/us-central1/tensorboards"


def written(formatter: logging.Formatter, message: str, *args: object, **more: object) -> str:
    """An entry as a handler writes it."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    record = logging.makeLogRecord(
        {"name": "tensordeck.x", "levelname": "INFO", "msg": message, "args": args, **more}
    )
    handler.handle(record)
    return stream.getvalue()


def test_each_json_line_has_time_severity_logger_and_message(watched):
    watched.get("/healthz")
    lines = watched.log_lines()

    assert lines
    for line in lines:
        assert {"time", "severity", "logger", "message", "pid"} <= line.keys()
        assert line["time"].endswith("Z")


def test_a_request_s_line_names_it_and_says_how_it_went(watched):
    watched.get(f"{BOARDS}?access_token=of-somebody", x_request_id="told-of")

    [line] = watched.lines_of("told-of")
    assert line["severity"] == "WARNING"  # this server finds everything slow
    assert line["message"].startswith(f"rest GET '{BOARDS}': 401 after ")
    assert (line["transport"], line["method"], line["status"]) == (
        "rest",
        "ListTensorboards",
        "401",
    )


def test_without_being_asked_only_faults_and_slow_requests_are_told_of(fresh_server):
    import urllib.error
    import urllib.request

    for path in ("/healthz", BOARDS, "/"):
        try:
            urllib.request.urlopen(fresh_server.url + path).close()
        except urllib.error.HTTPError:
            continue
    fresh_server.process.terminate()

    assert "tensordeck.requests" not in fresh_server.process.communicate(timeout=20)[0]


def test_a_log_that_nobody_reads_stops_nothing(tmp_path):
    """A pipe takes 64 KiB; each request writes a line at this level."""
    server = make_server(tmp_path / "data", "--log-level", "debug", "--run-jobs", "false").start()
    try:
        with httpx.Client(base_url=server.url) as client:
            for _ in range(1_500):
                assert client.get("/healthz", timeout=10).status_code == 200
    finally:
        server.kill()


def test_no_log_ever_holds_a_secret(watched):
    owner = json.loads((watched.server.data_dir / "credentials" / "owner.json").read_text())
    token = watched.server.token
    for path in (
        f"/sign-in?token={token}",
        f"{BOARDS}?access_token={token}",
        f"/storage/v1/b?project=p&access_token={token}",
        f"/tokeninfo?access_token={token}",
        f"/experiment/x/?token={token}",
    ):
        watched.get(path)
        watched.get(path, authorization=f"Bearer {token}x", cookie=f"tensordeck_session={token}")
    with pytest.raises(grpc.RpcError):
        watched.call("GetTensorboard", "Tensorboard", name=f"projects/{token}")

    text = watched.log.read_text()

    assert token not in text
    assert owner["refresh_token"] not in text
    assert watched.scrape_token not in text
    assert "sign-in?token=" not in text


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Authorization: Bearer td-access.MTox.c2lnbmF0dXJl", "c2lnbmF0dXJl"),
        ("proxy said Basic dXNlcjpzZXNhbWU=", "dXNlcjpzZXNhbWU"),
        ("refused td-refresh.owner-1.abcdefghijklmnop here", "abcdefghijklmnop"),
        ("jwt eyJhbGciOi.eyJpc3Mi.c2ln given", "c2ln"),
        ("postgresql://deck:sesame@db/deck is away", "sesame"),
        ("GET /?access_token=sesame&x=1", "sesame"),
        ('{"private_key": "sesame"}', "sesame"),
        ("password=sesame host=db", "sesame"),
        ("-----BEGIN PRIVATE KEY-----\nsesame\n-----END PRIVATE KEY-----", "sesame"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text, secret):
    for formatter in (TextLines(), JsonLines()):
        assert secret not in written(formatter, text)
    assert "..." in without_secrets(text)


def test_what_is_no_secret_stays():
    text = "projects/p/locations/l/tensorboards/1 was read in 0.2 s by owner@tensordeck.local"

    assert without_secrets(text) == text


def test_a_message_can_not_fake_a_second_line():
    line = written(TextLines(), "named %s", "x\n2026-01-01 00:00:00 ERROR root: faked\x1b[2J")

    assert line.count("\n") == 1
    assert "\x1b" not in line


def test_a_traceback_stays_readable_in_text_and_is_a_field_in_json():
    try:
        int("the cause")
    except ValueError as error:
        told = (type(error), error, error.__traceback__)

    assert "\nValueError: invalid literal" in written(TextLines(), "failed", exc_info=told)
    entry = json.loads(written(JsonLines(), "failed", exc_info=told))
    assert entry["exception"].endswith("'the cause'\n")


def test_lines_of_a_request_name_it_in_both_forms():
    def request() -> tuple[str, str]:
        begin_request(lambda: [("x-request-id", "r-1")])
        return written(TextLines(), "hello"), written(JsonLines(), "hello")

    text, line = copy_context().run(request)

    assert text.rstrip().endswith("tensordeck.x: hello [request r-1]")
    assert json.loads(line)["request_id"] == "r-1"

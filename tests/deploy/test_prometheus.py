"""A real Prometheus scrapes a server as deploy/ says, and evaluates what is asked there."""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import free_port, make_server
from tests.deploy.test_deploy import DEPLOY, alert_expressions, dashboard_expressions

pytestmark = pytest.mark.heavy

TOKEN = "a-token-for-the-scrapes-of-this-test"


def configuration(port: int, ca: Path, token: Path) -> str:
    """deploy/prometheus/prometheus.yml, with this test's addresses."""
    given = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    job = given["scrape_configs"][0]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    job["authorization"]["credentials_file"] = str(token)
    job["tls_config"]["ca_file"] = str(ca)
    given["scrape_configs"] = [job]
    given["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    given["rule_files"] = [str(DEPLOY / "prometheus" / "alerts.yml")]
    return yaml.safe_dump(given)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory) -> Iterator[str]:
    program = shutil.which("prometheus") or pytest.skip("prometheus is not installed")
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "token").write_text(TOKEN)
    server = make_server(folder / "data", "--metrics-token-file", str(folder / "token")).start()
    text = configuration(server.port, server.data_dir / "tls" / "ca.pem", folder / "token")
    (folder / "prometheus.yml").write_text(text)
    port = free_port()
    process = subprocess.Popen(
        [
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'series'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for_scrapes(address)
        yield address
    finally:
        process.kill()
        process.wait()
        server.kill()


def query(address: str, expression: str) -> list[Any]:
    asked = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{address}/api/v1/query?{asked}") as reply:
        answer = json.load(reply)
    assert answer["status"] == "success", expression
    return answer["data"]["result"]


def wait_for_scrapes(address: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if query(address, 'count_over_time(up{job="tensordeck"}[1m]) > 2'):
                return
        except urllib.error.URLError:
            pass
        time.sleep(0.2)
    raise AssertionError("nothing was scraped")


def test_it_scrapes_over_tls_with_the_token(prometheus):
    [up] = query(prometheus, 'up{job="tensordeck"}')

    assert up["value"][1] == "1"
    assert query(prometheus, 'tensordeck_build_info{version!=""}')


def test_it_evaluates_every_expression_of_dashboard_and_alerts(prometheus):
    shown = 0
    for expression in dashboard_expressions() + alert_expressions():
        plain = expression.replace("$__rate_interval", "1m").replace("$instance", ".*")
        shown += bool(query(prometheus, plain))

    assert shown > 20  # of an idle server, and of one without trouble no alert


def test_it_loads_the_rules_and_none_fires_for_a_server_without_trouble(prometheus):
    with urllib.request.urlopen(f"{prometheus}/api/v1/rules") as reply:
        [group] = json.load(reply)["data"]["groups"]

    assert len(group["rules"]) == len(alert_expressions())
    assert {rule["name"]: rule["state"] for rule in group["rules"]} == {
        rule["name"]: "inactive" for rule in group["rules"]
    }
    assert all(rule["health"] in ("ok", "unknown") for rule in group["rules"])

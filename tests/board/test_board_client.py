"""Parameters and metrics of the official client, on the board of a real server."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tensorboardX import SummaryWriter
from tensorboardX.summary import hparams as hparams_summaries

from tensordeck.names import board_id
from tests.chromium import open_chromium

SCRIPT = Path(__file__).parent / "client_scripts" / "log_trials.py"
PICTURES = os.environ.get("TENSORDECK_SCREENSHOTS")
"""As in `test_board_browser`."""
TRIALS = [f"trial-{number}" for number in range(1, 8)]


def track(server, transport) -> str:
    """Lets the official client log an experiment; returns the path of its board."""
    done = server.exec(sys.executable, "-W", "ignore", str(SCRIPT), f"b-{transport}", transport)
    assert done.returncode == 0, done.stderr[-4000:]
    instance = next(line for line in done.stdout.splitlines() if line.startswith("projects/"))
    return f"/experiment/{board_id(f'{instance}/experiments/search')}/"


@pytest.fixture(scope="module")
def path(server, tmp_path_factory):
    """A board with runs of the client, one of event files with parameters, and one of curves."""
    board = track(server, "grpc")
    logs = tmp_path_factory.mktemp("logs")
    with SummaryWriter(str(logs / "from-events")) as writer:
        for item in hparams_summaries({"learning_rate": 0.05, "optimizer": "rmsprop"}, {}):
            writer.file_writer.add_summary(item)
        writer.add_scalar("loss", 0.5, 1)
    with SummaryWriter(str(logs / "curves-only")) as writer:
        writer.add_scalar("loss", 0.7, 1)
    experiment = board.split("/")[2].replace("+", "/")
    instance = experiment.partition("/experiments/")[0]
    done = server.exec(
        *(sys.executable, "-m", "tensordeck", "upload", str(logs), "--experiment", "search"),
        *("--tensorboard", instance, "--data-dir", str(server.data_dir)),
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return board


def ask(server, board, route, **request):
    headers = {"Authorization": f"Bearer {server.token}"}
    url = f"{server.url}{board}data/plugin/hparams/{route}"
    reply = httpx.post(url, headers=headers, content=json.dumps(request), timeout=60)
    assert reply.status_code == 200, reply.text
    return reply.json()


def rows(server, board, *columns):
    request = {"colParams": columns, "allowedStatuses": [0, 1, 2, 3], "sliceSize": 100}
    return ask(server, board, "session_groups", **request)["sessionGroups"]


def check_what_the_client_logged(server, board):
    by_name = {row["name"]: row for row in rows(server, board)}
    assert [name for name in by_name if name.startswith("trial")] == TRIALS
    first = by_name["trial-1"]
    assert first["hparams"] == {"learning_rate": 0.001, "optimizer": "adam", "layers": 1}
    metrics = {value["name"]["tag"]: value["value"] for value in first["metricValues"]}
    assert metrics["loss"] == pytest.approx(2.718281828 ** (-0.04 * 4) + 0.05)
    assert metrics["accuracy"] == pytest.approx(1 - metrics["loss"] / 2)
    assert first["sessions"][0]["status"] == "STATUS_SUCCESS"
    failed = by_name["trial-7"]
    assert failed["hparams"] == {"optimizer": "lion"}
    assert failed["metricValues"] == []
    assert failed["sessions"][0]["status"] == "STATUS_FAILURE"


def test_what_the_client_logs_is_on_the_board(server, path):
    check_what_the_client_logged(server, path)
    infos = ask(server, path, "experiment")
    assert [info["name"] for info in infos["hparamInfos"]] == [
        "layers",
        "learning_rate",
        "optimizer",
    ]
    by_accuracy = {"metric": {"tag": "accuracy"}, "order": "ORDER_DESC"}
    assert [row["name"] for row in rows(server, path, by_accuracy)][:2] == ["trial-3", "trial-2"]
    few = {"hparam": "optimizer", "filterRegexp": "^(adam|rmsprop)$", "excludeMissingValues": True}
    by_rate = {"hparam": "learning_rate", "order": "ORDER_DESC"}
    found = [row["name"] for row in rows(server, path, few, by_rate)]
    assert found == ["trial-3", "from-events", "trial-2", "trial-1"]


@pytest.mark.heavy
def test_what_the_client_logs_over_rest_is_on_the_board(server):
    check_what_the_client_logged(server, track(server, "rest"))


@pytest.fixture(params=["light", "dark"])
def page(request, server):
    """A page that is signed in; it fails on any error and on any request to elsewhere."""
    command = ["sign-in", "--data-dir", str(server.data_dir)]
    link = subprocess.run(
        [sys.executable, "-m", "tensordeck", *command], capture_output=True, text=True, check=True
    ).stdout.strip()
    complaints = []
    with open_chromium() as browser:
        page = browser.new_page(viewport={"width": 1360, "height": 850})
        page.set_default_timeout(60_000)
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda sent: complaints.append(sent.url) if foreign(sent.url) else None)
        page.goto(link)
        page.scheme = request.param
        yield page
    assert complaints == []


def foreign(url):
    return not url.startswith(("http://localhost:", "data:", "blob:", "about:"))


def picture(page, name):
    if PICTURES:
        page.wait_for_load_state("networkidle")
        path = Path(PICTURES) / f"experiments-{name}-{page.scheme}.png"
        page.screenshot(path=path, animations="disabled")


def choose(page, menu, item):
    page.locator(f'paper-dropdown-menu[label="{menu}"]').click()
    page.locator("paper-listbox paper-item:visible", has_text=item).click()


@pytest.mark.heavy
def test_the_table_and_the_coordinates_are_drawn(server, path, page):
    dark = "?darkMode=true" if page.scheme == "dark" else ""
    page.goto(f"http://localhost:{server.port}{path}{dark}#hparams")
    cells = page.locator("tf-hparams-table-view vaadin-grid-cell-content")
    for text in ("trial-1", "rmsprop", "curves-only", "layers", "accuracy"):
        cells.get_by_text(text, exact=True).wait_for(state="visible")
    picture(page, "table")

    choose(page, "Sort by", "accuracy")
    with page.expect_response(lambda r: "ORDER_DESC" in (r.request.post_data or "")) as answer:
        choose(page, "Direction", "Descending")
    order = [row["name"] for row in answer.value.json()["sessionGroups"]]
    assert order[:3] == ["trial-3", "trial-2", "trial-6"]
    page.wait_for_function(ABOVE, arg=[order[0], order[3]])

    page.locator("paper-tab", has_text="Parallel coordinates").click()
    lines = page.locator("tf-hparams-parallel-coords-plot g.foreground path")
    lines.first.wait_for(state="visible")
    assert lines.count() >= 6
    assert "NaN" not in "".join(line.get_attribute("d") or "" for line in lines.all())
    picture(page, "parallel")


ABOVE = """([first, second]) => {
  const found = {};
  const walk = root => {
    for (const element of root.querySelectorAll("*")) {
      if (element.tagName === "VAADIN-GRID-CELL-CONTENT")
        found[element.innerText.trim()] = element.getBoundingClientRect().top;
      if (element.shadowRoot) walk(element.shadowRoot);
    }
  };
  walk(document);
  return found[first] < found[second];
}"""
"""Whether the row with one text stands above that with another."""

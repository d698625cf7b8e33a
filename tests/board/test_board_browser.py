"""Boards in a real browser: charts are drawn, nothing complains, points appear by themselves."""

import io
import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tensordeck.access import SESSION_COOKIE
from tensordeck.store.contract import ScalarColumns, SeriesPoints
from tensordeck.store.resources import Run, TimeSeries
from tests.board.board_logs import load_logs, write_everything, write_graph
from tests.chromium import open_chromium

pytestmark = pytest.mark.heavy

PICTURES = os.environ.get("TENSORDECK_SCREENSHOTS")
"""A folder for pictures of what the tests see; `docs/screenshots` for those of the docs."""
WAIT = 60_000

TABS = {
    "timeseries": "scalar-card-component line-chart canvas, scalar-card-component line-chart svg",
    "scalars": "tf-scalar-card vz-line-chart2 svg path",
    "custom_scalars": "tf-custom-scalar-dashboard vz-line-chart2 svg path",
    "images": "tf-image-loader img",
    "audio": "tf-audio-loader audio",
    "graphs": "tf-graph-scene g.node",
    "distributions": "vz-distribution-chart svg path",
    "histograms": "vz-histogram-timeseries svg path",
    "text": "tf-text-loader h2",
    "pr_curves": "tf-pr-curve-dashboard vz-line-chart2 svg path",
    "hparams": "tf-hparams-table-view vaadin-grid",
    "mesh": "mesh-dashboard canvas",
}
"""What must be on the screen of each tab."""


@pytest.fixture(scope="module")
def experiments(house, tmp_path_factory):
    """Two experiments with something for every tab."""
    made = []
    for seed in (1, 2):
        logs = tmp_path_factory.mktemp("everything")
        write_everything(logs / "train", seed)
        write_graph(logs / "train")
        made.append(house.experiment(f"digits-{seed}"))
        load_logs(house.store, made[-1], logs)
    return made


@pytest.fixture(scope="module")
def browser():
    with open_chromium() as opened:
        yield opened


class Window:
    """A signed-in tab that writes down whatever goes wrong in it."""

    def __init__(self, browser, house, **options):
        self.context = browser.new_context(viewport={"width": 1360, "height": 850}, **options)
        cookie = {"name": SESSION_COOKIE, "value": house.cookie, "url": house.url}
        self.context.add_cookies([cookie])
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT)
        self.house = house
        self.problems = []
        self.requests = []
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))
        self.page.on("response", self._on_response)
        self.page.on("request", self._on_request)

    def open(self, path, tab=""):
        # A new fragment alone would not load the page again.
        self.page.goto("about:blank")
        self.page.goto(self.house.url + path + (f"#{tab}" if tab else ""))

    def see(self, selector):
        self.page.locator(selector).first.wait_for(state="visible")

    def see_lines(self):
        """Waits until the first Time Series chart holds lines: coloured pixels, not only a grid."""
        chart = self.page.locator("scalar-card-component line-chart").first
        deadline = time.monotonic() + WAIT / 1000
        while time.monotonic() < deadline:
            pixels = np.asarray(Image.open(io.BytesIO(chart.screenshot())).convert("HSV"))
            if (pixels[:, :, 1] > 60).sum() > 50:
                return
        raise AssertionError("no line was drawn")

    def picture(self, name):
        if PICTURES:
            self.page.wait_for_load_state("networkidle")
            self.page.screenshot(path=Path(PICTURES) / f"board-{name}.png", animations="disabled")

    def _on_console(self, message):
        if message.type == "error":
            self.problems.append(f"console: {message.text}")

    def _on_response(self, response):
        if response.status >= 400:
            self.problems.append(f"{response.status}: {response.url}")

    def _on_request(self, request):
        self.requests.append(request.url)
        if not request.url.startswith((self.house.url, "data:", "blob:", "about:")):
            self.problems.append(f"elsewhere: {request.url}")


@pytest.fixture
def window(browser, house):
    opened = Window(browser, house)
    yield opened
    opened.context.close()
    assert opened.problems == []


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_draws_an_experiment(window, house, experiments, tab):
    window.open(house.path(experiments[0]), tab)
    window.see(TABS[tab])
    if tab == "timeseries":
        window.see_lines()
    window.picture(tab)


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_draws_a_comparison(window, house, experiments, tab):
    window.open(house.path(*experiments, aliases=("small", "large")), tab)
    window.see(TABS[tab])
    if tab == "timeseries":
        window.see("runs-data-table >> text=small")
        window.see("runs-data-table >> text=large")
        window.see_lines()
    elif tab not in ("graphs", "hparams"):
        window.see(r"text=/\[1\] small\/train/")
        window.see(r"text=/\[2\] large\/train/")
    window.picture(f"compare-{tab}")


def test_the_page_is_named_after_the_experiment(window, house, experiments):
    window.open(house.path(experiments[0]))
    window.page.wait_for_function("document.title === 'digits-1 · Tensordeck'")


def test_dark_mode_is_dark(window, house, experiments):
    window.open(house.path(experiments[0]) + "?darkMode=true", "timeseries")
    window.see("body.dark-mode")
    window.see(TABS["timeseries"])
    window.picture("dark")


def test_links_choose_tags_and_runs(window, house, experiments):
    window.open(house.path(experiments[0]) + "?tagFilter=accuracy&runFilter=%5Etrain%24")
    window.see(TABS["timeseries"])
    assert window.page.locator("scalar-card-component").count() == 1


def test_points_appear_by_themselves(window, house):
    name = house.experiment("live")
    run = house.store.catalog.create(Run(name=f"{name}/runs/r", display_name="r"))
    loss = TimeSeries(name=f"{run.name}/timeSeries/1", display_name="loss")
    series = house.store.catalog.create(loss)

    def write(step):
        wall = np.array([1_700_000_000 * 10**9 + step])
        columns = ScalarColumns(np.array([step]), wall, np.array([float(step)]))
        house.store.points.append([SeriesPoints(series.pk, run.pk, columns)])

    write(1)
    write(2)
    window.open(house.path(name), "timeseries")
    window.see(TABS["timeseries"])
    write(777)
    window.see("scalar-card-data-table >> text=777")
    second = TimeSeries(name=f"{run.name}/timeSeries/2", display_name="newcomer")
    house.store.catalog.create(second)
    window.see("text=newcomer")


def test_a_hidden_tab_listens_to_nothing(window, house, experiments):
    window.open(house.path(experiments[0]), "timeseries")
    window.see(TABS["timeseries"])
    hide = """hidden => {
      Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    with window.page.expect_event("requestfailed", lambda r: r.url.endswith("/live")):
        window.page.evaluate(hide, True)
    with window.page.expect_request(re.compile("/live$")):
        window.page.evaluate(hide, False)


def test_the_program_is_fetched_once_for_all_boards(window, house, experiments):
    for path in (house.path(experiments[0]), house.path(experiments[1])):
        window.open(path)
        window.see(TABS["timeseries"])
    programs = {url for url in window.requests if "index.js" in url}
    assert len(programs) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_of_our_own_teach_what_to_do(browser, house, experiments, scheme):
    stranger = Window(browser, house, color_scheme=scheme)
    stranger.context.clear_cookies()
    stranger.open(house.path(experiments[0]))
    stranger.see("text=Sign in to see this board")
    stranger.picture(f"sign-in-{scheme}")
    stranger.context.close()
    owner = Window(browser, house, color_scheme=scheme)
    owner.open(house.path(experiments[0].replace("digits-1", "not-yet")))
    owner.see("text=There is no such experiment yet")
    owner.picture(f"missing-{scheme}")
    owner.context.close()
    problems = [p for p in (*stranger.problems, *owner.problems) if not re.search("40[14]", p)]
    assert problems == []

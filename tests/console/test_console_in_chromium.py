"""The pages in a real browser, on a real server."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.chromium import open_chromium

NAME_OF = "e => e.ariaLabel || e.labels?.[0]?.textContent || e.textContent"
WITHIN = """[...document.querySelectorAll("main .card, main p, main h1")]
    .every(e => e.scrollWidth <= e.clientWidth)"""
PLACE = "projects/pages/locations/us-central1"
GUIDELINES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
"""Sets of axe's rules: https://www.deque.com/axe/core-documentation/api-documentation/"""

pytestmark = pytest.mark.heavy


def call(server: Any, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """One call of the REST API."""
    request = urllib.request.Request(
        f"{server.url}/v1/{path}",
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={"authorization": f"Bearer {server.token}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


@pytest.fixture
def instance(server) -> str:
    """An instance with two experiments, one of which has a run; its full name."""
    operation = call(server, "POST", f"{PLACE}/tensorboards", {"displayName": "Shown deck"})
    name = operation["response"]["name"]
    for experiment in ("first", "second"):
        path = f"{name}/experiments?tensorboardExperimentId={experiment}"
        call(server, "POST", path, {"displayName": f"The {experiment}"})
    call(server, "POST", f"{name}/experiments/first/runs?tensorboardRunId=r", {"displayName": "r"})
    return name


@pytest.fixture(params=["light", "dark"])
def page(request, server) -> Iterator[Any]:
    """A browser page that is signed in; it fails on any complaint and any foreign request."""
    complaints: list[str] = []
    link = subprocess.run(
        [sys.executable, "-m", "tensordeck", "sign-in", "--data-dir", str(server.data_dir)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    with open_chromium() as browser:
        viewport: Any = {"width": 1280, "height": 800}
        page = browser.new_context(color_scheme=request.param, viewport=viewport).new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda sent: (
                None
                if sent.url.startswith(f"http://localhost:{server.port}/")
                else complaints.append(sent.url)
            ),
        )
        page.goto(link)
        yield page
    assert complaints == []


def test_a_visitor_walks_from_instances_to_a_comparison(page, instance, server):
    home = f"http://localhost:{server.port}"
    assert page.url == f"{home}/"
    page.reload()
    page.get_by_role("link", name="Shown deck").first.click()  # the newest is the first
    page.wait_for_url(f"{home}/{instance}")
    assert page.get_by_role("heading", level=1).inner_text() == "Shown deck"

    button = page.get_by_role("button", name="Compare ticked experiments")
    assert button.is_disabled()
    page.get_by_label("Compare The first").check()
    assert button.is_disabled()
    page.get_by_label("Compare The second").check()
    ready = page.get_by_role("button", name="Compare 2 experiments")
    assert ready.is_enabled()
    with page.expect_request("**/compare/**") as asked:
        page.route("**/compare/**", lambda route: route.fulfill(body="the board's part"))
        ready.click()
    board = instance.replace("/", "+") + "+experiments+"
    assert asked.value.url == f"{home}/compare/The-second:{board}second,The-first:{board}first/"


def test_a_visitor_deletes_an_experiment_with_the_keyboard_alone(page, instance, server):
    page.goto(f"http://localhost:{server.port}/{instance}/experiments/first")
    page.get_by_role("main").get_by_role("link", name="Delete…", exact=True).press("Enter")
    assert (
        "Its 1 run and everything logged to it go with it." in page.get_by_role("main").inner_text()
    )
    page.get_by_role("button", name="Delete the experiment").press("Enter")

    page.get_by_role("status").wait_for()
    assert "experiments/first" in page.get_by_role("status").inner_text()
    assert page.get_by_role("link", name="The first", exact=True).count() == 0
    assert page.get_by_role("link", name="The second", exact=True).count() == 1


def test_every_control_has_a_name_and_nothing_overflows(page, instance, server):
    for width in (1280, 375):
        page.set_viewport_size({"width": width, "height": 800})
        for path in (instance, f"{instance}/experiments/first", f"{instance}/delete", ""):
            page.goto(f"http://localhost:{server.port}/{path}")

            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (
                path,
                width,
            )
            for control in page.locator("input:not([type=hidden]), button, a").all():
                name = control.evaluate(NAME_OF)
                assert name.strip(), control.evaluate("e => e.outerHTML")
            assert page.get_by_role("banner").count() == 1
            assert page.get_by_role("main").count() == 1
            assert page.get_by_role("heading", level=1).count() == 1


def test_no_page_breaks_a_rule_of_accessibility(page, instance, server):
    home = f"http://localhost:{server.port}"
    paths = [
        "",
        instance,
        f"{instance}/experiments/first",
        f"{instance}/experiments/first/delete",
        f"{instance}/experiments/{'missing' * 20}",
        "experiment/nothing-of-ours/",
        "signed out",
    ]
    page = page.context.new_page()  # nobody minds that some of these are errors
    for path in paths:
        if path == "signed out":
            page.context.clear_cookies()
        page.goto(f"{home}/{path}")
        broken = Axe().run(page, options={"runOnly": GUIDELINES})
        assert broken.violations_count == 0, f"{path}: {broken.generate_report()}"
        assert page.evaluate(WITHIN), f"{path}: something sticks out of its frame"

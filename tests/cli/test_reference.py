"""docs/cli.md says what the commands say."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]
reference = runpy.run_path(str(ROOT / "tools" / "cli_reference.py"))


def test_the_page_shows_the_present_help_of_every_command():
    page = (ROOT / "docs" / "cli.md").read_text()

    assert reference["BLOCK"].findall(page)
    assert set(reference["BLOCK"].findall(page)) == set(reference["commands"]())
    assert reference["refreshed"](page) == page, "run `python tools/cli_reference.py`"


def test_the_page_names_every_variable_that_a_child_gets_or_loses():
    from tensordeck.redirect.endpoint import Endpoint
    from tensordeck.redirect.environment import REMOVED, child_environment

    page = (ROOT / "docs" / "cli.md").read_text()
    here = Path("/nowhere")
    endpoint = Endpoint("http://localhost:1", "127.0.0.1", 1, here, here, here, local=True)

    touched = [*child_environment(endpoint, {}), *REMOVED]
    assert [name for name in touched if f"`{name}`" not in page] == []

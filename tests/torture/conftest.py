"""How often each fault is tried, and what came of it, told at the end of the run.

`make torture` sets TORTURE=long; without it every test runs in a short form. TORTURE_KILLS and
TORTURE_SOAK_SECONDS set the two longest ones apart.
"""

import os
from collections.abc import Callable, Iterator

import pytest

LONG = os.environ.get("TORTURE") == "long"
TALLIES = pytest.StashKey[list[str]]()

Tally = Callable[[str], None]


@pytest.fixture
def rounds() -> Callable[[int, int], int]:
    """How many rounds: (in the long form, in the short one)."""
    return lambda long, short: long if LONG else short


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Notes a line for the end of the run."""
    lines = request.config.stash.setdefault(TALLIES, [])
    return lambda line: lines.append(f"{request.node.name}: {line}")


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    yield
    for line in terminalreporter.config.stash.get(TALLIES, []):
        terminalreporter.write_line(line)

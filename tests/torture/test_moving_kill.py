"""Backups, restores and migrations that are killed at any point, again and again."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.moving.conftest import NewPlace
from tests.moving.conftest import new_place as new_place  # noqa: PLC0414 -- a fixture
from tests.moving.conftest import postgres as postgres  # noqa: PLC0414 -- a fixture
from tests.moving.inventory import inventory
from tests.moving.killing import filled, further_each_time, kill_until_done, text_of
from tests.torture.conftest import Tally


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("to", ["sqlite", "postgresql"])
def test_moves_survive_kills_at_any_point(
    new_place: NewPlace,
    tmp_path: Path,
    kind: str,
    to: str,
    rounds: Callable[[int, int], int],
    tally: Tally,
) -> None:
    chance = random.Random(20261124)
    kills = 0
    for number in range(rounds(12, 2)):
        source, target, third = new_place(kind), new_place(to), new_place(kind)
        content = filled(source)
        file = str(tmp_path / f"{kind}-{to}-{number}.tar")
        kills += kill_until_done(
            "backup", text_of(source), file, further_each_time(chance.randrange(1, 60))
        )
        kills += kill_until_done(
            "restore", file, text_of(third), further_each_time(chance.randrange(1, 60))
        )
        kills += kill_until_done(
            "migrate",
            text_of(source),
            text_of(target),
            further_each_time(chance.randrange(1, 60)),
        )
        assert inventory(target) == content
        assert inventory(third) == content
    tally(f"{kills} kills of backups, restores and migrations; nothing lost, added or altered")
    assert kills

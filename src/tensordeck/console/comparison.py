"""The address of a board that compares experiments: `/compare/ALIAS:ID,ALIAS:ID/`."""

import re
from collections.abc import Sequence

from tensordeck.board.address import path_of
from tensordeck.names import ResourceName, board_id
from tensordeck.store.resources import Experiment

__all__ = ["comparison_path"]

_OUTSIDE_ALIAS = re.compile(r"[^A-Za-z0-9._~-]+")


def comparison_path(experiments: Sequence[Experiment]) -> str:
    """Returns the path; every experiment gets an alias of its own, made of its display name."""
    taken: set[str] = set()
    parts = []
    for experiment in experiments:
        wanted = _OUTSIDE_ALIAS.sub("-", experiment.display_name).strip("-")[:40]
        wanted = wanted or ResourceName.parse(experiment.name).id
        alias, number = wanted, 1
        while alias in taken:
            number += 1
            alias = f"{wanted}-{number}"
        taken.add(alias)
        parts.append(f"{alias}:{board_id(experiment.name)}")
    return path_of("compare", ",".join(parts))

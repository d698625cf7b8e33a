"""Paths that match an HTTP rule."""

import re
from collections.abc import Callable
from urllib.parse import quote

from tensordeck.front.method import HttpRule

VARIABLE = re.compile(r"\{[a-z_.]+=([^}]*)\}")
STARS = re.compile(r"\*\*?")


def example(rule: HttpRule, version: str = "v1", segment: Callable[[], str] = lambda: "x") -> str:
    """A path of the rule with every star filled by `segment()`, percent-encoded."""

    def fill(match: re.Match[str]) -> str:
        return STARS.sub(
            lambda star: "/".join(quote(segment(), safe="") for _ in star[0]), match[1]
        )

    return VARIABLE.sub(fill, rule.template.replace("{v}", version))

"""What an image has and what a job's own packages ask for, put together."""

from collections.abc import Iterable

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name


def merged(image: Iterable[str], users: Iterable[str], same: Iterable[str]) -> list[str]:
    """Puts an image's requirements and a job's together.

    On Vertex a job that asks for `tensorflow` finds the image's and installs nothing. Here the
    image may have `tensorflow-cpu`, which is the same under another name, so the job's
    requirement is turned into one of that.

    Args:
        image: What the image has.
        users: What the job's packages ask for.
        same: Distributions that stand for each other.
    """
    alike = {canonicalize_name(name) for name in same}
    chosen = next((name for name in map(_name, image) if name in alike), None)
    return [
        *image,
        *(
            _renamed(requirement, chosen) if chosen and _name(requirement) in alike else requirement
            for requirement in users
        ),
    ]


def without(image: Iterable[str], users: Iterable[str], same: Iterable[str]) -> list[str]:
    """An image's requirements but for those that a job's packages have an opinion about."""
    alike = {canonicalize_name(name) for name in same}
    asked = names(requirement for requirement in users if _specific(requirement))
    if asked & alike:
        asked |= alike
    return [requirement for requirement in image if _name(requirement) not in asked]


def names(requirements: Iterable[str]) -> set[str]:
    """The distributions that are asked for, by their normalised names."""
    return {_name(requirement) for requirement in requirements}


def superfluous(requirements: Iterable[str], same: Iterable[str]) -> list[str]:
    """Those of the distributions that stand for each other which nobody has asked for."""
    asked = names(requirements)
    return [name for name in same if canonicalize_name(name) not in asked]


def _specific(requirement: str) -> bool:
    try:
        parsed = Requirement(requirement)
    except InvalidRequirement:
        return False
    return bool(parsed.specifier) or parsed.url is not None


def _name(requirement: str) -> str:
    try:
        return canonicalize_name(Requirement(requirement).name)
    except InvalidRequirement:  # the installer will say what is wrong with it
        return ""


def _renamed(requirement: str, name: str) -> str:
    parsed = Requirement(requirement)
    parsed.name = name
    parsed.extras = set()
    return str(parsed)


__all__ = ["merged", "names", "superfluous", "without"]

"""The virtual environments that jobs share, and how they are found again.

One for each Python and set of requirements. Nobody changes it once it is complete: a replica that
installs something does so in its own `overlay`. Both it and each user's package are folders of
the `cache`:

    <environments>/<key>/venv/            the virtual environment
    <environments>/packages/<key>/site/   a user's package: `user_packages`
"""

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from tensordeck.jobs.process import cache
from tensordeck.jobs.process.plan import EnvironmentPlan
from tensordeck.jobs.process.user_packages import UserPackage, folder_of, installed

_FORM = 1
"""Counts the forms that environments had: one of another form is not found."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What a replica's `sys.path` and PATH are made of.

    Attributes:
        python: The interpreter's executable.
        python_version: E.g. `3.11.7`.
        sites: Folders of packages, the most important first.
        scripts: Folders of console scripts, likewise.
    """

    python: str
    python_version: str
    sites: tuple[str, ...]
    scripts: tuple[str, ...]


def ready(environments: Path, plan: EnvironmentPlan) -> Environment | None:
    """The environment of a plan, which this process uses from now on.

    Returns:
        None if something of it has to be built first.

    Raises:
        tensordeck.errors.InvalidArgument: If one of the packages can't be read.
    """
    packages = []
    for file in plan.packages:
        package = installed(folder_of(environments, plan, Path(file)))
        if package is None:
            return None
        packages.append(package)
    known = cache.use(folder(environments, plan, packages))
    if known is None:
        return None
    sites = [str(package.site) for package in packages]
    return Environment(
        python=plan.python,
        python_version=plan.python_version,
        sites=(*sites, *known["sites"]),
        scripts=(*(f"{site}/bin" for site in sites), *known["scripts"]),
    )


def folder(environments: Path, plan: EnvironmentPlan, packages: list[UserPackage]) -> Path:
    """Where the environment of a plan with its packages is kept."""
    key = {
        "form": _FORM,
        "python": [plan.python, plan.python_version],
        "requirements": sorted(plan.requirements),
        "same": sorted(plan.same),
        "users": sorted({r for package in packages for r in package.requirements}),
        "gpus": plan.gpus,
        "server": sys.prefix if plan.server else "",
    }
    return environments / hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]


def prune(environments: Path, unused_seconds: float) -> int:
    """Drops environments and packages that no job has used for long, and none uses now.

    Args:
        environments: Where they are kept.
        unused_seconds: What has been used since then stays.

    Returns:
        The bytes that this gives back.
    """
    return sum(
        cache.drop(path.with_suffix(""), unused_seconds)
        for place in (environments, environments / "packages")
        for path in place.glob("*.lock")
    )


__all__ = ["Environment", "folder", "prune", "ready"]

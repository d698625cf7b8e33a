"""The table that says what stands in for a container image when no container is started.

`images.toml` beside this module describes the form and ships Vertex AI's training images; a
table of the user's own is asked first.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Self

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from tensordeck.errors import InvalidArgument

_VERTEX = (
    r"(?:(?:us|europe|asia)-docker\.pkg\.dev/vertex-ai/training"
    r"|(?:[a-z]+\.)?gcr\.io/cloud-aiplatform/training)"
)
_PLACEHOLDERS = {
    "{version}": r"(?P<version>\d+[-.]\d+)",
    "{python}": r"(?P<python>(?:py|cp)?3\.?\d+)(?:\.\d+)?",
    "{device}": r"(?P<device>cpu|gpu|tpu|xla)",
    "{vertex}": _VERTEX,
    "[": "(?:",
    "]": ")?",
    "*": ".*?",
}
_TOKEN = re.compile("|".join(re.escape(token) for token in _PLACEHOLDERS))
_LISTS = ("packages", "cpu", "gpu", "same", "entrypoint")
_KEYS = {"name", "python", "pythons", "environment", "env", "release", *_LISTS}
_RELEASE_KEYS = (_KEYS - {"name", "release"}) | {"versions"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEnvironment:
    """What stands in for an image.

    Attributes:
        image: The image's URI.
        python: The Python version wanted, e.g. `3.10`; empty for any.
        pythons: The versions that will do.
        requirements: What to install.
        same: Distributions that stand for each other.
        server: Whether Tensordeck's own packages are there, too.
        entrypoint: What arguments without a command are run with.
        env: Variables of the image.
    """

    image: str
    python: str = ""
    pythons: SpecifierSet = field(default_factory=SpecifierSet)
    requirements: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    server: bool = False
    entrypoint: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Entry:
    patterns: tuple[re.Pattern[str], ...]
    fields: Mapping[str, Any]
    releases: tuple[tuple[SpecifierSet, Mapping[str, Any]], ...]


class ImageTable:
    """Knows images. Immutable."""

    def __init__(self, entries: Sequence[_Entry]) -> None:
        self._entries = tuple(entries)

    @classmethod
    def load(cls, own: Path | None = None) -> Self:
        """Reads the table that ships, and before it the user's own.

        Args:
            own: A TOML file, if there is one.

        Raises:
            InvalidArgument: If the file can't be read or says what is not understood.
        """
        entries = []
        if own is not None:
            try:
                entries += _entries(own.read_text(), str(own))
            except OSError as error:
                raise InvalidArgument(f"{own} can't be read: {error.strerror}.") from error
        shipped = resources.files(__package__).joinpath("images.toml").read_text()
        return cls(entries + _entries(shipped, "images.toml"))

    def environment(self, image: str, *, accelerated: bool = False) -> ImageEnvironment:
        """Tells what stands in for an image.

        Args:
            image: Its URI.
            accelerated: Whether GPUs will be there.

        Raises:
            InvalidArgument: If the table has no entry for it.
        """
        for entry in self._entries:
            for pattern in entry.patterns:
                if match := pattern.fullmatch(image):
                    found = match.groupdict()
                    version = (found.get("version") or "").replace("-", ".")
                    fields = _of_release(entry, version)
                    if fields is not None:
                        return _environment(image, fields, version, found, accelerated)
        raise InvalidArgument(
            f"image_uri {image!r} is not known to the process executor, which starts no "
            f"containers. Either map it to Python packages: an [[image]] entry with `name` and "
            f"`packages` in the table of images (the setting job-images names the file); or use "
            f"an executor that runs containers."
        )


def _of_release(entry: _Entry, version: str) -> Mapping[str, Any] | None:
    """The fields for a version; None if the entry is for other ones."""
    if not entry.releases:
        return entry.fields
    for versions, release in entry.releases:
        if version and versions.contains(version):
            packages = [*entry.fields.get("packages", ()), *release.get("packages", ())]
            return {**entry.fields, **release, "packages": packages}
    return None


def _environment(
    image: str,
    fields: Mapping[str, Any],
    version: str,
    found: Mapping[str, str | None],
    accelerated: bool,
) -> ImageEnvironment:
    gpu = accelerated and found.get("device") != "cpu"
    requirements = (*fields.get("packages", ()), *fields.get("gpu" if gpu else "cpu", ()))
    python = found.get("python") or ""
    if python:
        digits = python.removeprefix("py").removeprefix("cp").replace(".", "")
        python = f"{digits[0]}.{digits[1:]}"
    return ImageEnvironment(
        image=image,
        python=python or fields.get("python", ""),
        pythons=fields.get("pythons", SpecifierSet(">=3.6")),
        requirements=tuple(r.replace("{version}", version) for r in requirements),
        same=tuple(fields.get("same", ())),
        server=fields.get("environment") == "server",
        entrypoint=tuple(fields.get("entrypoint", ())),
        env=fields.get("env", {}),
    )


def _entries(text: str, source: str) -> list[_Entry]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"{source} can't be read: {error}.") from error
    if unknown := sorted(set(document) - {"image"}):
        raise InvalidArgument(f"{source}: {unknown[0]!r} is not known; entries are [[image]].")
    return [
        _entry(table, f"{source}, image {number}")
        for number, table in enumerate(document.get("image", []), start=1)
    ]


def _entry(table: Mapping[str, Any], where: str) -> _Entry:
    names = table.get("name")
    names = [names] if isinstance(names, str) else names
    if not names or not all(isinstance(name, str) for name in names):
        raise InvalidArgument(f"{where}: `name` must be a pattern of images' URIs, or a list.")
    releases = []
    for number, release in enumerate(table.get("release", []), start=1):
        there = f"{where}, release {number}"
        fields = _fields(release, _RELEASE_KEYS, there)
        releases.append((_specifiers(release.get("versions", ""), "versions", there), fields))
    return _Entry(
        patterns=tuple(_pattern(name) for name in names),
        fields=_fields(table, _KEYS, where),
        releases=tuple(releases),
    )


def _fields(table: Mapping[str, Any], known: set[str], where: str) -> dict[str, Any]:
    if unknown := sorted(set(table) - known):
        raise InvalidArgument(
            f"{where}: {unknown[0]!r} is not known; there are {', '.join(sorted(known))}."
        )
    fields = dict(table)
    for key in _LISTS:
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise InvalidArgument(f"{where}: `{key}` must be a list of strings.")
    if table.get("environment", "server") != "server":
        raise InvalidArgument(f'{where}: `environment` can only be "server".')
    if not re.fullmatch(r"(3\.\d+)?", str(table.get("python", ""))):
        raise InvalidArgument(f'{where}: `python` must be like "3.10".')
    env = table.get("env", {})
    if not isinstance(env, dict) or not all(isinstance(value, str) for value in env.values()):
        raise InvalidArgument(f"{where}: `env` must be a table of strings.")
    if "pythons" in table:
        fields["pythons"] = _specifiers(table["pythons"], "pythons", where)
    return fields


def _specifiers(value: Any, key: str, where: str) -> SpecifierSet:
    try:
        return SpecifierSet(value)
    except (InvalidSpecifier, TypeError, AttributeError) as error:
        raise InvalidArgument(f'{where}: `{key}` must be like ">=3.9,<3.12".') from error


def _pattern(name: str) -> re.Pattern[str]:
    """Compiles a pattern of image URIs."""
    parts, end = [], 0
    for token in _TOKEN.finditer(name):
        parts += [re.escape(name[end : token.start()]), _PLACEHOLDERS[token[0]]]
        end = token.end()
    parts.append(re.escape(name[end:]))
    tag = "" if ":" in name else r"(?::[\w.-]+)?"
    return re.compile("".join(parts) + tag + r"(?:@sha256:[0-9a-f]+)?")


__all__ = ["ImageEnvironment", "ImageTable"]

"""Where a Cloud Storage request points: hosts, paths, and names in them.

Object names may hold slashes, colons and anything else, so that everything here works on the raw,
still quoted path: `%2F` belongs to a name, `/` divides.
"""

import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from starlette.types import Scope

from tensordeck.errors import InvalidArgument

__all__ = [
    "base_url",
    "decoded",
    "host_of",
    "is_storage_request",
    "quoted",
    "raw_path",
    "xml_names",
]

HOST: Final = "storage.googleapis.com"
_JSON_PATH: Final = re.compile(
    r"/(?:(?:resumable/)?upload/|download/|batch/)?storage/v1(?:/|$)|/batch$"
)
_BATCH_HOSTS: Final = (HOST, "www.googleapis.com")


def is_storage_request(scope: Scope) -> bool:
    """Whether a request is for Cloud Storage: by its host, or on any host by its path."""
    host = host_of(scope)
    if host == HOST or host.endswith(f".{HOST}"):
        return True
    path = raw_path(scope)
    found = _JSON_PATH.match(path)
    return found is not None and (path != "/batch" or host in _BATCH_HOSTS)


def is_json_path(path: str) -> bool:
    """Whether a path belongs to the JSON API; on Google's host all others are the XML API's."""
    return _JSON_PATH.match(path) is not None


def host_of(scope: Scope) -> str:
    """The host that a request names, in lower case, without its port."""
    return _header(scope, b"host").rpartition("@")[2].partition(":")[0].lower()


def base_url(scope: Scope) -> str:
    """Scheme and host as the client used them, for the links in replies."""
    host = _header(scope, b"host")
    if not re.fullmatch(r"[\w.:\[\]-]+", host):
        host = HOST
    return f"{scope.get('scheme', 'http')}://{host}"


def raw_path(scope: Scope) -> str:
    """The path as it came, without its query."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    return raw.partition(b"?")[0].decode("latin-1")


def xml_names(scope: Scope) -> tuple[str, str]:
    """The bucket and object of an XML request: path style, or the bucket in the host.

    Raises:
        InvalidArgument: If the path is no UTF-8.
    """
    host, path = host_of(scope), raw_path(scope).removeprefix("/")
    if host.endswith(f".{HOST}"):
        return host.removesuffix(f".{HOST}"), decoded(path)
    bucket, _, name = path.partition("/")
    return decoded(bucket), decoded(name)


def decoded(text: str) -> str:
    """A part of a path without its quoting.

    Raises:
        InvalidArgument: If it is no UTF-8.
    """
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"A name in the path is no UTF-8: {text[:120]}.") from error


def quoted(name: str) -> str:
    """A name for use as one part of a path."""
    return quote(name, safe="")


def _header(scope: Scope, name: bytes) -> str:
    return next((v.decode("latin-1") for k, v in scope["headers"] if k == name), "")

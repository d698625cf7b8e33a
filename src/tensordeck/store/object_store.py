"""Opens the object store that a URL names, and turns its errors into ours.

Credentials and addresses come from the environment, under the names that the clouds' own tools
know (`AWS_*`, `GOOGLE_*`, `AZURE_*`): `obstore` reads them. Its options of the HTTP client, which
it would read there too, are read here, since ours would replace them all.
"""

import contextlib
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from tensordeck import errors
from tensordeck.store.outage import NoAnswer

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

__all__ = ["check_access", "open_object_store", "reason_of", "translated"]

_RETRY: Final["RetryConfig"] = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=15),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=2),
        "base": 2,
    },
}
_CLIENT: Final["ClientConfig"] = {
    "connect_timeout": "3s",
    # Without an answer, or the next piece of one, for so long the store counts as away.
    "read_timeout": "20s",
    # Of a whole request: it must not cut off who downloads a large object slowly.
    "timeout": "1d",
}
"""With `_RETRY`, a store that is away costs a call at most half a minute."""

_FROM_ENVIRONMENT: Final = (
    "allow_http",
    "allow_invalid_certificates",
    "connect_timeout",
    "proxy_excludes",
    "proxy_url",
    "read_timeout",
    "timeout",
)
_PREFIXES: Final = {
    "s3": "AWS",
    "s3a": "AWS",
    "gs": "GOOGLE",
    "az": "AZURE",
    "azure": "AZURE",
    "abfs": "AZURE",
    "abfss": "AZURE",
    "adl": "AZURE",
}
"""How the variables of a URL's scheme begin."""

_ENDPOINTS: Final = (
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT",
    "GOOGLE_BASE_URL",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_ENDPOINT",
)
_CODE: Final = re.compile(r"<Code>([^<]+)</Code>")
_MESSAGE: Final = re.compile(r"<Message>([^<]+)</Message>")
_STATUS: Final = re.compile(r"status code: (\d{3} [A-Za-z ]+)")
_NO_CREDENTIALS: Final = "no credentials were found, nor a role of this machine"
_CREDENTIALS: Final = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
"""What to set, by the beginning of a URL's scheme."""
_CAUSES: Final = (
    ("Connection refused", "connection refused"),
    ("dns error", "its host name is not known"),
    ("kind: Timeout", "no answer in time"),
    ("operation timed out", "no answer in time"),
    ("certificate", "its TLS certificate is not trusted"),
    ("BadScheme", "plain HTTP is not allowed"),
    ("169.254.169.254", _NO_CREDENTIALS),
    ("No space left", "No space left"),
)
"""What the debug text of an error has, and what it means; the first that fits."""

_AWAY: Final = ("connection refused", "its host name is not known", "no answer in time")


def open_object_store(url: str, environ: Mapping[str, str] = os.environ) -> "ObjectStore":
    """Opens a store; asks it nothing yet.

    Args:
        url: `file://`, `s3://`, `gs://` or `az://`; a path in it is the prefix of all keys.
        environ: Where the options of the HTTP client are.

    Raises:
        errors.InvalidArgument: If the URL or an option can't be used; the message says why.
    """
    prefix = _PREFIXES.get(url.partition("://")[0])
    try:
        if url.startswith("file://"):
            return from_url(url, mkdir=True)  # as the data directory is made
        if prefix is None:
            return from_url(url)
        return from_url(url, client_options=_client_options(prefix, environ), retry_config=_RETRY)
    except (BaseError, ValueError, OSError) as error:
        raise errors.InvalidArgument(
            f"object-store {url!r} can't be used: {_first_line(error)} "
            "Give a file://, s3://, gs:// or az:// URL."
        ) from error


def check_access(store: "ObjectStore", url: str) -> None:
    """Lists, writes and deletes, so that a mistake shows at the start and not at the first upload.

    Args:
        store: What `open_object_store` gave.
        url: Its URL, for the message.

    Raises:
        errors.FailedPrecondition: If it refuses; the message says what to look at.
        errors.Unavailable: If it can't be reached.
    """
    probe = f"probe/{secrets.token_hex(8)}"
    try:
        next(iter(obstore.list(store, chunk_size=1)), None)
        obstore.put(store, probe, b"tensordeck", use_multipart=False)
        obstore.delete(store, probe)
    except (BaseError, OSError) as error:
        what, is_away = _verdict(error, _CREDENTIALS.get(url[:2], "the store's credentials"))
        kind = errors.Unavailable if is_away else errors.FailedPrecondition
        raise kind(f"object-store {url!r} can't be used: {what}") from error


@contextlib.contextmanager
def translated(key: str) -> Iterator[None]:
    """Turns the store's errors into ours; what else is raised passes.

    Args:
        key: The blob in question.

    Raises:
        errors.NotFound: If it is not there.
        errors.ResourceExhausted: If the disk is full.
        errors.Unavailable: If the store did not answer, or refused.
    """
    try:
        yield
    except FileNotFoundError as error:
        if _CODE.search(text := str(error)) and "NoSuchBucket" in text:
            raise errors.Unavailable(
                f"The blob store did not answer: {reason_of(error)}"
            ) from error
        raise errors.NotFound(f"There is no blob {key}.") from error
    except (BaseError, OSError) as error:
        text = str(error)
        if "os error 28" in text or "os error 122" in text or "No space left" in text:
            raise errors.ResourceExhausted(
                "The disk that holds the blobs is full; nothing of this request was stored. "
                "Free some space and try again."
            ) from error
        reason = reason_of(error)
        if reason in _AWAY:
            raise NoAnswer(f"The blob store did not answer ({reason}); try again.") from error
        raise errors.Unavailable(f"The blob store refused ({reason}); try again.") from error


def reason_of(error: Exception) -> str:
    """What a store's error says, in a few words without a full stop."""
    text = str(error)
    if code := _CODE.search(text):
        message = _MESSAGE.search(text)
        return f"{code[1]}: {message[1].rstrip('.')}" if message else code[1]
    for sign, meaning in _CAUSES:
        if sign in text:
            return meaning
    if status := _STATUS.search(text):
        return status[1].strip()
    return _first_line(error).rstrip(".")


def _client_options(prefix: str, environ: Mapping[str, str]) -> "ClientConfig":
    options: dict[str, Any] = dict(_CLIENT)
    for name in _FROM_ENVIRONMENT:
        if value := environ.get(f"{prefix}_{name.upper()}"):
            options[name] = value
    for variable in _ENDPOINTS:
        endpoint = environ.get(variable)
        if endpoint is None or not variable.startswith(prefix):
            continue
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{variable} must be an http:// or https:// URL; it is {endpoint!r}.")
        # As with the clouds' own tools, an address that says http means it.
        if parts.scheme == "http":
            options.setdefault("allow_http", "true")
    if bundle := environ.get("AWS_CA_BUNDLE"):
        options["root_certificate"] = Path(bundle).read_bytes()
    return cast("ClientConfig", options)


def _verdict(error: Exception, credentials: str) -> tuple[str, bool]:
    """What is wrong and what to do, in one line, and whether the store is merely away."""
    text, reason = str(error), reason_of(error)
    if "NoSuchBucket" in text or "ContainerNotFound" in text or " 404 " in text:
        return f"there is no such bucket ({reason}). Create it; the server makes none.", False
    if reason == _NO_CREDENTIALS:
        return f"{reason}. Set {credentials} in the environment.", False
    if " 401 " in text or " 403 " in text:
        needed = "The credentials in the environment must let it list, read, write and delete."
        return f"it refused access ({reason}). {needed}", False
    return f"it did not answer ({reason}). Check the address, and that it runs.", True


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".") + "."

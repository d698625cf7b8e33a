"""A small REST client of our API, for the built-in gcloud commands."""

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Final

from tensordeck.errors import TensordeckError, Unavailable
from tensordeck.ingest.bearer_token import BearerToken
from tensordeck.redirect.endpoint import Endpoint

__all__ = ["ApiError", "VertexApi"]

TIMEOUT_SECONDS: Final = 60


class ApiError(TensordeckError):
    """The API refused: the message is `STATUS: text`, as gcloud prints it."""


class VertexApi:
    """Calls to one server.

    Args:
        endpoint: The server.
        version: `v1` or `v1beta1`.

    Raises:
        InvalidArgument: If the credentials file is of no use.
    """

    def __init__(self, endpoint: Endpoint, version: str) -> None:
        self._base = f"{endpoint.url}/{version}/"
        verify = ssl.create_default_context(cafile=endpoint.ca_bundle)
        # Straight to the server: in `exec`'s environment it is its own proxy.
        self._http = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=verify)
        )
        self._token = BearerToken(endpoint.credentials, f"{endpoint.url}/token", verify)

    def call(
        self, method: str, name: str, query: dict[str, Any] | None = None, body: Any = None
    ) -> dict[str, Any]:
        """Makes one call; returns the reply's JSON object.

        Raises:
            ApiError: If the API refuses.
            Unavailable: If it can't be reached.
        """
        url = self._base + urllib.parse.quote(name, safe="/:")
        if query:
            url += "?" + urllib.parse.urlencode(query)
        headers = {"Authorization": self._token.header(), "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        # Only http and https: `endpoint` has checked the address.
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310
        try:
            with self._http.open(request, timeout=TIMEOUT_SECONDS) as reply:
                return dict(json.load(reply))
        except urllib.error.HTTPError as error:
            raise ApiError(_refusal(error)) from error
        except (OSError, ValueError, TypeError) as error:
            raise Unavailable(f"{self._base} does not answer: {error}") from error


def _refusal(error: urllib.error.HTTPError) -> str:
    try:
        details = json.load(error)["error"]
        return f"{details['status']}: {details['message']}"
    except (ValueError, KeyError, TypeError):
        return f"HTTP {error.code}: {error.reason}"

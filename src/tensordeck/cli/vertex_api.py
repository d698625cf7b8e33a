"""A small REST client of our API, for the commands that read and change resources."""

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any, Final

from tensordeck.errors import TensordeckError, Unavailable
from tensordeck.ingest.bearer_token import BearerToken
from tensordeck.redirect.endpoint import Endpoint

__all__ = ["ApiError", "VertexApi"]

TIMEOUT_SECONDS: Final = 60


_AWAY: Final = (502, 503, 504)
"""HTTP statuses of a server that stops or starts, or of a proxy before one."""


class ApiError(TensordeckError):
    """The API refused: the message is `STATUS: text`, as gcloud prints it.

    Attributes:
        code: The HTTP status.
    """

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class VertexApi:
    """Calls to one server.

    Args:
        endpoint: The server.
        version: The path's first part: `v1` or `v1beta1`; `v2` of Cloud Logging.

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
            Unavailable: If it can't be reached, or takes no calls now.
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
            text = _refusal(error)
            raise (
                Unavailable(text) if error.code in _AWAY else ApiError(text, error.code)
            ) from error
        except (OSError, ValueError, TypeError) as error:
            raise Unavailable(f"{self._base} does not answer: {error}") from error

    def items(
        self, name: str, field: str, query: dict[str, Any], limit: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yields the items of a list, page after page.

        Args:
            name: The path, e.g. `projects/p/locations/l/customJobs`.
            field: The field of the replies that holds them, e.g. `customJobs`.
            query: Filter, order, page size.
            limit: How many at most.

        Raises:
            ApiError: If the API refuses.
            Unavailable: If it can't be reached, or takes no calls now.
        """
        token, count = "", 0
        while limit is None or count < limit:
            reply = self.call("GET", name, {**query, "pageToken": token} if token else query)
            for item in reply.get(field, [])[: None if limit is None else limit - count]:
                count += 1
                yield item
            token = reply.get("nextPageToken", "")
            if not token:
                return


def _refusal(error: urllib.error.HTTPError) -> str:
    try:
        details = json.load(error)["error"]
        return f"{details['status']}: {details['message']}"
    except (ValueError, KeyError, TypeError):
        return f"HTTP {error.code}: {error.reason}"

"""Multipart uploads that nobody finished, in S3: found and aborted.

A writer that is killed leaves its parts behind, which no listing of objects shows and which cost
money all the same. `obstore` has no call to find them, so that this module makes the two requests
itself: `ListMultipartUploads` and `AbortMultipartUpload`, signed by AWS Signature Version 4.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, Self
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree as ET

from msgspec import Struct
from obstore.store import S3Store

from tensordeck import errors

__all__ = ["UnfinishedUploads"]

_NOTHING: Final = hashlib.sha256(b"").hexdigest()
_TIMEOUT_SECONDS: Final = 20.0


class _Upload(Struct, frozen=True):
    """One of them; `started` is when."""

    key: str
    upload_id: str
    started: datetime


class UnfinishedUploads(Struct, frozen=True):
    """The unfinished multipart uploads below a prefix of a bucket.

    Attributes:
        bucket_url: Scheme, host and, unless the host names it, the bucket.
        prefix: What all their keys begin with; empty, or with a slash at its end.
        region: The bucket's.
        access_key: The credential's name.
        secret_key: Its secret.
        session_token: What goes with a temporary credential; else empty.
    """

    bucket_url: str
    prefix: str
    region: str
    access_key: str
    secret_key: str
    session_token: str = ""

    @classmethod
    def of(cls, store: S3Store, environ: Mapping[str, str] = os.environ) -> Self | None:
        """Those of a store; None where the environment holds no credential.

        A role of the machine gives its credentials to `obstore` alone: there, a rule of the
        bucket's life cycle has to do this.

        Args:
            store: The bucket and the prefix.
            environ: Where the rest is, under the names that `obstore` reads.
        """
        access_key = environ.get("AWS_ACCESS_KEY_ID")
        secret_key = environ.get("AWS_SECRET_ACCESS_KEY")
        if not access_key or not secret_key:
            return None
        region = _first(environ, "AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1"
        endpoint = _first(environ, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
        base = (endpoint or f"https://s3.{region}.amazonaws.com").rstrip("/")
        in_host = environ.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "").lower() in ("true", "1")
        if not (endpoint and in_host):
            base = f"{base}/{store.config['bucket']}"
        prefix = f"{store.prefix}/" if store.prefix else ""
        token = _first(environ, "AWS_SESSION_TOKEN", "AWS_TOKEN")
        return cls(base, prefix, region, access_key, secret_key, token)

    def abort(self, older_than_s: float) -> int:
        """Aborts what was begun so many seconds ago or earlier; returns how many.

        Raises:
            errors.Unavailable: If the store does not answer, or refuses.
        """
        limit = datetime.now(UTC).timestamp() - older_than_s
        old = [found for found in self._list() if found.started.timestamp() <= limit]
        for found in old:
            self._request("DELETE", found.key, {"uploadId": found.upload_id})
        return len(old)

    def _list(self) -> Iterator[_Upload]:
        markers: dict[str, str] = {}
        while True:
            page = ET.fromstring(  # noqa: S314 -- from the operator's own store
                self._request("GET", "", {"uploads": "", "prefix": self.prefix, **markers})
            )
            for found in page.iterfind("{*}Upload"):
                yield _Upload(
                    found.findtext("{*}Key", ""),
                    found.findtext("{*}UploadId", ""),
                    datetime.fromisoformat(found.findtext("{*}Initiated", "")),
                )
            if page.findtext("{*}IsTruncated") != "true":
                return
            markers = {
                "key-marker": page.findtext("{*}NextKeyMarker", ""),
                "upload-id-marker": page.findtext("{*}NextUploadIdMarker", ""),
            }

    def _request(self, method: str, key: str, query: Mapping[str, str]) -> bytes:
        url = f"{self.bucket_url}/{quote(key)}" if key else self.bucket_url
        encoded = "&".join(
            f"{quote(name, safe='')}={quote(value, safe='')}"
            for name, value in sorted(query.items())
        )
        request = urllib.request.Request(  # noqa: S310 -- http or https, checked when it was opened
            f"{url}?{encoded}", method=method, headers=self._signed(method, url, encoded)
        )
        context = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE"))
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
        try:
            with opener.open(request, timeout=_TIMEOUT_SECONDS) as reply:
                body: bytes = reply.read()
                return body
        except urllib.error.HTTPError as error:
            if error.code == 404 and method == "DELETE":  # somebody else was faster
                return b""
            raise errors.Unavailable(
                f"The blob store refused to show its unfinished uploads ({error})."
            ) from error
        except OSError as error:
            raise errors.Unavailable(f"The blob store did not answer ({error}).") from error

    def _signed(self, method: str, url: str, query: str) -> dict[str, str]:
        """The headers of a request without a body."""
        now = datetime.now(UTC)
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        parts = urlsplit(url)
        headers = {"host": parts.netloc, "x-amz-content-sha256": _NOTHING, "x-amz-date": stamp}
        if self.session_token:
            headers["x-amz-security-token"] = self.session_token
        names = ";".join(headers)
        listed = "".join(f"{name}:{value}\n" for name, value in headers.items())
        canonical = f"{method}\n{parts.path or '/'}\n{query}\n{listed}\n{names}\n{_NOTHING}"
        scope = f"{day}/{self.region}/s3/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        signing_key = f"AWS4{self.secret_key}".encode()
        for part in scope.split("/"):
            signing_key = hmac.digest(signing_key, part.encode(), "sha256")
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"
        signature = hmac.new(signing_key, text.encode(), "sha256").hexdigest()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return headers


def _first(environ: Mapping[str, str], *names: str) -> str:
    return next((value for name in names if (value := environ.get(name))), "")

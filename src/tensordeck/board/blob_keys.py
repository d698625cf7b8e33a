"""Keys of blobs in the web app's addresses: which blob of which time series.

A request for a blob names nothing but the key, so that the key carries the experiment; a board
hands out blobs of its own experiments only.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Self

from tensordeck.errors import InvalidArgument
from tensordeck.names import TIME_SERIES, ResourceName, parse, shown

__all__ = ["BlobKey"]


@dataclass(frozen=True, slots=True)
class BlobKey:
    """A blob.

    Attributes:
        series: Its time series.
        blob_id: Its id there.
    """

    series: ResourceName
    blob_id: str

    @property
    def experiment(self) -> str:
        """The full name of the experiment that it belongs to."""
        return str(self.series.up_to("experiments"))

    def __str__(self) -> str:
        plain = "/".join((*self.series.ids, self.blob_id)).encode()
        return base64.urlsafe_b64encode(plain).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads a key.

        Raises:
            InvalidArgument: If it is none.
        """
        try:
            padded = text.encode("ascii") + b"=" * (-len(text) % 4)
            plain = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
        except (ValueError, binascii.Error) as error:
            raise InvalidArgument(f"Not a blob's key: {shown(text)}.") from error
        *ids, blob_id = plain.split("/", len(TIME_SERIES))
        if len(ids) != len(TIME_SERIES) or not blob_id:
            raise InvalidArgument(f"Not a blob's key: {shown(text)}.")
        name = "/".join(f"{c}/{i}" for c, i in zip(TIME_SERIES, ids, strict=True))
        return cls(parse(name, TIME_SERIES, "key"), blob_id)

"""TFRecord framing: the file format that event files are made of.

A record is: length (uint64, little endian), masked CRC-32C of the length's bytes (uint32), the
payload, masked CRC-32C of the payload (uint32). Format:
https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, Final

import google_crc32c

__all__ = ["CorruptRecord", "framed", "masked_crc", "read_records"]

_HEADER: Final = struct.Struct("<QI")
_FOOTER: Final = struct.Struct("<I")
_OVERHEAD: Final = _HEADER.size + _FOOTER.size
_CHUNK: Final = 1 << 20
LARGEST: Final = 256 << 20
"""Bytes of the largest record that is read: what a length says is not always there, or wanted."""


class CorruptRecord(ValueError):  # noqa: N818 -- a state of the data, as in TensorBoard's reader
    """A record whose checksum does not match, or that is too large: it ends the reading.

    Attributes:
        offset: Where in the file the record starts, in bytes.
        what: What is wrong, as a part of a sentence about the record.
    """

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(f"the record at byte {offset} {what}")
        self.offset = offset
        self.what = what


def masked_crc(data: bytes) -> int:
    """The checksum as it is written: rotated and offset, so that a CRC of CRCs stays useful."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def framed(payload: bytes) -> bytes:
    """A payload as one record."""
    length = len(payload).to_bytes(8, "little")
    head = _HEADER.pack(len(payload), masked_crc(length))
    return head + payload + _FOOTER.pack(masked_crc(payload))


def read_records(stream: BinaryIO, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Reads records up to the end of the file.

    A record that is not there whole yet (a writer is at work, or died) ends the iteration like
    the end of the file: reading again later from the last end offset continues with it.

    Args:
        stream: A seekable binary file.
        start: The offset of the first record to read, in bytes.

    Yields:
        The offset behind each record, and its payload.

    Raises:
        CorruptRecord: If a checksum does not match, or a record is larger than `LARGEST`.
    """
    stream.seek(start)
    buffer, base, position, wanted = b"", start, 0, _OVERHEAD
    while chunk := stream.read(max(_CHUNK, wanted)):
        buffer = buffer[position:] + chunk
        base, position = base + position, 0
        while True:
            rest = len(buffer) - position
            if rest < _OVERHEAD:
                wanted = _OVERHEAD - rest
                break
            length, length_crc = _HEADER.unpack_from(buffer, position)
            if masked_crc(buffer[position : position + 8]) != length_crc:
                raise CorruptRecord(base + position, "has a length that fails its checksum")
            if length > LARGEST:
                raise CorruptRecord(
                    base + position,
                    f"has {length:,} bytes, more than the {LARGEST:,} that are read",
                )
            if rest < length + _OVERHEAD:
                wanted = length + _OVERHEAD - rest
                break
            first = position + _HEADER.size
            payload = buffer[first : first + length]
            if masked_crc(payload) != _FOOTER.unpack_from(buffer, first + length)[0]:
                raise CorruptRecord(base + position, "has a payload that fails its checksum")
            position = first + length + _FOOTER.size
            yield base + position, payload

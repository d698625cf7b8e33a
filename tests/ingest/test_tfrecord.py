import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from tensordeck.ingest.tfrecord import CorruptRecord, masked_crc, read_records

payloads = st.lists(st.binary(max_size=200), max_size=20)


def framed(records):
    result = b""
    for record in records:
        header = struct.pack("<Q", len(record))
        result += header + struct.pack("<I", masked_crc(header))
        result += record + struct.pack("<I", masked_crc(record))
    return result


def read(data, start=0):
    return list(read_records(io.BytesIO(data), start))


@given(st.binary(max_size=300))
def test_masked_crc_is_tensorboards(data):
    assert masked_crc(data) == masked_crc32c(data)


@given(payloads)
def test_records_come_back(records):
    assert [payload for _, payload in read(framed(records))] == records


@given(payloads, st.data())
def test_a_cut_file_gives_its_whole_records_and_continues_where_they_end(records, data):
    whole = framed(records)
    cut = data.draw(st.integers(0, len(whole)))

    before = read(whole[:cut])
    after = read(whole, before[-1][0] if before else 0)

    assert [payload for _, payload in before + after] == records


@given(payloads.filter(bool), st.data())
def test_a_changed_byte_is_never_read_as_data(records, data):
    whole = bytearray(framed(records))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))

    got = []

    def read_all():
        got.extend(read_records(io.BytesIO(bytes(whole))))

    with pytest.raises(CorruptRecord) as caught:
        read_all()

    assert [payload for _, payload in got] == records[: len(got)]
    assert caught.value.offset == (got[-1][0] if got else 0) <= place


def test_records_larger_than_the_read_buffer():
    records = [b"a" * 3_000_000, b"", b"b" * (1 << 20), b"c"]

    assert [payload for _, payload in read(framed(records))] == records

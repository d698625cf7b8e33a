"""Profiles of TensorFlow's profiler: sessions of a run, read back by their files' names."""

from pathlib import Path

import pytest

from tensordeck import protos
from tensordeck.ingest.connection import Connection
from tensordeck.ingest.profiles import session_of
from tensordeck.ingest.uploader import upload
from tests.ingest.sample_logs import numbered, write

SESSION = "plugins/profile/2026_11_23_08_00_00"


def save(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def blobs(reader, series) -> dict[str, bytes]:
    """Content of a session's blobs, by name."""
    (point,) = reader.points(series.name)
    request = protos.message("ReadTensorboardBlobDataRequest")(time_series=series.name)
    found = {}
    with Connection(reader.target) as connection:
        for blob in point.blobs.values:
            del request.blob_ids[:]
            request.blob_ids.append(blob.id)
            found[blob.id] = read_blob(connection, request)
    return found


def read_blob(connection: Connection, request) -> bytes:
    stub = connection._channel.unary_stream(
        "/google.cloud.aiplatform.v1.TensorboardService/ReadTensorboardBlobData",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=protos.message("ReadTensorboardBlobDataResponse").FromString,
    )
    metadata = (("authorization", connection._token.header()),)
    return b"".join(blob.data for reply in stub(request, metadata=metadata) for blob in reply.blobs)


def test_sessions_are_blob_sequences_of_their_run(logdir, target, reader, positions):
    write(logdir / "train", range(3))
    save(logdir / "train" / SESSION / "host1.xplane.pb", b"one")
    save(logdir / "train" / SESSION / "host2.xplane.pb", b"two")
    save(logdir / SESSION / "host.trace.json.gz", b"root")
    save(logdir / "train" / "plugins" / "other" / "x" / "file", b"x")

    done = upload(logdir, "profiles", target, positions=positions)

    runs = reader.runs("profiles")
    assert set(runs) == {"train", "default"}
    series = reader.series(runs["train"])
    session = series["2026_11_23_08_00_00"]
    assert (session.plugin_name, session.value_type) == ("profile", 3)
    (point,) = reader.points(session.name)
    assert not point.HasField("wall_time")
    assert blobs(reader, session) == {"host1.xplane.pb": b"one", "host2.xplane.pb": b"two"}
    assert reader.scalars("profiles")["train"] == {"loss": numbered(range(3))}
    assert (done.files, done.points) == (4, 5)


def test_a_session_grows_by_the_files_of_other_hosts(logdir, target, reader, positions):
    save(logdir / "a" / SESSION / "host1.xplane.pb", b"one")
    upload(logdir, "grows", target, positions=positions)
    save(logdir / "a" / SESSION / "host2.xplane.pb", b"two")
    save(logdir / "a" / SESSION / "host1.xplane.pb", b"longer")

    assert upload(logdir, "grows", target, positions=positions).points == 1
    assert upload(logdir, "grows", target, positions=positions).points == 0

    session = reader.series(reader.runs("grows")["a"])["2026_11_23_08_00_00"]
    assert blobs(reader, session) == {"host1.xplane.pb": b"longer", "host2.xplane.pb": b"two"}


def test_a_file_whose_name_no_object_can_have_keeps_nothing_back(logdir, target, reader, positions):
    write(logdir / "a", range(3))
    save(logdir / "a" / SESSION / "line\nbreak.pb", b"x")
    warnings = []

    upload(logdir, "odd-files", target, positions=positions, warn=warnings.append)

    assert reader.scalars("odd-files")["a"] == {"loss": numbered(range(3))}
    assert len(warnings) == 1


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (f"train/{SESSION}/f", ("train", "2026_11_23_08_00_00")),
        (f"a/b/{SESSION}/f", ("a/b", "2026_11_23_08_00_00")),
        (f"{SESSION}/f", ("", "2026_11_23_08_00_00")),
        ("plugins/profile/f", None),
        ("train/plugins/profile/f", None),
        (f"{SESSION}/deeper/f", None),
        ("f", None),
        ("", None),
    ],
)
def test_what_is_a_profile(name, found):
    assert session_of(name) == found

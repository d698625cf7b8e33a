"""The protocol, byte by byte: errors, ranges, uploads in pieces, batches, bad input."""

import base64
import gzip
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.storage.conftest import GOOGLE, Cloud, Reply, opened


def upload(cloud: Cloud, bucket: str, name: str, data: bytes, **headers: str) -> Reply:
    path = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(name, safe='')}"
    return cloud.call("POST", path, data, headers)


def media(cloud: Cloud, bucket: str, name: str, **headers: str) -> Reply:
    path = f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media"
    return cloud.call("GET", path, headers=headers)


def begin(cloud: Cloud, bucket: str, name: str, **headers: str) -> str:
    path = f"/upload/storage/v1/b/{bucket}/o?uploadType=resumable&name={quote(name)}"
    reply = cloud.call("POST", path, b"", headers)
    assert reply.status == 200
    return reply.headers["Location"].removeprefix(cloud.url)


def put(cloud: Cloud, location: str, data: bytes, content_range: str | None) -> Reply:
    headers = {"Content-Range": content_range} if content_range else {}
    return cloud.call("PUT", location, data, headers)


# Who may


@pytest.mark.parametrize(
    ("path", "host"),
    [
        ("/storage/v1/b?project=p", ""),
        ("/storage/v1/b/any/o/any?alt=media", ""),
        ("/upload/storage/v1/b/any/o?uploadType=media&name=x", ""),
        ("/batch/storage/v1", ""),
        ("/storage/v1/no/such/thing", ""),
        ("/any/object", GOOGLE),
        ("/", GOOGLE),
        ("/object", f"any.{GOOGLE}"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_nothing_without_a_credential(cloud: Cloud, method: str, path: str, host: str) -> None:
    for token in (None, "wrong"):
        headers = {"Host": host} if host else {}
        reply = cloud.call(method, path, b"{}", headers, token=token)
        assert reply.status == 401
        assert reply.headers["WWW-Authenticate"].startswith("Bearer")
        if host:
            assert b"<Code>AuthenticationRequired</Code>" in reply.body
        else:
            assert reply.json["error"]["code"] == 401
            assert reply.json["error"]["errors"][0]["reason"] == "required"


def test_token_in_the_query(cloud: Cloud, bucket_name: str) -> None:
    path = f"/storage/v1/b/{bucket_name}?access_token={cloud.token}"
    assert cloud.call("GET", path, token=None).status == 200


# Errors


def test_error_forms(cloud: Cloud, bucket_name: str) -> None:
    reply = cloud.call("GET", f"/storage/v1/b/{bucket_name}/o/none")
    assert reply.status == 404
    assert reply.json["error"]["errors"][0]["reason"] == "notFound"
    assert "none" in reply.json["error"]["message"]

    reply = cloud.call("GET", f"/{bucket_name}/none", headers={"Host": GOOGLE})
    assert reply.status == 404
    assert reply.headers["Content-Type"].startswith("application/xml")
    assert b"<Code>NoSuchKey</Code>" in reply.body
    reply = cloud.call("GET", "/no-bucket-here/none", headers={"Host": GOOGLE})
    assert b"<Code>NoSuchBucket</Code>" in reply.body

    assert cloud.call("PATCH", "/storage/v1/b?project=p", {}).status == 405


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/storage/v1/b?project=p", b"not json"),
        ("POST", "/storage/v1/b?project=p", b"[1]"),
        ("POST", "/storage/v1/b?project=p", b'{"name": 5}'),
        ("POST", "/storage/v1/b?project=p", b'{"name": "UPPER"}'),
        ("POST", "/storage/v1/b?project=p", b'{"name": "a"}'),
        ("POST", "/storage/v1/b?project=p", b'{"name": "10.0.0.1"}'),
        ("POST", "/storage/v1/b?project=p", b'{"name": "fine-name", "labels": [1]}'),
        ("POST", "/storage/v1/b", b'{"name": "no-project"}'),
        ("GET", "/storage/v1/b", None),
        ("GET", "/storage/v1/b/{b}/o?pageToken=%FF", None),
        ("GET", "/storage/v1/b/{b}/o?pageToken=!!", None),
        ("GET", "/storage/v1/b/{b}/o?maxResults=-1", None),
        ("GET", "/storage/v1/b/{b}/o?maxResults=x", None),
        ("GET", "/storage/v1/b/{b}/o?fields=items(name", None),
        ("GET", "/storage/v1/b/{b}/o?matchGlob={a", None),
        ("GET", "/storage/v1/b/{b}/o/%FF%FE", None),
        ("GET", "/storage/v1/b/{b}/o/there?generation=x", None),
        ("GET", "/storage/v1/b/{b}/o/there?ifGenerationMatch=x", None),
        ("PATCH", "/storage/v1/b/{b}/o/there", b'{"metadata": [1]}'),
        ("PATCH", "/storage/v1/b/{b}/o/there", b'{"metadata": {"a": 5}}'),
        ("PATCH", "/storage/v1/b/{b}/o/there", b'{"contentType": 5}'),
        ("PATCH", "/storage/v1/b/{b}/o/there", b'{"contentType": "a\\nb: c"}'),
        ("PUT", "/storage/v1/b/{b}/iam", b'{"bindings": "x"}'),
        ("POST", "/storage/v1/b/{b}/o/x/compose", b"{}"),
        ("POST", "/storage/v1/b/{b}/o/x/compose", b'{"sourceObjects": []}'),
        ("POST", "/storage/v1/b/{b}/o/x/compose", b'{"sourceObjects": [{"generation": 1}]}'),
        ("POST", "/storage/v1/b/{b}/o/there/moveTo/o/there", b""),
        ("POST", "/upload/storage/v1/b/{b}/o?uploadType=media", b"x"),
        ("POST", "/upload/storage/v1/b/{b}/o?uploadType=media&name=..", b"x"),
        ("POST", "/upload/storage/v1/b/{b}/o?uploadType=media&name=a%0Ab", b"x"),
        ("POST", "/upload/storage/v1/b/{b}/o?uploadType=other&name=a", b"x"),
        ("POST", "/upload/storage/v1/b/{b}/o?uploadType=multipart", b"x"),
        ("POST", "/upload/storage/v1/b/{b}/o?uploadType=resumable", b'{"name": ["x"]}'),
        ("POST", "/batch/storage/v1", b"x"),
    ],
)
def test_bad_requests(
    cloud: Cloud, bucket_name: str, method: str, path: str, body: bytes | None
) -> None:
    upload(cloud, bucket_name, "there", b"x")
    reply = cloud.call(method, path.replace("{b}", bucket_name), body)
    assert reply.status == 400, reply.body
    assert reply.json["error"]["message"]


# Ranges


@pytest.mark.parametrize(
    ("header", "status", "body", "content_range"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=8-", 206, b"89", "bytes 8-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=5-99", 206, b"56789", "bytes 5-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=99-100", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=5-3", 200, b"0123456789", None),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("lines=1-2", 200, b"0123456789", None),
        ("bytes=x", 200, b"0123456789", None),
    ],
)
@pytest.mark.parametrize("xml", [False, True])
def test_ranges(
    cloud: Cloud,
    bucket_name: str,
    header: str,
    status: int,
    body: bytes | None,
    content_range: str | None,
    xml: bool,
) -> None:
    upload(cloud, bucket_name, "ten", b"0123456789")
    if xml:
        reply = cloud.call("GET", f"/{bucket_name}/ten", headers={"Host": GOOGLE, "Range": header})
    else:
        reply = media(cloud, bucket_name, "ten", Range=header)
    assert reply.status == status
    assert reply.headers["Content-Range"] == content_range
    if body is not None:
        assert reply.body == body
    elif xml:
        assert b"<Code>InvalidRange</Code>" in reply.body


def test_range_of_an_empty_object(cloud: Cloud, bucket_name: str) -> None:
    upload(cloud, bucket_name, "empty", b"")
    assert media(cloud, bucket_name, "empty").body == b""
    assert media(cloud, bucket_name, "empty", Range="bytes=0-").status == 416


def test_gzip_is_unpacked_for_who_does_not_take_it(cloud: Cloud, bucket_name: str) -> None:
    data = b"log line\n" * 500_000
    path = f"/upload/storage/v1/b/{bucket_name}/o?uploadType=media&name=z&contentEncoding=gzip"
    packed = gzip.compress(data)
    cloud.call("POST", path, packed)

    plain = media(cloud, bucket_name, "z", **{"Accept-Encoding": "identity"})
    assert plain.body == data
    kept = media(cloud, bucket_name, "z", **{"Accept-Encoding": "gzip"})
    assert kept.body == packed
    assert kept.headers["Content-Encoding"] == "gzip"


# Uploads


def test_checksum_mismatch_keeps_the_old_object(cloud: Cloud, bucket_name: str) -> None:
    upload(cloud, bucket_name, "sum", b"old")
    wrong = base64.b64encode(b"\0" * 4).decode()

    reply = upload(cloud, bucket_name, "sum", b"new", **{"X-Goog-Hash": f"crc32c={wrong}"})

    assert reply.status == 400
    assert "CRC32C" in reply.json["error"]["message"]
    assert media(cloud, bucket_name, "sum").body == b"old"


def multipart(metadata: bytes, data: bytes, newline: bytes, closing: bytes = b"--") -> bytes:
    return newline.join(
        (
            b"--frontier",
            b"Content-Type: application/json",
            b"",
            metadata,
            b"--frontier",
            b"Content-Type: text/csv",
            b"",
            data,
            b"--frontier" + closing,
        )
    )


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@pytest.mark.parametrize(
    "data", [b"", b"a,b", b"\r\n--frontie", b"--frontier", b"\n\n\r\n", b"x" * 3_000_000]
)
def test_multipart(cloud: Cloud, bucket_name: str, newline: bytes, data: bytes) -> None:
    path = f"/upload/storage/v1/b/{bucket_name}/o?uploadType=multipart"
    body = multipart(b'{"name": "m", "metadata": {"a": "b"}}', data, newline)
    reply = cloud.call(
        "POST", path, body, {"Content-Type": "multipart/related; boundary='frontier'"}
    )
    assert reply.status == 200
    assert reply.json["contentType"] == "text/csv"
    assert reply.json["metadata"] == {"a": "b"}
    assert media(cloud, bucket_name, "m").body == data


@given(data=st.binary(max_size=300), cut=st.integers(1, 60), pieces=st.integers(1, 50))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_multipart_in_any_pieces(
    cloud: Cloud, bucket_name: str, data: bytes, cut: int, pieces: int
) -> None:
    """Cut at the end it is refused; whole, in chunks of any size, it is stored as it is."""
    whole = multipart(b'{"name": "p"}', data, b"\r\n")
    head = (
        f"POST /upload/storage/v1/b/{bucket_name}/o?uploadType=multipart HTTP/1.1\r\n"
        f"Host: localhost\r\nAuthorization: Bearer {cloud.token}\r\nConnection: close\r\n"
        "Content-Type: multipart/related; boundary=frontier\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    for body, status in ((whole, b" 200 "), (whole[:-cut], b" 400 ")):
        with socket.create_connection(("127.0.0.1", cloud.port), timeout=30) as connection:
            connection.sendall(head.encode())
            for start in range(0, len(body), pieces):
                piece = body[start : start + pieces]
                connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            connection.sendall(b"0\r\n\r\n")
            reply = connection.makefile("rb").read()
        assert status in reply.partition(b"\r\n")[0]
    assert media(cloud, bucket_name, "p").body == data


def test_broken_connection_stores_nothing(cloud: Cloud, bucket_name: str) -> None:
    head = (
        f"POST /upload/storage/v1/b/{bucket_name}/o?uploadType=media&name=cut HTTP/1.1\r\n"
        f"Host: localhost\r\nAuthorization: Bearer {cloud.token}\r\n"
        "Content-Length: 9000000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", cloud.port), timeout=30) as connection:
        connection.sendall(head.encode() + b"x" * 6_000_000)
    assert upload(cloud, bucket_name, "after", b"fine").status == 200
    assert media(cloud, bucket_name, "cut").status == 404


def test_resumable_protocol(cloud: Cloud, bucket_name: str) -> None:
    location = begin(cloud, bucket_name, "r", **{"X-Upload-Content-Type": "text/plain"})

    status = put(cloud, location, b"", "bytes */*")
    assert (status.status, status.headers["Range"]) == (308, None)
    reply = put(cloud, location, b"abcd", "bytes 0-3/*")
    assert (reply.status, reply.headers["Range"]) == (308, "bytes=0-3")
    reply = put(cloud, location, b"gap", "bytes 8-10/*")
    assert reply.status == 503
    reply = put(cloud, location, b"cdef", "bytes 2-5/*")  # two bytes again
    assert reply.headers["Range"] == "bytes=0-5"
    assert media(cloud, bucket_name, "r").status == 404
    done = put(cloud, location, b"ghi", "bytes 6-8/9")
    assert done.status == 200
    assert done.json["size"] == "9"
    assert done.json["contentType"] == "text/plain"
    assert media(cloud, bucket_name, "r").body == b"abcdefghi"

    again = put(cloud, location, b"", "bytes */9")  # a client that lost the reply
    assert again.json["generation"] == done.json["generation"]
    upload(cloud, bucket_name, "r", b"replaced")
    late = put(cloud, location, b"ghi", "bytes 6-8/9")
    assert late.json["generation"] == done.json["generation"]
    assert media(cloud, bucket_name, "r").body == b"replaced"


@pytest.mark.parametrize(
    "content_range",
    ["bytes 0-3", "bytes 3-0/9", "bytes 0-9/5", "bytes 0-99/100", "items 0-3/4", "bytes a-b/c"],
)
def test_bad_content_range(cloud: Cloud, bucket_name: str, content_range: str) -> None:
    location = begin(cloud, bucket_name, "bad")
    assert put(cloud, location, b"abcd", content_range).status == 400
    assert put(cloud, location, b"abcd", "bytes 0-3/4").status == 200


def test_size_that_differs_from_the_declared_one(cloud: Cloud, bucket_name: str) -> None:
    location = begin(cloud, bucket_name, "size", **{"X-Upload-Content-Length": "10"})
    assert put(cloud, location, b"abcd", "bytes 0-3/4").status == 400
    assert media(cloud, bucket_name, "size").status == 404


def test_cancelled_upload(cloud: Cloud, bucket_name: str) -> None:
    location = begin(cloud, bucket_name, "gone")
    put(cloud, location, b"abcd", "bytes 0-3/*")
    stored = sum(1 for _ in cloud.store.blobs.keys())  # noqa: SIM118 -- no mapping

    assert cloud.call("DELETE", location).status == 499

    assert put(cloud, location, b"efgh", "bytes 4-7/8").status == 404
    assert sum(1 for _ in cloud.store.blobs.keys()) == stored - 1  # noqa: SIM118


def test_location_keeps_the_host_of_the_client(cloud: Cloud, bucket_name: str) -> None:
    path = f"/resumable/upload/storage/v1/b/{bucket_name}/o?uploadType=resumable&name=x"
    reply = cloud.call("POST", path, b"", {"Host": "www.googleapis.com"})
    location = reply.headers["Location"]
    assert location.startswith(
        f"http://www.googleapis.com/resumable/upload/storage/v1/b/{bucket_name}"
    )


def test_interrupted_chunk_keeps_what_came(cloud: Cloud, bucket_name: str) -> None:
    location = begin(cloud, bucket_name, "part")
    head = (
        f"PUT {location} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {cloud.token}\r\n"
        "Content-Length: 2000000\r\nContent-Range: bytes 0-1999999/2000000\r\n\r\n"
    )
    data = bytes(range(250)) * 8000
    with socket.create_connection(("127.0.0.1", cloud.port), timeout=30) as connection:
        connection.sendall(head.encode() + data[:1_000_000])
        connection.shutdown(socket.SHUT_WR)
        connection.makefile("rb").read()

    range_ = None
    for _ in range(500):  # the server may still be at storing what came
        if range_ := put(cloud, location, b"", "bytes */2000000").headers["Range"]:
            break
    assert range_ == "bytes=0-999999"
    received = 1_000_000
    reply = put(cloud, location, data[received:], f"bytes {received}-1999999/2000000")
    assert reply.status == 200
    assert media(cloud, bucket_name, "part").body == data


def test_upload_goes_on_after_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as cloud:
        cloud.service.create_bucket("restart-bucket", "p")
        location = begin(cloud, "restart-bucket", "r")
        put(cloud, location, b"first half ", "bytes 0-10/*")
    with opened(tmp_path) as cloud:
        assert put(cloud, location, b"", "bytes */*").headers["Range"] == "bytes=0-10"
        assert put(cloud, location, b"second", "bytes 11-16/17").status == 200
        assert media(cloud, "restart-bucket", "r").body == b"first half second"


# Concurrency


def test_concurrent_overwrites(cloud: Cloud, bucket_name: str) -> None:
    """A reader sees one version whole; the last one stays; no other blob does."""
    versions = [bytes([65 + number]) * 300_000 for number in range(8)]
    upload(cloud, bucket_name, "hot", versions[0])
    stop = threading.Event()

    def read() -> set[bytes]:
        seen = set()
        while not stop.is_set():
            reply = media(cloud, bucket_name, "hot")
            assert reply.status == 200
            assert len(reply.body) == 300_000
            seen.add(bytes(set(reply.body)))
        return seen

    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        writes = [pool.submit(upload, cloud, bucket_name, "hot", v) for v in versions * 3]
        replies = [write.result() for write in writes]
        stop.set()
        seen = set.union(*(reader.result() for reader in readers))

    assert all(reply.status == 200 for reply in replies)
    assert all(len(version) == 1 for version in seen)
    generations = [int(reply.json["generation"]) for reply in replies]
    assert len(set(generations)) == len(generations)
    last = replies[generations.index(max(generations))]
    found = cloud.call("GET", f"/storage/v1/b/{bucket_name}/o/hot").json
    assert found["md5Hash"] == last.json["md5Hash"]
    assert cloud.service.sweep(older_than_s=0) == 0


def test_only_one_wins_a_precondition(cloud: Cloud, bucket_name: str) -> None:
    path = f"/upload/storage/v1/b/{bucket_name}/o?uploadType=media&name=one&ifGenerationMatch=0"
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda n: cloud.call("POST", path, b"%d" % n), range(16)))
    assert sorted(reply.status for reply in replies) == [200] + [412] * 15


# XML, batch, fields


def test_xml_api(cloud: Cloud, bucket_name: str) -> None:
    host = {"Host": GOOGLE}
    name = quote("d/ü 1", safe="/")
    reply = cloud.call("PUT", f"/{bucket_name}/{name}", b"data", host | {"x-goog-meta-a": "b"})
    assert reply.status == 200
    virtual = {"Host": f"{bucket_name}.{GOOGLE}"}
    head = cloud.call("HEAD", f"/{name}", headers=virtual)
    assert head.headers["Content-Length"] == "4"
    assert head.headers["x-goog-meta-a"] == "b"
    assert head.headers["ETag"] == reply.headers["ETag"]
    got = cloud.call("GET", f"/{name}", headers=virtual)
    assert got.body == b"data"
    fresh = virtual | {"If-None-Match": head.headers["ETag"]}
    assert cloud.call("GET", f"/{name}", headers=fresh).status == 304
    # A slash that is quoted is the same name, as TensorFlow sends it.
    assert cloud.call("GET", f"/{bucket_name}/d%2F%C3%BC%201", headers=host).body == b"data"

    copied = host | {"x-goog-copy-source": f"/{bucket_name}/{name}"}
    assert cloud.call("PUT", f"/{bucket_name}/e", b"", copied).status == 200
    listed = cloud.call("GET", f"/{bucket_name}?delimiter=/", headers=host).body.decode()
    assert "<Key>e</Key>" in listed
    assert "<Prefix>d/</Prefix>" in listed
    first = cloud.call("GET", f"/{bucket_name}?max-keys=1", headers=host).body.decode()
    assert "<NextMarker>d/ü 1</NextMarker>" in first
    rest = cloud.call("GET", f"/{bucket_name}?marker={quote('d/ü 1')}", headers=host).body.decode()
    assert "<Key>e</Key>" in rest
    assert "ü" not in rest.partition("</Marker>")[2]
    assert cloud.call("DELETE", f"/{bucket_name}/e", headers=host).status == 204
    assert cloud.call("DELETE", f"/{bucket_name}", headers=host).status == 409
    assert cloud.call("GET", f"/{bucket_name}?acl", headers=host).status == 501


def test_batch_answers_in_order(cloud: Cloud, bucket_name: str) -> None:
    upload(cloud, bucket_name, "a", b"1")
    lines = []
    for number, target in enumerate(("a", "none", "a")):
        lines += [
            "--b",
            "Content-Type: application/http",
            f"Content-ID: <x+{number}>",
            "",
            f"GET /storage/v1/b/{bucket_name}/o/{target}?fields=name HTTP/1.1",
            "",
            "",
        ]
    reply = cloud.call(
        "POST",
        "/batch/storage/v1",
        "\r\n".join([*lines, "--b--"]).encode(),
        {"Content-Type": "multipart/mixed; boundary=b"},
    )
    text = reply.body.decode()
    assert reply.status == 200
    assert [line for line in text.split("\r\n") if line.startswith(("HTTP", "Content-ID"))] == [
        "Content-ID: <response-x+0>",
        "HTTP/1.1 200 OK",
        "Content-ID: <response-x+1>",
        "HTTP/1.1 404 Not Found",
        "Content-ID: <response-x+2>",
        "HTTP/1.1 200 OK",
    ]
    assert text.count('{"name":"a"}') == 2


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("items(name,size),prefixes", {"items": [{"name": "a", "size": "1"}], "prefixes": ["d/"]}),
        ("items/name", {"items": [{"name": "a"}]}),
        ("kind", {"kind": "storage#objects"}),
        ("nothing", {}),
    ],
)
def test_fields(cloud: Cloud, bucket_name: str, fields: str, expected: object) -> None:
    upload(cloud, bucket_name, "a", b"1")
    upload(cloud, bucket_name, "d/e", b"1")
    path = f"/storage/v1/b/{bucket_name}/o?delimiter=/&fields={quote(fields)}"
    assert cloud.call("GET", path).json == expected


def test_what_clients_probe(cloud: Cloud, bucket_name: str) -> None:
    base = f"/storage/v1/b/{bucket_name}"
    assert cloud.call("GET", f"{base}/storageLayout").json["locationType"] == "multi-region"
    assert cloud.call("GET", f"{base}/anywhereCaches").status == 200
    assert cloud.call("GET", f"{base}/managedFolders").status == 200
    assert cloud.call("GET", f"{base}/folders").status == 400
    reply = cloud.call("GET", "/storage/v1/projects/p/serviceAccount")
    assert reply.json["email_address"].endswith("iam.gserviceaccount.com")


# Listing: against a simple model


NAMES = st.text(st.sampled_from("ab/é\ud7ff\U0010ffff"), min_size=1, max_size=5)


@given(
    names=st.sets(NAMES, max_size=12),
    prefix=st.text(st.sampled_from("ab/"), max_size=2),
    delimiter=st.sampled_from(["", "/", "b", "ab"]),
    size=st.integers(1, 5),
)
@settings(max_examples=40, deadline=None)
def test_listing_like_a_model(
    cloud: Cloud, names: set[str], prefix: str, delimiter: str, size: int
) -> None:
    service = cloud.service
    bucket = "listing-model"
    service.create_bucket(bucket)
    service.delete_prefix(bucket, "")
    for name in names:
        service.write_object(bucket, name, [b"x"])

    wanted_items, wanted_prefixes = [], []
    for name in sorted(names):
        if not name.startswith(prefix):
            continue
        end = name.find(delimiter, len(prefix)) if delimiter else -1
        if end < 0:
            wanted_items.append(name)
        elif (common := name[: end + len(delimiter)]) not in wanted_prefixes:
            wanted_prefixes.append(common)

    items, prefixes, pages = [], [], 0
    for page in pages_of(cloud, bucket, prefix, delimiter, size):
        found = [item["name"] for item in page.get("items", [])]
        assert len(found) + len(page.get("prefixes", [])) <= size
        items += found
        prefixes += page.get("prefixes", [])
        pages += 1
    assert items == wanted_items
    assert prefixes == wanted_prefixes
    assert pages == max(1, -(-(len(items) + len(prefixes)) // size))


def pages_of(
    cloud: Cloud, bucket: str, prefix: str, delimiter: str, size: int
) -> Iterator[dict[str, list[dict[str, str]]]]:
    token = ""
    while True:
        query = f"prefix={quote(prefix)}&delimiter={delimiter}&maxResults={size}&pageToken={token}"
        page = json.loads(cloud.call("GET", f"/storage/v1/b/{bucket}/o?{query}").body)
        yield page
        token = page.get("nextPageToken", "")
        if not token:
            return

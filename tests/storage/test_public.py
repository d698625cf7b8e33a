"""Objects that anybody may read: what opens a bucket, and what stays closed."""

import itertools
import os
import shutil
from typing import Any
from urllib.parse import quote

import pytest
from google.api_core.exceptions import PreconditionFailed
from google.auth.exceptions import InvalidOperation
from google.cloud import storage
from google.oauth2.credentials import Credentials

from tests.conftest import Server
from tests.storage.conftest import GOOGLE, Cloud, Reply
from tests.storage.test_gcloud import Gcloud

NUMBERS = itertools.count()
GET = "roles/storage.legacyObjectReader"
VIEW = "roles/storage.objectViewer"


def make_bucket(cloud: Cloud, *bindings: dict[str, Any], **fields: Any) -> str:
    """A bucket with one object, and the policy it is given through the API."""
    name = f"public-{next(NUMBERS)}"
    reply = cloud.call("POST", "/storage/v1/b?project=p", {"name": name, **fields})
    assert reply.status == 200
    cloud.service.write_object(name, "a dir/train.gz", [b"0123456789"])
    if bindings:
        policy = {"bindings": list(bindings)}
        assert cloud.call("PUT", f"/storage/v1/b/{name}/iam", policy).status == 200
    return name


def everybody(role: str, **fields: Any) -> dict[str, Any]:
    return {"role": role, "members": ["user:a@example.com", "allUsers"], **fields}


def anonymous(cloud: Cloud, method: str, path: str, **headers: str) -> Reply:
    return cloud.call(
        method, path, b"x" if method in ("POST", "PUT") else None, headers, token=None
    )


def requests_on(bucket: str, name: str = "a dir/train.gz") -> dict[str, tuple[str, str, str]]:
    """Ways to ask for a bucket's things: method, path, host."""
    path = quote(name, safe="")
    return {
        "media": ("GET", f"/storage/v1/b/{bucket}/o/{path}?alt=media", ""),
        "download": ("GET", f"/download/storage/v1/b/{bucket}/o/{path}?alt=media", ""),
        "metadata": ("GET", f"/storage/v1/b/{bucket}/o/{path}", ""),
        "xml": ("GET", f"/{bucket}/{quote(name)}", GOOGLE),
        "xml head": ("HEAD", f"/{bucket}/{quote(name)}", GOOGLE),
        "xml host": ("GET", f"/{quote(name)}", f"{bucket}.{GOOGLE}"),
        "list": ("GET", f"/storage/v1/b/{bucket}/o", ""),
        "xml list": ("GET", f"/{bucket}", GOOGLE),
        "upload": ("POST", f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name=new", ""),
        "xml put": ("PUT", f"/{bucket}/new", GOOGLE),
        "patch": ("PATCH", f"/storage/v1/b/{bucket}/o/{path}", ""),
        "delete": ("DELETE", f"/storage/v1/b/{bucket}/o/{path}", ""),
        "xml delete": ("DELETE", f"/{bucket}/{quote(name)}", GOOGLE),
        "copy": ("POST", f"/storage/v1/b/{bucket}/o/{path}/copyTo/b/{bucket}/o/new", ""),
        "bucket": ("GET", f"/storage/v1/b/{bucket}", ""),
        "xml bucket": ("HEAD", f"/{bucket}", GOOGLE),
        "location": ("GET", f"/{bucket}?location", GOOGLE),
        "policy": ("GET", f"/storage/v1/b/{bucket}/iam", ""),
        "set policy": ("PUT", f"/storage/v1/b/{bucket}/iam", ""),
        "delete bucket": ("DELETE", f"/storage/v1/b/{bucket}", ""),
        "buckets": ("GET", "/storage/v1/b?project=p", ""),
        "batch": ("POST", "/batch/storage/v1", ""),
    }


READS = {"media", "download", "metadata", "xml", "xml head", "xml host"}
LISTS = {"list", "xml list"}


def statuses(cloud: Cloud, bucket: str, name: str = "a dir/train.gz") -> dict[str, int]:
    return {
        what: anonymous(cloud, method, path, **({"Host": host} if host else {})).status
        for what, (method, path, host) in requests_on(bucket, name).items()
    }


@pytest.mark.parametrize(
    ("binding", "allowed"),
    [
        (everybody(VIEW), READS | LISTS),
        (everybody(GET), READS),
        (everybody("roles/storage.objectAdmin"), READS | LISTS),
        (everybody("roles/storage.legacyBucketReader"), LISTS),
        (everybody("roles/storage.objectCreator"), set()),
        (everybody("roles/owner"), set()),
        (everybody(VIEW, condition={"expression": "false"}), set()),
        ({"role": VIEW, "members": ["allAuthenticatedUsers"]}, set()),
        ({"role": VIEW, "members": "allUsers"}, set()),
        ({"role": VIEW}, set()),
        ({"members": ["allUsers"]}, set()),
        ({"role": [VIEW], "members": ["allUsers"]}, set()),
    ],
)
def test_what_a_binding_opens(cloud: Cloud, binding: dict[str, Any], allowed: set[str]) -> None:
    bucket = make_bucket(cloud, binding)

    found = statuses(cloud, bucket)

    assert {what for what, status in found.items() if status == 200} == allowed
    assert {status for what, status in found.items() if what not in allowed} <= {401}


def test_the_bytes_are_right(cloud: Cloud) -> None:
    bucket = make_bucket(cloud, everybody(VIEW))

    for what in ("media", "download", "xml", "xml host"):
        method, path, host = requests_on(bucket)[what]
        headers = {"Host": host} if host else {}
        assert anonymous(cloud, method, path, **headers).body == b"0123456789"
        part = anonymous(cloud, method, path, Range="bytes=2-4", **headers)
        assert (part.status, part.body) == (206, b"234")


def test_what_is_not_public_cannot_be_told_from_what_is_not_there(cloud: Cloud) -> None:
    private = make_bucket(cloud)

    bodies = {
        anonymous(cloud, "GET", path, Host=GOOGLE).body
        for path in (f"/{private}/a%20dir/train.gz", f"/{private}/none", "/no-such-bucket/none")
    }
    assert len(bodies) == 1
    assert statuses(cloud, private) == statuses(cloud, "no-such-bucket")


def test_a_missing_object_is_told_to_those_who_may_list(cloud: Cloud) -> None:
    listed = statuses(cloud, make_bucket(cloud, everybody(VIEW)), "none")
    unlisted = statuses(cloud, make_bucket(cloud, everybody(GET)), "none")

    assert {listed[what] for what in READS} == {404}
    assert {unlisted[what] for what in READS} == {401}


def test_a_wrong_credential_is_refused_where_none_is_needed(cloud: Cloud) -> None:
    bucket = make_bucket(cloud, everybody(VIEW))
    for method, path, host in requests_on(bucket).values():
        headers = {"Host": host} if host else {}
        assert cloud.call(method, path, b"", headers, token="wrong").status == 401
    path = f"/storage/v1/b/{bucket}/o?access_token=wrong"
    assert anonymous(cloud, "GET", path).status == 401


def test_a_bucket_can_be_closed_again(cloud: Cloud) -> None:
    bucket = make_bucket(cloud, everybody(VIEW))
    assert cloud.call("PUT", f"/storage/v1/b/{bucket}/iam", {"bindings": []}).status == 200

    assert set(statuses(cloud, bucket).values()) == {401}


def test_public_access_prevention(cloud: Cloud) -> None:
    enforced = {"iamConfiguration": {"publicAccessPrevention": "enforced"}}
    bucket = make_bucket(cloud, everybody(VIEW))
    assert cloud.call("PATCH", f"/storage/v1/b/{bucket}", enforced).status == 200
    assert set(statuses(cloud, bucket).values()) == {401}

    for member in ("allUsers", "allAuthenticatedUsers"):
        policy = {"bindings": [{"role": VIEW, "members": [member]}]}
        reply = cloud.call("PUT", f"/storage/v1/b/{bucket}/iam", policy)
        assert reply.status == 412
        assert "prevention" in reply.json["error"]["message"]


def test_with_the_official_client(cloud: Cloud, client: storage.Client) -> None:
    bucket = client.create_bucket(f"public-{next(NUMBERS)}")
    bucket.blob("tf-keras-datasets/x.gz").upload_from_string(b"digits")
    stranger = storage.Client.create_anonymous_client()
    stranger._connection.API_BASE_URL = cloud.url
    # google-auth's answer to a 401 is to renew the credential, of which there is none.
    with pytest.raises(InvalidOperation):
        stranger.bucket(bucket.name).blob("tf-keras-datasets/x.gz").download_as_bytes()

    policy = bucket.get_iam_policy(requested_policy_version=3)
    policy.bindings.append({"role": VIEW, "members": {"allUsers"}})
    bucket.set_iam_policy(policy)

    assert bucket.get_iam_policy()[VIEW] == {"allUsers"}
    seen = stranger.bucket(bucket.name)
    assert seen.blob("tf-keras-datasets/x.gz").download_as_bytes() == b"digits"
    assert [blob.name for blob in stranger.list_blobs(bucket.name)] == ["tf-keras-datasets/x.gz"]
    with pytest.raises(InvalidOperation):
        seen.blob("new").upload_from_string(b"x")
    bucket.iam_configuration.public_access_prevention = "enforced"
    bucket.patch()
    with pytest.raises(PreconditionFailed):
        bucket.set_iam_policy(policy)


@pytest.mark.heavy  # gcloud takes seconds to start
@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed")
def test_with_gcloud(cloud: Cloud, tmp_path: Any) -> None:
    gcloud = Gcloud(cloud, tmp_path)
    bucket = make_bucket(cloud)
    member = ["--member=allUsers", f"--role={VIEW}"]

    gcloud("buckets", "add-iam-policy-binding", f"gs://{bucket}", *member)
    assert statuses(cloud, bucket)["xml"] == 200
    assert "allUsers" in gcloud("buckets", "get-iam-policy", f"gs://{bucket}")
    gcloud("buckets", "remove-iam-policy-binding", f"gs://{bucket}", *member)
    assert statuses(cloud, bucket)["xml"] == 401


KERAS_DOWNLOAD = """
import sys, urllib.request
path, _ = urllib.request.urlretrieve(sys.argv[1])
print(open(path).read())
"""


def test_a_plain_download_under_exec(server: Server) -> None:
    """What Keras' `get_file` does: urllib, Google's address, no credential."""
    client = storage.Client(
        project="p",
        credentials=Credentials(server.token),
        client_options={"api_endpoint": server.url},
    )
    for name, opened in (("exec-public", True), ("exec-private", False)):
        bucket = client.create_bucket(name)
        bucket.blob("tf-keras-datasets/train labels.gz").upload_from_string("digits")
        if opened:
            policy = bucket.get_iam_policy(requested_policy_version=3)
            policy.bindings.append({"role": VIEW, "members": {"allUsers"}})
            bucket.set_iam_policy(policy)

    def download(bucket: str) -> Any:
        url = f"https://{GOOGLE}/{bucket}/tf-keras-datasets/train%20labels.gz"
        return server.exec("python3", "-c", KERAS_DOWNLOAD, url, env=dict(os.environ))

    assert download("exec-public").stdout == "digits\n"
    assert "HTTP Error 401" in download("exec-private").stderr

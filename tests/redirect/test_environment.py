"""The environment that a child gets."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensordeck.redirect.endpoint import Endpoint
from tensordeck.redirect.environment import child_environment

HOSTS = (
    "us-central1-aiplatform.googleapis.com",
    "storage.googleapis.com",
    "oauth2.googleapis.com",
    "logging.googleapis.com",
)


@pytest.fixture
def endpoint(tmp_path: Path) -> Endpoint:
    (tmp_path / "tls").mkdir()
    bundle = tmp_path / "tls" / "bundle.pem"
    bundle.write_text("ours\n")
    owner = tmp_path / "owner.json"
    owner.write_text('{"type": "authorized_user", "refresh_token": "a/b+c"}')
    return Endpoint(
        "http://localhost:7001", "127.0.0.1", 7001, owner, bundle, tmp_path / "gcloud", local=True
    )


def test_proxies_lead_to_the_door(endpoint: Endpoint):
    environ = child_environment(endpoint, {"https_proxy": "http://corporate:3128"})

    assert environ["https_proxy"] == environ["HTTPS_PROXY"] == "http://127.0.0.1:7001"


def test_a_remote_door_is_told_who_comes(endpoint: Endpoint):
    remote = Endpoint(
        "http://deck:80",
        "deck",
        80,
        endpoint.credentials,
        endpoint.ca_bundle,
        endpoint.state_dir,
        local=False,
    )

    assert child_environment(remote, {})["https_proxy"] == "http://tensordeck:a%2Fb%2Bc@deck:80"


def test_entries_of_no_proxy_stay_unless_they_cover_our_hosts(endpoint: Endpoint):
    given_entries = "10.0.0.0/8, .corp.example,*.googleapis.com,googleapis.com:443,localhost"

    environ = child_environment(endpoint, {"no_proxy": given_entries})

    assert environ["no_proxy"] == "10.0.0.0/8,.corp.example,localhost,127.0.0.1"
    assert environ["NO_PROXY"] == environ["no_proxy"]


@pytest.mark.parametrize("entry", ["*", ".com", "googleapis.com", *HOSTS, ".", " *. "])
def test_no_entry_keeps_calls_from_us(endpoint: Endpoint, entry: str):
    assert child_environment(endpoint, {"NO_PROXY": entry})["no_proxy"] == "127.0.0.1,localhost"


@settings(deadline=None)  # the first call imports urllib
@given(st.lists(st.from_regex(r"[a-z.*]{0,8}(googleapis\.com)?(:443)?", fullmatch=True)))
def test_python_agrees_that_our_hosts_go_through_the_proxy(entries: list[str]):
    from urllib.request import proxy_bypass_environment

    here = Path("/nowhere")
    endpoint = Endpoint("http://localhost:1", "127.0.0.1", 1, here, here, here, local=True)
    bypass = child_environment(endpoint, {"no_proxy": ",".join(entries)})["no_proxy"]

    assert not any(proxy_bypass_environment(host, {"no": bypass}) for host in HOSTS)


def test_a_company_s_authorities_stay_trusted(endpoint: Endpoint, tmp_path: Path):
    corporate = tmp_path / "corporate.pem"
    corporate.write_text("theirs\n")

    environ = child_environment(endpoint, {"REQUESTS_CA_BUNDLE": str(corporate)})

    merged = Path(environ["SSL_CERT_FILE"])
    assert merged.read_text().split() == ["ours", "theirs"]
    assert environ["REQUESTS_CA_BUNDLE"] == str(merged)
    again = child_environment(endpoint, {**environ, "CURL_CA_BUNDLE": "/no/such/file"})
    assert again["SSL_CERT_FILE"] == str(endpoint.ca_bundle)


def test_the_project_is_the_user_s_own_where_there_is_one(endpoint: Endpoint, tmp_path: Path):
    config = tmp_path / "gcloud-config"
    (config / "configurations").mkdir(parents=True)
    (config / "active_config").write_text("work\n")
    (config / "configurations" / "config_work").write_text(
        "[core]\naccount = a@b.c\nproject = configured\n\n[ai]\nregion = europe-west4\n"
    )
    configured = {"CLOUDSDK_CONFIG": str(config)}

    environ = child_environment(endpoint, configured)
    assert environ["GOOGLE_CLOUD_PROJECT"] == environ["CLOUDSDK_CORE_PROJECT"] == "configured"
    assert environ["CLOUDSDK_AI_REGION"] == "europe-west4"
    assert environ["CLOUDSDK_CONFIG"] == str(endpoint.state_dir)
    environ = child_environment(endpoint, {**configured, "GOOGLE_CLOUD_PROJECT": "mine"})
    assert environ["CLOUDSDK_CORE_PROJECT"] == "mine"
    assert "GOOGLE_CLOUD_PROJECT" not in environ
    environ = child_environment(endpoint, {"CLOUDSDK_CONFIG": str(tmp_path)})
    assert environ["GOOGLE_CLOUD_PROJECT"] == "tensordeck"

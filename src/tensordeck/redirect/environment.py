"""The environment that turns a cloud script, unchanged, to our server.

Nothing in the script, in DNS or in the hosts file changes: `https_proxy` leads its calls to our
gateway, which answers for the Google hosts that we are and tunnels the rest, and the variables
that HTTP and gRPC libraries read for certificate authorities name our CA besides the public ones.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tensordeck.redirect import gcloud_config
from tensordeck.redirect.endpoint import Endpoint

__all__ = ["CA_VARIABLES", "DEFAULT_PROJECT", "REMOVED", "child_environment"]

DEFAULT_PROJECT: Final = "tensordeck"
"""The project of scripts and commands that name none; the server answers for any."""

REMOVED: Final = (
    # gRPC prefers these to https_proxy and no_proxy.
    "grpc_proxy",
    "no_grpc_proxy",
    # gcsfs would try gRPC at that host, and stall for a minute.
    "STORAGE_EMULATOR_HOST",
    # Google's libraries would call other hosts than those we answer for.
    "GOOGLE_API_USE_CLIENT_CERTIFICATE",
    "GOOGLE_API_USE_MTLS_ENDPOINT",
    "GOOGLE_CLOUD_UNIVERSE_DOMAIN",
    # gcloud prefers each to what we set.
    "CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM",
    "CLOUDSDK_AUTH_ACCESS_TOKEN",
    "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE",
    "CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT",
    "CLOUDSDK_CORE_ACCOUNT",
    "CLOUDSDK_PROXY_ADDRESS",
    "CLOUDSDK_PROXY_PORT",
    "CLOUDSDK_PROXY_TYPE",
)
"""Variables that would lead calls past the gateway; a child must not have them."""

CA_VARIABLES: Final = (
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",  # gRPC
    "REQUESTS_CA_BUNDLE",  # requests: the client's REST transport, google-auth, Cloud Storage
    "SSL_CERT_FILE",  # Python's ssl, httpx, aiohttp; Go
    "CURL_CA_BUNDLE",  # TensorFlow's Cloud Storage file system
    "HTTPLIB2_CA_CERTS",  # googleapiclient
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",  # gcloud
)

_OUR_HOSTS: Final = (
    "us-central1-aiplatform.googleapis.com",
    "aiplatform.googleapis.com",
    "aiplatform.us.rep.googleapis.com",
    "storage.googleapis.com",
    "www.googleapis.com",
    "oauth2.googleapis.com",
    "logging.googleapis.com",
)
"""Enough of the hosts we answer for to tell that a `no_proxy` entry covers one of them."""


def child_environment(
    endpoint: Endpoint, environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Returns the variables to set in a child process; `REMOVED` are to be taken out.

    Args:
        endpoint: The server to lead it to.
        environ: The environment that the child would have otherwise.
    """
    proxy = proxy_url(endpoint)
    bundle = str(_bundle(endpoint, environ))
    bypass = _bypass(environ)
    variables = {
        "https_proxy": proxy,  # gRPC reads lower case only
        "HTTPS_PROXY": proxy,
        "no_proxy": bypass,
        "NO_PROXY": bypass,
        **dict.fromkeys(CA_VARIABLES, bundle),
        "GOOGLE_APPLICATION_CREDENTIALS": str(endpoint.credentials),
        "FSSPEC_GS": '{"session_kwargs":{"trust_env":true}}',  # gcsfs ignores proxies otherwise
        # gcsfs would ask a gRPC service first whether a bucket is one with real folders.
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        "NO_GCE_CHECK": "true",
        "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE": str(endpoint.credentials),
        # A configuration of its own: the user's account and cached tokens stay untouched, and
        # nothing in it (an account, a proxy, an endpoint) leads gcloud elsewhere.
        "CLOUDSDK_CONFIG": str(endpoint.state_dir),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        "CLOUDSDK_SURVEY_DISABLE_PROMPTS": "true",
    }
    configured = gcloud_config.read(environ)
    project = (
        environ.get("GOOGLE_CLOUD_PROJECT")
        or environ.get("CLOUD_ML_PROJECT_ID")
        or environ.get("CLOUDSDK_CORE_PROJECT")
        or configured.get("core/project")
        or DEFAULT_PROJECT
    )
    for variable in ("GOOGLE_CLOUD_PROJECT", "CLOUDSDK_CORE_PROJECT"):
        if not environ.get(variable):
            variables[variable] = project
    for section in ("ai", "compute"):
        region = configured.get(f"{section}/region")
        variable = f"CLOUDSDK_{section.upper()}_REGION"
        if region and not environ.get(variable):
            variables[variable] = region
    return variables


def proxy_url(endpoint: Endpoint) -> str:
    """The address of the server's door as proxy variables spell it.

    A door that is not on this machine asks who tunnels through it, so its address carries the
    credential.
    """
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    if endpoint.local:
        return f"http://{host}:{endpoint.port}"
    # Only a remote server needs it, and `exec` starts before every script.
    from tensordeck.redirect.proxy_password import proxy_password  # noqa: PLC0415 -- as said

    return f"http://tensordeck:{proxy_password(endpoint.credentials)}@{host}:{endpoint.port}"


def _bypass(environ: Mapping[str, str]) -> str:
    """The user's `no_proxy`, less what covers our hosts, with this machine added."""
    entries = [
        stripped
        for entry in (environ.get("no_proxy") or environ.get("NO_PROXY") or "").split(",")
        if (stripped := entry.strip()) and not _covers_ours(stripped)
    ]
    return ",".join(dict.fromkeys([*entries, "127.0.0.1", "localhost"]))


def _covers_ours(entry: str) -> bool:
    suffix = entry.lower().lstrip("*").lstrip(".").partition(":")[0]
    return not suffix or any(host == suffix or host.endswith("." + suffix) for host in _OUR_HOSTS)


def _bundle(endpoint: Endpoint, environ: Mapping[str, str]) -> Path:
    """The server's bundle; with the user's own authorities (a company's) where there are any."""
    ours = endpoint.ca_bundle
    own = dict.fromkeys(
        file
        for variable in CA_VARIABLES
        if (value := environ.get(variable))
        and (file := Path(value)).is_file()
        and file.parent != ours.parent
    )
    if not own:
        return ours
    import zlib  # noqa: PLC0415 -- as above: rarely needed

    from tensordeck.whole_file import PUBLIC, write_whole  # noqa: PLC0415 -- as above

    pem = b"\n".join(file.read_bytes() for file in (ours, *own))
    folder = ours.parent if endpoint.local else endpoint.state_dir
    merged = folder / f"bundle-{zlib.crc32(pem):08x}.pem"
    if not merged.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(merged, pem, PUBLIC)
    return merged

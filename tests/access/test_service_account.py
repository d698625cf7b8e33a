import base64
import json
import time
from collections.abc import Iterator

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth.transport.requests import Request
from google.oauth2 import service_account
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensordeck.access import GrantRefused, LocalAccess
from tensordeck.access.records import REMEMBER_SECONDS
from tensordeck.errors import Unauthenticated
from tests.access.installation import START, Clock, Installation, new_installation

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
VERTEX = "https://aiplatform.googleapis.com/"
TOKEN = "https://oauth2.googleapis.com/token"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@pytest.fixture(scope="module")
def other_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One installation for the whole file: stores and RSA keys take long to make."""
    with new_installation(tmp_path_factory.mktemp("shared") / "data", Clock()) as opened:
        yield opened


@pytest.fixture
def installation(shared: Installation) -> Iterator[Installation]:
    yield shared
    shared.clock.now = START


@pytest.fixture
def clock(installation: Installation) -> Clock:
    return installation.clock


@pytest.fixture
def access(installation: Installation) -> LocalAccess:
    return installation.open()


@pytest.fixture(scope="module")
def key(shared: Installation) -> dict[str, str]:
    return shared.open().create_service_account_key("trainer@my-project.iam.gserviceaccount.com")


def signed(key: dict[str, str], **changes: object) -> str:
    """A self-signed JWT as google-auth makes it, with some claims changed; None leaves one out."""
    claims = {
        "iss": key["client_email"],
        "sub": key["client_email"],
        "iat": START,
        "exp": START + 3600,
        "aud": VERTEX,
        **changes,
    }
    return jwt.encode(
        {name: value for name, value in claims.items() if value is not None},
        key["private_key"],
        algorithm="RS256",
        headers={"kid": key["private_key_id"]},
    )


def caller(access: LocalAccess, token: str) -> str:
    return access.authenticate(f"Bearer {token}").principal


def test_the_key_file_is_one_that_google_auth_reads(key):
    credentials = service_account.Credentials.from_service_account_info(key)

    assert credentials.service_account_email == "trainer@my-project.iam.gserviceaccount.com"
    assert credentials.project_id == "tensordeck"
    assert json.loads(json.dumps(key)) == key


@pytest.mark.parametrize("scoped", [True, False])
def test_google_auth_s_own_jwts_are_accepted(access, key, clock, scoped):
    clock.now = time.time()
    credentials = service_account.Credentials.from_service_account_info(key)
    if scoped:
        credentials = credentials.with_scopes([SCOPE])
        credentials = credentials.with_always_use_jwt_access(True)
    credentials._create_self_signed_jwt(None if scoped else VERTEX)
    credentials.refresh(Request())

    assert caller(access, credentials.token) == key["client_email"]


def test_the_private_key_is_kept_nowhere(access, installation, key):
    middle = base64.b64decode("".join(key["private_key"].splitlines()[1:-1]))[200:300]
    for file in installation.settings.data_dir.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert key["private_key"].encode() not in content
            assert middle not in content


def test_a_jwt_ends(access, key, clock):
    token = signed(key)
    assert caller(access, token) == key["client_email"]
    clock.now += 3600 + 61
    with pytest.raises(Unauthenticated, match="expired"):
        caller(access, token)


def test_a_revoked_key_s_jwts_are_refused_soon_everywhere(access, installation, clock):
    key = access.create_service_account_key("short-lived")
    token, elsewhere = signed(key), installation.open()
    assert caller(access, token)
    assert caller(elsewhere, token)

    access.revoke(key["private_key_id"])

    with pytest.raises(Unauthenticated, match="revoked"):
        caller(access, token)
    clock.now += REMEMBER_SECONDS
    with pytest.raises(Unauthenticated, match="revoked"):
        caller(elsewhere, token)
    with pytest.raises(GrantRefused, match="revoked"):
        access.exchange({"grant_type": JWT_BEARER, "assertion": signed(key, aud=TOKEN)})


@pytest.mark.parametrize(
    "audience",
    [VERTEX, "https://us-central1-aiplatform.googleapis.com/", "https://localhost:6060/", [VERTEX]],
)
def test_audiences_that_are_us_are_accepted(access, key, audience):
    assert caller(access, signed(key, aud=audience))


def test_a_scope_stands_in_for_an_audience(access, key):
    assert caller(access, signed(key, aud=None, scope=SCOPE))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "other@x.example"}, "belongs to"),
        ({"sub": "other@x.example"}, "belongs to"),
        ({"sub": 7}, "."),
        ({"iss": None}, "iss"),
        ({"exp": None}, "exp"),
        ({"iat": None}, "iat"),
        ({"exp": START - 61}, "expired"),
        ({"iat": START + 120, "exp": START + 3600}, "clock"),
        ({"exp": START + 7200}, "valid for"),
        ({"exp": START - 30, "iat": START - 20}, "valid for"),
        ({"exp": "soon"}, "."),
        ({"iat": True}, "."),
        ({"exp": 1e400}, "."),
        ({"exp": float("nan")}, "."),
        ({"aud": None}, "aud"),
        ({"aud": "https://example.com/"}, "meant for"),
        ({"aud": "https://evilgoogleapis.com/"}, "meant for"),
        ({"aud": "https://["}, "URL"),
        ({"aud": [VERTEX, "https://example.com/"]}, "aud"),
        ({"aud": 7}, "aud"),
        ({"aud": TOKEN}, "meant for"),
    ],
)
def test_jwts_with_wrong_claims_are_refused(access, key, changes, reason):
    with pytest.raises(Unauthenticated, match=reason):
        caller(access, signed(key, **changes))


def test_another_key_s_signature_is_refused(access, key, other_key):
    with pytest.raises(Unauthenticated, match="signature"):
        caller(access, signed({**key, "private_key": other_key}))


def test_another_account_s_key_is_refused(access, key):
    other = access.create_service_account_key("other")
    with pytest.raises(Unauthenticated, match="belongs to"):
        caller(access, signed({**other, "client_email": key["client_email"]}))


def test_an_unknown_key_is_refused_with_the_way_out(access, key):
    with pytest.raises(Unauthenticated, match="keys create"):
        caller(access, signed({**key, "private_key_id": "0" * 40}))


def test_credentials_without_a_public_key_verify_nothing(access, key):
    owner = access.list_credentials()[0].id
    for kid in (owner, "server", "", "x" * 5000):
        with pytest.raises(Unauthenticated):
            caller(access, signed({**key, "private_key_id": kid}))


def _encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "RS512", "ES256", None, 7])
def test_other_algorithms_are_refused(access, key, algorithm):
    header = {"typ": "JWT", "alg": algorithm, "kid": key["private_key_id"]}
    claims = jwt.decode(signed(key), options={"verify_signature": False})
    for signature in ("", signed(key).rpartition(".")[2]):
        with pytest.raises(Unauthenticated):
            caller(access, f"{_encoded(header)}.{_encoded(claims)}.{signature}")


def test_a_public_key_used_as_a_secret_is_refused(access, installation, key):
    """The classic confusion: HS256 with the public key's PEM as the secret."""
    import hashlib
    import hmac

    private = serialization.load_pem_private_key(key["private_key"].encode(), None)
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    header = {"typ": "JWT", "alg": "HS256", "kid": key["private_key_id"]}
    claims = jwt.decode(signed(key), options={"verify_signature": False})
    text = f"{_encoded(header)}.{_encoded(claims)}"
    mac = base64.urlsafe_b64encode(hmac.digest(public, text.encode(), hashlib.sha256))
    with pytest.raises(Unauthenticated):
        caller(access, f"{text}.{mac.rstrip(b'=').decode()}")


def test_every_altered_part_is_noticed(access, key):
    token = signed(key)
    for position in range(0, len(token), 7):
        altered = (
            token[:position] + ("A" if token[position] != "A" else "Q") + token[position + 1 :]
        )
        if altered.rpartition(".")[2][:-1] == token.rpartition(".")[2][:-1]:
            continue  # only unused bits of the last character
        with pytest.raises(Unauthenticated):
            caller(access, altered)


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_three_parts_are_refused_in_order(access, head, body, signature):
    parts = [base64.urlsafe_b64encode(part).decode() for part in (head, body, signature)]
    with pytest.raises(Unauthenticated):
        caller(access, ".".join(parts))


@given(
    st.dictionaries(
        st.sampled_from(["alg", "kid", "typ", "crit", "b64"]),
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8), st.just("RS256")),
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_header_is_refused_in_order(access, header):
    with pytest.raises(Unauthenticated):
        caller(access, f"{_encoded(header)}.{_encoded({})}.AAAA")


def test_an_assertion_is_traded_for_an_access_token(access, key):
    form = {"grant_type": JWT_BEARER, "assertion": signed(key, aud=TOKEN, scope=SCOPE)}
    assert caller(access, access.exchange(form)["access_token"]) == key["client_email"]


def test_a_bearer_s_jwt_is_no_assertion(access, key):
    """Whoever sees a call's bearer must not be able to trade it for more."""
    with pytest.raises(GrantRefused, match="meant for"):
        access.exchange({"grant_type": JWT_BEARER, "assertion": signed(key)})
    with pytest.raises(GrantRefused):
        access.exchange({"grant_type": JWT_BEARER, "assertion": signed(key, aud=None, scope=SCOPE)})

import base64
import dataclasses
import json
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensordeck.access import Caller, GrantRefused, LocalAccess
from tensordeck.access.permissions import PERMISSIONS
from tensordeck.access.records import REMEMBER_SECONDS
from tensordeck.errors import FailedPrecondition, InvalidArgument, NotFound, Unauthenticated
from tensordeck.front.methods import METHODS
from tests.access.installation import Clock, Installation, new_installation

OWNER = "owner@tensordeck.local"


def refresh_token(installation: Installation) -> str:
    return json.loads(installation.owner_file.read_text())["refresh_token"]


def grant(access: LocalAccess, token: str) -> str:
    return access.exchange({"grant_type": "refresh_token", "refresh_token": token})["access_token"]


@pytest.fixture
def bearer(access: LocalAccess, installation: Installation) -> str:
    return f"Bearer {grant(access, refresh_token(installation))}"


def sign_in(access: LocalAccess) -> str:
    return access.sign_in_link("http://localhost:6060/").partition("token=")[2]


class TestOwner:
    def test_the_first_start_makes_a_file_that_google_auth_knows(self, access, installation):
        content = json.loads(installation.owner_file.read_text())

        assert content["type"] == "authorized_user"
        assert {"client_id", "client_secret", "refresh_token"} <= set(content)
        assert stat.S_IMODE(installation.owner_file.stat().st_mode) == 0o600

    def test_the_catalog_has_no_copy_of_the_refresh_token(self, access, installation):
        token = refresh_token(installation)
        files = list(installation.settings.data_dir.glob("tensordeck.db*"))

        assert files
        assert not any(token.encode() in file.read_bytes() for file in files)

    def test_a_second_start_keeps_it(self, access, installation, bearer):
        before = installation.owner_file.read_bytes()
        again = installation.open()

        assert installation.owner_file.read_bytes() == before
        assert again.authenticate(bearer) == access.authenticate(bearer)
        assert len(again.list_credentials()) == 1

    @pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"refresh_token": 7}'])
    def test_a_lost_file_is_made_anew_and_the_old_credential_revoked(
        self, access, installation, bearer, clock, content
    ):
        old = refresh_token(installation)
        installation.owner_file.unlink()
        if content is not None:
            installation.owner_file.write_bytes(content)

        again = installation.open()

        assert refresh_token(installation) != old
        with pytest.raises(GrantRefused):
            grant(again, old)
        with pytest.raises(Unauthenticated):
            again.authenticate(bearer)
        clock.now += REMEMBER_SECONDS
        with pytest.raises(Unauthenticated):
            access.authenticate(bearer)
        assert again.authenticate(f"Bearer {grant(again, refresh_token(installation))}")

    def test_on_a_shared_store_each_server_has_its_own(self, access, installation, tmp_path):
        shared = dataclasses.replace(
            installation.settings, data_dir=tmp_path / "second", database_url="postgresql://x"
        )
        second = Installation(installation.store, shared, installation.clock)

        other = second.open()

        assert grant(access, refresh_token(installation))
        assert access.authenticate(f"Bearer {grant(other, refresh_token(second))}")

    def test_loose_rights_are_tightened(self, access, installation):
        installation.owner_file.chmod(0o644)
        installation.open()
        assert stat.S_IMODE(installation.owner_file.stat().st_mode) == 0o600

    def test_a_place_that_can_not_be_written_is_one_clear_line(self, installation):
        (installation.settings.data_dir / "credentials").write_text("in the way")
        with pytest.raises(FailedPrecondition, match=r"owner\.json") as caught:
            installation.open()
        assert "\n" not in caught.value.message


class TestBearer:
    def test_an_access_token_names_its_caller(self, access, bearer):
        caller = access.authenticate(bearer)
        assert caller.principal == OWNER
        assert caller.credential in {one.id for one in access.list_credentials()}

    def test_it_is_good_on_every_server_of_the_store(self, installation, bearer):
        assert installation.open().authenticate(bearer).principal == OWNER

    def test_it_ends(self, access, bearer, clock):
        clock.now += 3599
        assert access.authenticate(bearer)
        clock.now += 1
        with pytest.raises(Unauthenticated, match="expired"):
            access.authenticate(bearer)

    def test_revocation_ends_it_at_once_here_and_soon_elsewhere(
        self, access, installation, bearer, clock
    ):
        elsewhere = installation.open()
        credential = elsewhere.authenticate(bearer).credential

        access.revoke(credential)

        with pytest.raises(Unauthenticated, match="revoked"):
            access.authenticate(bearer)
        clock.now += REMEMBER_SECONDS
        with pytest.raises(Unauthenticated, match="revoked"):
            elsewhere.authenticate(bearer)

    @pytest.mark.parametrize(
        "header",
        [
            None,
            "",
            "Bearer",
            "Bearer ",
            "Basic dXNlcjpwYXNz",
            "Bearer ya29.a0AfH6SMBx",
            "Bearer td-access",
            "Bearer td-access..",
            "Bearer td-access.\udcff.\udcff",
            "Bearer é",
            "Bearer a.b.c",
            "Bearer " + "x" * 100_000,
        ],
    )
    def test_what_is_no_token_of_ours_is_refused(self, access, header):
        with pytest.raises(Unauthenticated) as caught:
            access.authenticate(header)
        assert len(caught.value.message) < 500

    def test_a_missing_credential_comes_with_the_way_out(self, access):
        with pytest.raises(Unauthenticated, match="tensordeck exec"):
            access.authenticate(None)

    def test_every_altered_character_is_noticed(self, access, bearer):
        for position in range(len("Bearer "), len(bearer)):
            # The last character of a base64 field may carry unused bits.
            swapped = "A" if bearer[position] != "A" else "Q"
            altered = bearer[:position] + swapped + bearer[position + 1 :]
            with pytest.raises(Unauthenticated):
                access.authenticate(altered)

    def test_a_token_of_another_installation_is_refused(self, bearer, tmp_path, clock):
        with (
            new_installation(tmp_path / "other", clock) as other,
            pytest.raises(Unauthenticated, match="not issued by this server"),
        ):
            other.open().authenticate(bearer)

    def test_tokens_of_one_purpose_serve_no_other(self, access, bearer):
        session = access.open_session(sign_in(access))
        for token in (sign_in(access), session):
            with pytest.raises(Unauthenticated):
                access.authenticate(f"Bearer {token}")
        for token in (session, bearer.removeprefix("Bearer ")):
            with pytest.raises(Unauthenticated):
                access.open_session(token)
        for token in (sign_in(access), bearer.removeprefix("Bearer ")):
            with pytest.raises(Unauthenticated):
                access.authenticate_cookie(token)

    def test_many_tokens_do_not_fill_the_memory(self, access, installation, clock):
        credential = access.list_credentials()[0].id
        for _ in range(4200):
            clock.now += 1
            access.authenticate(f"Bearer {access.access_token(credential)}")
        assert len(access._tokens) <= 4096

    @given(st.text(max_size=200))
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_header_is_a_caller_or_unauthenticated(self, access, text):
        for header in (text, f"Bearer {text}", f"Bearer td-access.{text}"):
            with pytest.raises(Unauthenticated):
                access.authenticate(header)
            with pytest.raises(Unauthenticated):
                access.authenticate_cookie(text)


class TestTokenGrant:
    def test_the_reply_has_what_google_auth_reads(self, access, installation):
        reply = access.exchange(
            {"grant_type": "refresh_token", "refresh_token": refresh_token(installation)}
        )
        assert reply["token_type"] == "Bearer"
        assert reply["expires_in"] == 3600

    @pytest.mark.parametrize(
        ("form", "error"),
        [
            ({}, "unsupported_grant_type"),
            ({"grant_type": "password"}, "unsupported_grant_type"),
            ({"grant_type": "refresh_token"}, "invalid_request"),
            ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
            (
                {"grant_type": "refresh_token", "refresh_token": "td-refresh.server.x"},
                "invalid_grant",
            ),
            ({"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer"}, "invalid_request"),
            (
                {
                    "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
                    "assertion": "a.b.c",
                },
                "invalid_grant",
            ),
        ],
    )
    def test_a_bad_grant_has_oauth_s_own_error(self, access, form, error):
        with pytest.raises(GrantRefused) as caught:
            access.exchange(form)
        assert caught.value.error == error

    def test_a_revoked_credential_gets_no_more(self, access, installation):
        token = refresh_token(installation)
        access.revoke(access.list_credentials()[0].id)
        with pytest.raises(GrantRefused, match="revoked"):
            grant(access, token)

    @given(st.dictionaries(st.sampled_from(["refresh_token", "assertion"]), st.text(max_size=60)))
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_form_is_refused_in_order(self, access, form):
        for kind in ("refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"):
            with pytest.raises(GrantRefused):
                access.exchange({"grant_type": kind, **form})


class TestSession:
    def test_a_link_opens_a_session(self, access):
        assert access.sign_in_link("http://h:1/").startswith("http://h:1/sign-in?token=")
        cookie = access.open_session(sign_in(access))
        assert access.authenticate_cookie(cookie).principal == OWNER

    def test_link_and_session_end(self, access, clock: Clock):
        link = sign_in(access)
        cookie = access.open_session(link)
        clock.now += 12 * 3600
        with pytest.raises(Unauthenticated, match="expired"):
            access.open_session(link)
        assert access.authenticate_cookie(cookie)
        clock.now += 30 * 24 * 3600
        with pytest.raises(Unauthenticated, match="expired"):
            access.authenticate_cookie(cookie)

    def test_a_session_ends_with_its_credential(self, access):
        cookie = access.open_session(sign_in(access))
        access.revoke(access.authenticate_cookie(cookie).credential)
        with pytest.raises(Unauthenticated, match="revoked"):
            access.authenticate_cookie(cookie)

    def test_no_cookie_is_nobody(self, access):
        with pytest.raises(Unauthenticated, match="tensordeck open"):
            access.authenticate_cookie(None)

    def test_cookie_values_need_no_quoting(self, access):
        cookie = access.open_session(sign_in(access))
        assert set(cookie) <= set(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
        )


class TestProxy:
    def basic(self, password: str) -> str:
        return "Basic " + base64.b64encode(f"any:{password}".encode()).decode()

    def test_a_password_may_be_any_of_the_tokens(self, access, installation, bearer):
        token = bearer.removeprefix("Bearer ")
        for header in (
            bearer,
            self.basic(token),
            self.basic(refresh_token(installation)),
        ):
            assert access.authenticate_proxy(header).principal == OWNER

    @pytest.mark.parametrize(
        "header", [None, "", "Basic", "Basic ???", "Basic /w==", "Basic YTpi", "Digest x"]
    )
    def test_others_are_refused(self, access, header):
        with pytest.raises(Unauthenticated):
            access.authenticate_proxy(header)


class TestCheck:
    def test_every_permission_of_the_method_table_is_known(self):
        assert {method.permission for method in METHODS} <= PERMISSIONS

    def test_a_caller_may_do_everything_for_now(self, access):
        access.check(Caller(OWNER, "x"), "aiplatform.tensorboards.get", "projects/p")

    def test_an_unknown_permission_is_a_mistake_of_ours(self, access):
        with pytest.raises(ValueError, match=r"tensorboards\.fly"):
            access.check(Caller(OWNER, "x"), "aiplatform.tensorboards.fly", "projects/p")


class TestCredentials:
    def test_the_list_has_no_secrets(self, access, installation):
        access.create_service_account_key("trainer")
        listed = access.list_credentials()

        assert [one.kind for one in listed] == ["owner", "service_account_key"]
        assert [one.principal for one in listed] == [
            OWNER,
            "trainer@tensordeck.iam.gserviceaccount.com",
        ]
        assert all(one.create_time > 0 and not one.revoked for one in listed)

    def test_a_revoked_one_stays_on_the_list(self, access):
        key = access.create_service_account_key("trainer")
        access.revoke(key["private_key_id"])
        assert [one.revoked for one in access.list_credentials()] == [False, True]

    def test_revoking_what_is_not_there_is_not_found(self, access):
        with pytest.raises(NotFound):
            access.revoke("nothing")

    def test_the_signing_secret_is_no_ones_credential(self, access):
        with pytest.raises(InvalidArgument):
            access.revoke("server")

    @pytest.mark.parametrize("email", ["", "a b", "@x", "x@", "A", "-x", "a@b c", "x\n@y"])
    def test_a_bad_address_is_refused(self, access, email):
        with pytest.raises(InvalidArgument, match="email"):
            access.create_service_account_key(email)

    def test_a_bad_project_is_refused(self, access):
        with pytest.raises(InvalidArgument, match="project"):
            access.create_service_account_key("trainer", "My Project")

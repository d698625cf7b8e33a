"""Signing in, signing out, and what a stranger sees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensordeck.access import SESSION_COOKIE
from tensordeck.console.session import local_path
from tests.console.console_house import INSTANCE, House
from tests.console.page_text import text_of


@pytest.mark.parametrize(
    "path", ["/", f"/{INSTANCE}", "/compare", "/nowhere", f"/{INSTANCE}/delete"]
)
def test_a_stranger_sees_nothing_but_how_to_get_a_link(house: House, path: str):
    house.instance(display_name="Secret plans")

    page = house.stranger.get(path)

    assert page.status_code == 401
    assert "tensordeck sign-in" in page.text
    assert "Secret plans" not in page.text


def test_a_stranger_can_delete_nothing(house: House):
    house.instance()

    assert house.stranger.post(f"/{INSTANCE}/delete").status_code == 401
    assert house.owner.get(f"/{INSTANCE}").status_code == 200


def test_a_link_signs_a_browser_in_and_leaves_no_token_in_the_address(house: House):
    reply = house.stranger.get(house.access.sign_in_link(""))

    assert reply.status_code == 303
    assert reply.headers["location"] == "/"
    cookie = reply.headers["set-cookie"].lower()
    assert SESSION_COOKIE in cookie
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "secure" not in cookie
    assert house.stranger.get("/").status_code == 200


def test_over_tls_the_cookie_is_for_tls_only(house: House):
    link = house.access.sign_in_link("https://localhost")

    assert "secure" in house.stranger.get(link).headers["set-cookie"].lower()


@pytest.mark.parametrize("token", ["", "junk", "td-sign-in.e30.x", "é\x00", "x" * 5000])
def test_a_bad_link_is_told_and_signs_nobody_in(house: House, token: str):
    reply = house.stranger.get("/sign-in", params={"token": token})

    assert reply.status_code == 401
    assert "set-cookie" not in reply.headers
    assert "tensordeck sign-in" in reply.text


def test_a_link_leads_on_to_the_page_that_was_asked_for(house: House):
    link = f"{house.access.sign_in_link('')}&next=/experiment/projects%2Bp/%3Fa%3Db"

    assert house.stranger.get(link).headers["location"] == "/experiment/projects+p/?a=b"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/\t/evil",
        "x",
    ],
)
def test_a_link_never_leads_to_another_server(target: str):
    assert local_path(target) == "/"


@given(st.text(alphabet=st.sampled_from("/\\:.@ae?#\t\n "), max_size=12))
def test_where_a_link_leads_is_a_path_of_ours(target: str):
    path = local_path(target)

    assert path[0] == "/"
    assert path[1:2] not in {"/", "\\"}
    assert "\\" not in path


def test_a_bearer_may_look_too(house: House):
    owner = next(info.id for info in house.access.list_credentials())
    headers = {"authorization": f"Bearer {house.access.access_token(owner)}"}

    assert house.stranger.get("/", headers=headers).status_code == 200


def test_signing_out_needs_our_own_form_and_ends_the_session(house: House):
    page = house.owner.get("/").text
    assert house.owner.post("/sign-out").status_code == 403
    assert house.owner.get("/").status_code == 200

    token = page.split('name="csrf_token" value="')[1].split('"')[0]
    reply = house.owner.post("/sign-out", data={"csrf_token": token})

    assert "You are signed out." in text_of(reply.text)
    assert house.owner.get("/").status_code == 401


def test_a_revoked_credential_ends_its_sessions(house: House):
    assert house.owner.get("/").status_code == 200

    house.access.revoke(next(info.id for info in house.access.list_credentials()))

    assert house.owner.get("/").status_code == 401

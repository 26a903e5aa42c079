"""People: passwords, sessions that end, doors that close, tokens that are taken back."""

from __future__ import annotations

import pytest
from tests.hubs import TestHub

from sprat.errors import WrongUse
from sprat.hub.errors import NotLoggedIn, TooManyTries
from sprat.hub.fleet.logins import IDLE_US, TRIES
from sprat.hub.store.rows import Role

ADDRESS = "192.0.2.1"


def test_the_first_login_works_and_each_session_is_new(hub: TestHub) -> None:
    people = hub.services.people
    first, person = people.log_in("admin", hub.password, ADDRESS)
    second, other = people.log_in("admin", hub.password, ADDRESS)
    assert first != second
    assert person.csrf != other.csrf
    assert people.by_cookie(first) == person
    assert person.role is Role.ADMIN


@pytest.mark.parametrize(("name", "password"), [("admin", "wrong"), ("nobody", "wrong"), ("", "")])
def test_a_wrong_login_says_the_same_whatever_is_wrong(hub: TestHub, name: str, password: str) -> None:
    with pytest.raises(NotLoggedIn, match="login: name or password is wrong"):
        hub.services.people.log_in(name, password, ADDRESS)


def test_too_many_wrong_passwords_close_that_door_for_a_while(hub: TestHub) -> None:
    people = hub.services.people
    for _ in range(TRIES):
        with pytest.raises(NotLoggedIn):
            people.log_in("admin", "wrong", ADDRESS)
    with pytest.raises(TooManyTries, match="try again in"):
        people.log_in("admin", hub.password, ADDRESS)
    people.log_in("admin", hub.password, "192.0.2.2")
    hub.clock.advance(301)
    people.log_in("admin", hub.password, ADDRESS)


def test_an_idle_session_ends_and_a_used_one_goes_on(hub: TestHub) -> None:
    people = hub.services.people
    cookie, person = people.log_in("admin", hub.password, ADDRESS)
    for _ in range(3):
        hub.clock.advance(IDLE_US / 1e6 - 1)
        assert people.by_cookie(cookie) == person
    hub.clock.advance(IDLE_US / 1e6 + 1)
    assert people.by_cookie(cookie) is None


def test_logging_out_and_a_new_password_end_sessions(hub: TestHub) -> None:
    people = hub.services.people
    one, _ = people.log_in("admin", hub.password, ADDRESS)
    two, _ = people.log_in("admin", hub.password, ADDRESS)
    people.log_out(one)
    assert people.by_cookie(one) is None
    assert people.by_cookie(two) is not None
    people.set_login("admin", "another password", Role.VIEWER, "ann")
    assert people.by_cookie(two) is None


def test_secrets_stand_nowhere_in_the_store(hub: TestHub) -> None:
    cookie, _ = hub.services.people.log_in("admin", hub.password, ADDRESS)
    raw = b"".join(path.read_bytes() for path in hub.services.folder.root.glob("fleet.db*"))
    for secret in (cookie, hub.password, hub.admin_token):
        assert secret.encode() not in raw
    assert b"$argon2id$" in raw


def test_a_token_works_until_it_is_taken_back(hub: TestHub) -> None:
    token = hub.token(Role.OPERATOR)
    person = hub.services.people.by_token(token)
    assert person is not None
    assert (person.role, person.csrf) == (Role.OPERATOR, "")
    hub.services.store.api_tokens.revoke("operator", hub.clock())
    assert hub.services.people.by_token(token) is None


@pytest.mark.parametrize(("name", "password"), [("", "long enough pw"), ("a\nb", "long enough pw"), ("ann", "short")])
def test_bad_names_and_short_passwords_are_refused(hub: TestHub, name: str, password: str) -> None:
    with pytest.raises(WrongUse, match="expected"):
        hub.services.people.set_login(name, password, Role.VIEWER, "admin")


def test_roles_cover_those_below() -> None:
    assert Role.ADMIN.covers(Role.OPERATOR)
    assert Role.OPERATOR.covers(Role.OPERATOR)
    assert not Role.VIEWER.covers(Role.OPERATOR)

"""Rate limits: by address for strangers, by account for those signed in, and for log-ins."""

import re
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import pytest
from flask import Flask
from served import ROOT

from library.api.plumbing.limits import address_of
from library.rules import users
from library.rules.errors import Crowded

# What clients send to be taken for somebody else; the last is of the network that has no limits.
SPOOFED = ("", "10.1.1.{}", "203.0.113.7, 10.1.1.{}", "unknown", '"10.1.1.{}"', "x" * 4000, "127.0.0.1", "192.0.2.{}")
OTHER_NAMES = (
    "Forwarded",
    "X-Real-IP",
    "X-Client-IP",
    "Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Cluster-Client-IP",
    "X-Originating-IP",
    "X-Forwarded",
    "Forwarded-For",
    "Via",
)
VICTIM, ATTACKER = "198.51.100.7", "203.0.113.9"


@pytest.fixture
def limited(migrated):
    """An application with limits on, small enough to reach."""

    def make_app(**settings):
        return migrated(LIMITS_ENABLED=True, **settings)

    return make_app


def register(client, name: str):
    body = {"username": name, "email": f"{name}@example.com", "password": "password123"}
    return client.post("/users/register", json=body)


def log_in(client, name: str, password: str, address: str = "10.0.0.1"):
    return client.post(
        "/users/login", json={"email": name, "password": password}, environ_overrides={"REMOTE_ADDR": address}
    )


def test_strangers_have_200_calls_a_day(limited):
    client = limited().test_client()
    answers = [client.get("/library") for _ in range(201)]
    assert {answer.status_code for answer in answers[:200]} == {200}
    assert answers[0].headers["X-RateLimit-Remaining"] == "199"
    assert answers[0].headers["RateLimit-Policy"] == '"default";q=200;w=86400'
    over = answers[200]
    assert (over.status_code, over.json["code"]) == (429, "too_many_requests")
    assert 0 < int(over.headers["Retry-After"]) <= 86400
    elsewhere = client.get("/library", environ_overrides={"REMOTE_ADDR": "10.9.9.9"})
    assert elsewhere.status_code == 200
    assert client.get("/health/live").status_code == 200


def test_signed_in_users_count_by_account(limited):
    app = limited(LIMIT_PATRON="3 per hour", LIMIT_ANONYMOUS="9 per day")
    client = app.test_client()
    tokens = []
    for name in ("one", "two"):
        assert register(client, name).status_code == 201
        tokens.append(log_in(client, name, "password123").json["access_token"])
    headers = [{"Authorization": f"Bearer {token}"} for token in tokens]
    assert [client.get("/users/me", headers=headers[0]).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert client.get("/users/me", headers=headers[1]).status_code == 200


def test_five_failures_for_an_account_from_an_address_and_no_lock_out(limited):
    client = limited().test_client()
    register(client, "jdoe")
    failures = [log_in(client, "jdoe", "wrong").status_code for _ in range(6)]
    assert failures == [401] * 5 + [429]
    assert log_in(client, "jdoe", "password123").status_code == 429
    # The owner, elsewhere, is not locked out; nor is another account from the attacker's address.
    assert log_in(client, "jdoe", "password123", "10.0.0.2").status_code == 200
    assert log_in(client, "other", "wrong").status_code == 401


def test_a_success_clears_the_pair(limited):
    client = limited().test_client()
    register(client, "jdoe")
    for _ in range(3):
        assert [log_in(client, "jdoe", "wrong").status_code for _ in range(4)] == [401] * 4
        assert log_in(client, "jdoe", "password123").status_code == 200


def test_an_address_has_fifty_log_ins(limited):
    client = limited(LIMIT_LOGIN_ADDRESS="8 per 10 minutes").test_client()
    codes = [log_in(client, f"name{number}", "wrong").status_code for number in range(9)]
    assert codes == [401] * 8 + [429]


def test_a_trusted_network_is_not_limited(limited):
    client = limited(LIMIT_ANONYMOUS="1 per day", TRUSTED_NETWORKS="127.0.0.0/8").test_client()
    assert [client.get("/library").status_code for _ in range(3)] == [200] * 3


class Behind:
    """Clients of an application that stands behind some proxies, each of which adds who it was called by."""

    def __init__(self, app: Flask, proxies: int) -> None:
        self.client = app.test_client()
        self.proxies = [f"10.9.9.{number}" for number in range(1, proxies + 1)]

    def call(self, address: str, sent: str = "", method: str = "GET", path: str = "/library", **options) -> int:
        """The status of a call from an address that says of itself what was `sent`, under every name there is."""
        headers = {name: f"for={sent}" if name == "Forwarded" else sent for name in OTHER_NAMES if sent}
        chain = [sent] * bool(sent)
        peer = address
        for proxy in self.proxies:
            chain, peer = [*chain, peer], proxy
        if chain:
            headers["X-Forwarded-For"] = ", ".join(chain)
        options |= {"headers": headers, "environ_overrides": {"REMOTE_ADDR": peer}}
        return self.client.open(path, method=method, **options).status_code

    def log_in(self, address: str, password: str, sent: str = "", name: str = "jdoe") -> int:
        """The status of a log-in."""
        body = {"email": name, "password": password}
        return self.call(address, sent, "POST", "/users/login", json=body)


@pytest.mark.parametrize("proxies", [0, 1, 2])
def test_nobody_pretends_an_address_behind_any_number_of_proxies(limited, proxies):
    app = limited(LIMIT_ANONYMOUS="12 per day", TRUSTED_PROXIES=proxies, TRUSTED_NETWORKS="192.0.2.0/24")
    behind = Behind(app, proxies)
    answers = [behind.call(ATTACKER, said.format(number)) for number, said in enumerate(SPOOFED * 2)]
    assert answers == [200] * 12 + [429] * 4
    # Those behind the same proxies are counted for themselves, whatever the attacker called themselves.
    for address in (VICTIM, "10.1.1.1", "203.0.113.7"):
        assert behind.call(address) == 200
    assert [behind.call("192.0.2.1") for _ in range(13)] == [200] * 13


@pytest.mark.parametrize("proxies", [0, 1, 2])
def test_nobody_locks_a_victim_out(limited, proxies):
    behind = Behind(limited(TRUSTED_PROXIES=proxies, LIMIT_LOGIN_ADDRESS="8 per 10 minutes"), proxies)
    register(behind.client, "jdoe")
    # In the name of the victim's address, then from many addresses, then until the attacker's own is used up.
    assert [behind.log_in(ATTACKER, "wrong", VICTIM) for _ in range(6)] == [401] * 5 + [429]
    assert [behind.log_in(f"203.0.113.{number}", "wrong") for number in range(100, 140)] == [401] * 40
    assert [behind.log_in(ATTACKER, "wrong", VICTIM, f"name {number}") for number in range(3)] == [401, 401, 429]
    assert behind.log_in(VICTIM, "password123") == 200
    assert behind.log_in(VICTIM, "password123", ATTACKER) == 200


def test_fewer_proxies_than_trusted_make_one_of_all_who_come_that_way(limited):
    behind = Behind(limited(LIMIT_ANONYMOUS="2 per day", TRUSTED_PROXIES=2), 1)
    assert [behind.call(f"203.0.113.{number}") for number in range(3)] == [200, 200, 429]


@pytest.mark.parametrize(
    ("told", "address"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("203.0.113.9:50123", "203.0.113.9"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:50123", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("", "None"),
        (None, "None"),
        ("unknown", "None"),
        ("_hidden:80", "None"),
        (":80", "None"),
        ("203.0.113.999", "None"),
        ("1.2.3.4:", "None"),
    ],
)
def test_an_address_is_read_however_it_is_told(told, address):
    assert str(address_of(told)) == address


@pytest.mark.parametrize(
    "form", ["203.0.113.9:{}", "2001:db8:1:2::{}", "[2001:db8:1:2:{}::1]:80", "::ffff:203.0.113.9%{}", "nonsense{}"]
)
def test_who_has_many_ways_to_be_called_is_one(limited, form):
    client = limited(LIMIT_ANONYMOUS="3 per day", TRUSTED_PROXIES=1).test_client()
    told = [{"X-Forwarded-For": form.format(number)} for number in range(1, 5)]
    assert [client.get("/library", headers=one).status_code for one in told] == [200, 200, 200, 429]


def test_neighbours_of_version_6_count_for_themselves(limited):
    client = limited(LIMIT_ANONYMOUS="1 per day", TRUSTED_PROXIES=1).test_client()
    told = [{"X-Forwarded-For": f"2001:db8:1:{number}::1"} for number in range(3)]
    assert [client.get("/library", headers=one).status_code for one in told] == [200, 200, 200]


def test_looking_around_uses_up_neither_log_ins_nor_registrations_nor_refreshes(limited):
    client = limited(LIMIT_ANONYMOUS="1 per day").test_client()
    assert [client.get("/library").status_code for _ in range(2)] == [200, 429]
    assert register(client, "jdoe").status_code == 201
    pair = log_in(client, "jdoe", "password123", "127.0.0.1").json
    assert client.post("/users/refresh", json={"refresh_token": pair["refresh_token"]}).status_code == 200


@pytest.mark.parametrize(
    ("setting", "path", "body"),
    [
        ("LIMIT_REGISTRATION", "/users/register", {}),
        ("LIMIT_REFRESH", "/users/refresh", {"refresh_token": "x"}),
        ("LIMIT_LOGIN_ADDRESS", "/users/login", {}),
    ],
)
def test_calls_of_strangers_count_before_their_bodies_are_read(limited, setting, path, body):
    client = limited(**{setting: "2 per hour"}).test_client()
    answers = [client.post(path, json=body) for _ in range(3)]
    assert [answer.status_code == 429 for answer in answers] == [False, False, True]
    assert 0 < int(answers[2].headers["Retry-After"]) <= 3600


def test_a_token_that_was_ended_uses_up_nothing_of_its_owners(limited):
    app = limited(LIMIT_PATRON="5 per hour", LIMIT_ANONYMOUS="4 per day")
    client = app.test_client()
    register(client, "jdoe")
    stolen, own = (log_in(client, "jdoe", "password123").json["access_token"] for _ in range(2))

    def me(token: str, address: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return client.get("/users/me", headers=headers, environ_overrides={"REMOTE_ADDR": address}).status_code

    assert me(stolen, ATTACKER) == 200
    assert client.post("/users/logout", headers={"Authorization": f"Bearer {stolen}"}).status_code == 204
    assert [me(stolen, ATTACKER) for _ in range(10)] == [401] * 4 + [429] * 6
    assert [me(own, VICTIM) for _ in range(4)] == [200] * 3 + [429]


def test_more_passwords_than_there_are_places_are_turned_away(limited):
    places = users.HASHES_AT_ONCE + users.HASHES_WAITING
    with ThreadPoolExecutor(places + 1) as threads, users._hashing, users._hashing:
        hashes = [threads.submit(users.hash_password, "password123") for _ in range(places + 1)]
        done, waiting = wait(hashes, timeout=60, return_when=FIRST_COMPLETED)
        assert [type(one.exception()) for one in done] == [Crowded]
        client = limited().test_client()
        # It was no try: what the limits allow is there afterwards.
        for answer in (*(log_in(client, "jdoe", "wrong") for _ in range(60)), register(client, "jdoe")):
            told = answer.status_code, answer.json["code"], answer.headers["Retry-After"]
            assert told == (429, "too_many_requests", "1")
        # Who reads is served.
        assert client.get("/library").status_code == 200
    assert all(one.result().startswith("$argon2id$") for one in waiting)
    assert [log_in(client, "jdoe", "wrong").status_code for _ in range(6)] == [401] * 5 + [429]


def test_some_threads_of_a_worker_are_never_busy_with_passwords():
    places = {"README.md": r"--blocking-threads (\d+)", "library/cli/quickstart.py": r"^THREADS = (\d+)"}
    for path, pattern in places.items():
        (threads,) = map(int, re.findall(pattern, (ROOT / path).read_text(), re.MULTILINE))
        assert threads >= users.HASHES_AT_ONCE + users.HASHES_WAITING + 3


def test_a_bad_token_counts_as_a_strangers(limited):
    client = limited(LIMIT_ANONYMOUS="2 per day").test_client()
    codes = [client.get("/users/me", headers={"Authorization": "Bearer x"}).status_code for _ in range(3)]
    assert codes == [401, 401, 429]


def test_an_address_that_is_none_is_not_trusted(limited):
    client = limited(TRUSTED_PROXIES=1, TRUSTED_NETWORKS="10.0.0.0/8").test_client()
    for address in ("foo", "1.2.3.4:55", "[::1]:4"):
        assert client.get("/library", headers={"X-Forwarded-For": address}).status_code == 200


def test_guessing_the_old_password_is_limited_too(limited):
    client = limited().test_client()
    register(client, "jdoe")
    token = log_in(client, "jdoe", "password123").json["access_token"]
    body = {"old_password": "wrong", "new_password": "password456"}
    headers = {"Authorization": f"Bearer {token}"}
    codes = [client.post("/users/me/password", json=body, headers=headers).status_code for _ in range(6)]
    assert codes == [422] * 5 + [429]


PROOFS = {
    "/users/me/password": ("old_password", {"new_password": "password456"}),
    "/api-keys": ("password", {"name": "x", "scopes": ["loans.read"]}),
    "/users/{}/erase": ("password", {}),
}


def prover(client, path: str):
    """Call it with a password and an address for the status of a call in one session of jdoe that asks for it."""
    pair = log_in(client, "jdoe", "password123").json
    member, body = PROOFS[path]

    def prove(password: str, address: str) -> int:
        headers, here = {"Authorization": f"Bearer {pair['access_token']}"}, {"REMOTE_ADDR": address}
        sent = {"json": body | {member: password}, "headers": headers, "environ_overrides": here}
        return client.post(path.format(pair["user"]["id"]), **sent).status_code

    return prove


@pytest.mark.parametrize("path", PROOFS)
def test_a_stolen_token_guesses_from_many_addresses_no_more_than_from_one(limited, path):
    client = limited().test_client()
    register(client, "jdoe")
    stolen, own = prover(client, path), prover(client, path)
    assert [stolen("wrong", f"10.0.1.{number}") for number in range(7)] == [422] * 5 + [429] * 2
    # Who is signed in elsewhere, and whoever logs in, is not locked out.
    assert log_in(client, "jdoe", "password123", "10.0.1.1").status_code == 200
    assert own("password123", "10.0.1.2") in (200, 201, 204)


def test_the_right_password_clears_the_session(limited):
    client = limited().test_client()
    register(client, "jdoe")
    prove = prover(client, "/api-keys")
    for first in (0, 4):
        assert [prove("wrong", f"10.0.1.{first + number}") for number in range(4)] == [422] * 4
        assert prove("password123", "10.0.2.1") == 201

"""Rate limits: by address for strangers, by account for those signed in, and for log-ins."""

import pytest


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


def test_forwarded_addresses_count_only_behind_trusted_proxies(limited):
    def spoof(client, number):
        return client.get("/library", headers={"X-Forwarded-For": f"10.1.1.{number}"}).status_code

    bare = limited(LIMIT_ANONYMOUS="1 per day").test_client()
    assert [spoof(bare, number) for number in range(2)] == [200, 429]
    behind = limited(LIMIT_ANONYMOUS="1 per day", TRUSTED_PROXIES=1).test_client()
    assert [spoof(behind, number) for number in range(2)] == [200, 200]


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

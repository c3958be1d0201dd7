"""Hostile tokens: whatever is wrong with one, the answer is the same 401; and keys are changed without a log-in."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from documented import DocumentedClient
from factories import Factories

from library.api.plumbing import tokens
from library.config import secret_keys
from library.database import make_session
from library.extensions import db
from library.models import UserSession

OTHER_KEY = "another key of another library, as long as it should be"
YEAR = 365 * 24 * 3600
HEADER = {"alg": "HS256", "typ": "JWT"}
JWK = {"kty": "oct", "k": base64.urlsafe_b64encode(OTHER_KEY.encode()).decode()}

Claims = dict[str, Any]


def part(value: Any) -> str:
    if not isinstance(value, bytes):
        value = (value if isinstance(value, str) else json.dumps(value)).encode()
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def signed(payload: Any, key: str, header: Any = HEADER, digest: str = "sha256") -> str:
    """A token as no library would make it: header and payload are JSON or raw text, signed all the same."""
    said = f"{part(header)}.{part(payload)}"
    return f"{said}.{part(hmac.digest(key.encode(), said.encode(), digest))}"


def without(claims: Claims, name: str) -> Claims:
    return {key: value for key, value in claims.items() if key != name}


def twice(claims: Claims, name: str, value: Any) -> str:
    return json.dumps(claims)[:-1] + f", {json.dumps(name)}: {json.dumps(value)}}}"


def deep(claims: Claims) -> str:
    return json.dumps(claims)[:-1] + ', "x": ' + "[" * 900 + "]" * 900 + "}"


def last_bits_turned(token: str) -> str:
    """The same bytes, spelled otherwise: two bits of the last letter say nothing."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + letters[letters.index(token[-1]) ^ 1]


# Name → what makes the token out of good claims and the library's key.
FORGED: dict[str, Callable[[Claims, str], str]] = {
    "alg none": lambda claims, key: jwt.encode(claims, None, algorithm="none"),
    "alg none, as written": lambda claims, key: f"{part({'alg': 'none', 'typ': 'JWT'})}.{part(claims)}.",
    "alg nOnE": lambda claims, key: signed(claims, key, {"alg": "nOnE", "typ": "JWT"}),
    "no alg": lambda claims, key: signed(claims, key, {"typ": "JWT"}),
    "alg is a list": lambda claims, key: signed(claims, key, {"alg": ["HS256"], "typ": "JWT"}),
    "HS512": lambda claims, key: signed(claims, key, {"alg": "HS512", "typ": "JWT"}, "sha512"),
    "HS384 signature under HS256": lambda claims, key: signed(claims, key, digest="sha384"),
    "HS512 said, HS256 signed": lambda claims, key: signed(claims, key, {"alg": "HS512", "typ": "JWT"}),
    "RS256 said, with our key as public": lambda claims, key: signed(claims, key, {"alg": "RS256", "typ": "JWT"}),
    "ES256 said": lambda claims, key: signed(claims, key, {"alg": "ES256", "typ": "JWT"}),
    "another key": lambda claims, key: signed(claims, OTHER_KEY),
    "an empty key": lambda claims, key: signed(claims, ""),
    "the key's hash": lambda claims, key: signed(claims, hashlib.sha256(key.encode()).hexdigest()),
    "kid of a file": lambda claims, key: signed(claims, "", HEADER | {"kid": "../../dev/null"}),
    "kid, well signed": lambda claims, key: signed(claims, key, HEADER | {"kid": "x' OR 1=1 --"}),
    "jwk of one's own": lambda claims, key: signed(claims, OTHER_KEY, HEADER | {"jwk": JWK}),
    "jku of one's own": lambda claims, key: signed(claims, OTHER_KEY, HEADER | {"jku": "https://evil.example.org/k"}),
    "x5u of one's own": lambda claims, key: signed(claims, OTHER_KEY, HEADER | {"x5u": "https://evil.example.org/k"}),
    "crit": lambda claims, key: signed(claims, key, HEADER | {"crit": ["exp"]}),
    "b64 false": lambda claims, key: signed(claims, key, HEADER | {"b64": False, "crit": ["b64"]}),
    "zip": lambda claims, key: signed(claims, key, HEADER | {"zip": "DEF"}),
    "typ of another kind": lambda claims, key: signed(claims, key, {"alg": "HS256", "typ": "at+jwt"}),
    "alg twice": lambda claims, key: signed(claims, key, '{"alg": "none", "typ": "JWT", "alg": "HS256"}'),
    "header is a list": lambda claims, key: signed(claims, key, [HEADER]),
    "header is no JSON": lambda claims, key: signed(claims, key, "{alg: HS256}"),
    "header is deep": lambda claims, key: signed(claims, key, "[" * 100_000),
    "header is deep, and no longer than a token": lambda claims, key: f"{part('[' * 1400)}.e30.{'A' * 43}",
    "payload is a list": lambda claims, key: signed([claims], key),
    "payload is a text": lambda claims, key: signed('"sub"', key),
    "payload is no JSON": lambda claims, key: signed("sub=1", key),
    "payload is no UTF-8": lambda claims, key: signed(b'{"sub": "\xff"}', key),
    "payload is deep": lambda claims, key: signed(deep(claims), key),
    "payload is huge": lambda claims, key: signed(claims | {"x": "y" * 100_000}, key),
    "sub twice": lambda claims, key: signed(twice(claims, "sub", claims["sub"]), key),
    "another claim twice": lambda claims, key: signed(twice(claims | {"x": 1}, "x", 2), key),
    "exp is infinite": lambda claims, key: signed(json.dumps(claims | {"exp": float("inf")}), key),
    "exp is no number": lambda claims, key: signed(json.dumps(claims | {"exp": float("nan")}), key),
    "signature cut": lambda claims, key: signed(claims, key)[:-1],
    "signature spelled otherwise": lambda claims, key: last_bits_turned(signed(claims, key)),
    "signature padded": lambda claims, key: signed(claims, key) + "=",
    "four parts": lambda claims, key: signed(claims, key) + ".x",
    "two parts": lambda claims, key: signed(claims, key).rpartition(".")[0],
    "payload exchanged": lambda claims, key: ".".join(
        [*signed(claims, key).split(".")[:1], part(claims | {"role": "admin"}), signed(claims, key).split(".")[2]]
    ),
    "a blank within": lambda claims, key: signed(claims, key).replace(".", ". ", 1),
    "two tokens": lambda claims, key: f"{signed(claims, key)}, {signed(claims, key)}",
}
# Claims that are well signed, and not good all the same.
MISTAKEN: list[tuple[str, Any]] = [
    ("sub", 1),
    ("sub", 1.0),
    ("sub", None),
    ("sub", ""),
    ("sub", "0"),
    ("sub", "-1"),
    ("sub", "+1"),
    ("sub", "01"),
    ("sub", " 1"),
    ("sub", "1.0"),
    ("sub", "1_0"),
    ("sub", "0x1"),
    ("sub", "\u0661"),
    ("sub", "\uff11"),
    ("sub", "1\x00"),
    ("sub", "9" * 10),
    ("sub", "9" * 500),
    ("sub", ["1"]),
    ("role", "king"),
    ("role", 1),
    ("iat", "1"),
    ("iat", True),
    ("iat", 1.5),
    ("iat", int(time.time()) + 3600),
    ("iat", 10**300),
    ("exp", 1),
    ("exp", -1),
    ("exp", "4102444800"),
    ("exp", 4102444800.5),
    ("exp", None),
    ("nbf", int(time.time()) + 3600),
    ("nbf", "soon"),
    ("jti", ""),
    ("jti", 7),
    ("jti", "a\x00b"),
    ("jti", "x" * 65),
    ("aud", "other"),
    ("aud", ["library"]),
    ("iss", "library "),
    ("typ", "refresh"),
    ("typ", "Access"),
    ("sid", 0),
    ("sid", -1),
    ("sid", 2**31),
    ("sid", "1"),
    ("sid", True),
    ("sid", 1.0),
    ("ver", 0),
    ("ver", 2),
    ("ver", 10**30),
    ("ver", None),
]
SCHEMES = ["", "Bearer", "Bearer ", "Basic YTpi", "Token x", "Bearerx", "bearer", "é", "Bearer é", "Bearer \x00"]


@pytest.fixture
def claims(make) -> Claims:
    user = make.user()
    opened = make.session_of(user)
    names = {"role": "patron", "aud": "library", "iss": "library", "typ": "access", "jti": "x"}
    return names | {"sub": str(user.id), "iat": 1, "exp": 4102444800, "sid": opened.id, "ver": 1}


@pytest.fixture
def asked(app, client) -> Callable[[str], Any]:
    """Call it with an `Authorization` for the answer to somebody who comes with it."""
    return lambda header: client.get("/users/me", headers={"Authorization": header})


def assert_dead(answer: Any, what: object) -> None:
    assert answer.status_code == 401, what
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="library", error="invalid_token"'
    assert answer.json["detail"] == "The token is not valid, or not any more: log in again."


def test_the_token_of_these_tests_would_be_good(app, asked, claims):
    key = app.config["SECRET_KEY"]
    assert asked(f"Bearer {signed(claims, key)}").status_code == 200
    assert asked(f"bearer   {signed(claims | {'more': [1]}, key)}").status_code == 200


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_token_is_dead(app, asked, client, claims, name):
    token = FORGED[name](claims, app.config["SECRET_KEY"])
    assert_dead(asked(f"Bearer {token}"), name)
    as_refresh = FORGED[name](claims | {"typ": "refresh"}, app.config["SECRET_KEY"])
    answer = client.post("/users/refresh", json={"refresh_token": as_refresh})
    # What is longer than any token is a fault of the body.
    assert answer.status_code == (422 if len(as_refresh) > 2000 else 401), name


def test_a_mistaken_claim_is_dead(app, asked, client, claims):
    key = app.config["SECRET_KEY"]
    for name, value in MISTAKEN:
        assert_dead(asked(f"Bearer {signed(claims | {name: value}, key)}"), (name, value))
        if name != "typ":
            refresh = signed(claims | {"typ": "refresh", name: value}, key)
            assert client.post("/users/refresh", json={"refresh_token": refresh}).status_code == 401, (name, value)
    for name in claims:
        assert_dead(asked(f"Bearer {signed(without(claims, name), key)}"), name)


def test_a_token_of_one_kind_is_none_of_the_other(app, asked, client, claims, session):
    key = app.config["SECRET_KEY"]
    opened = session.get(UserSession, claims["sid"])
    refresh = signed(claims | {"typ": "refresh", "jti": opened.refresh_jti}, key)
    assert_dead(asked(f"Bearer {refresh}"), "refresh")
    access = signed(claims | {"jti": opened.refresh_jti}, key)
    assert client.post("/users/refresh", json={"refresh_token": access}).status_code == 401
    assert client.post("/users/refresh", json={"refresh_token": refresh}).status_code == 200


@pytest.mark.parametrize("header", SCHEMES[1:])
def test_other_credentials_are_dead(asked, header):
    assert_dead(asked(header), header)


def test_without_credentials_one_is_asked_for_them(client, asked):
    for answer in (client.get("/users/me"), asked("")):
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="library"')


def test_the_clocks_of_two_servers_may_differ_a_little(app, asked, claims):
    soon = int(time.time()) + tokens.SKEW - 5
    assert asked(f"Bearer {signed(claims | {'iat': soon, 'nbf': soon}, app.config['SECRET_KEY'])}").status_code == 200


@pytest.fixture
def keyed(migrated):
    """Call it with keys, the newest first, for the application of one library under them."""
    first = migrated(SECRET_KEY="the first key of a library, long enough for it")

    def make_app(*keys: str) -> Any:
        first.config["SECRET_KEY"], first.config["SECRET_KEY_PREVIOUS"] = (*keys, "")[:2]
        first.config["JWT_SECRET_KEY"] = keys[0]
        return first

    return make_app


FIRST, SECOND, THIRD = (f"the {name} key of a library, long enough for it" for name in ("first", "second", "third"))


def test_what_was_signed_with_the_key_before_holds_until_that_is_taken_away(keyed):
    app = keyed(FIRST)
    with app.app_context():
        make = Factories(make_session(db.engine))
    user = make.user(username="jdoe", password="password123")
    client: DocumentedClient = app.test_client()
    old = client.post("/users/login", json={"username": "jdoe", "password": "password123"}).json
    keyed(SECOND, FIRST)
    assert secret_keys(app.config) == (SECOND, FIRST)
    client.token = old["access_token"]
    assert client.get("/users/me").json["id"] == user.id
    new = client.post("/users/refresh", json={"refresh_token": old["refresh_token"]}).json
    for token in new["access_token"], new["refresh_token"]:
        jwt.decode(token, SECOND, algorithms=["HS256"], audience="library")
    keyed(SECOND)
    assert client.get("/users/me").status_code == 401
    client.token = new["access_token"]
    assert client.get("/users/me").status_code == 200
    keyed(THIRD, SECOND)
    assert client.get("/users/me").status_code == 200
    keyed(FIRST, THIRD)
    assert client.get("/users/me").status_code == 401
    make.session.close()


def test_walks_and_repeated_calls_go_on_while_keys_are_changed(keyed):
    app = keyed(FIRST)
    with app.app_context():
        make = Factories(make_session(db.engine))
    librarian = make.librarian()
    client: DocumentedClient = app.test_client()
    client.sign_in(librarian, make.session_of(librarian))
    call = {"json": {"name": "Melville, Herman", "dates": ""}, "headers": {"Idempotency-Key": "once"}}
    made = client.post("/authors", **call)
    assert made.status_code == 201
    make.author(), make.author()
    cursor = client.get("/authors?cursor=start&page_size=1").headers["X-Next-Cursor"]
    keyed(SECOND, FIRST)
    again = client.post("/authors", **call)
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert again.data == made.data
    walk = client.get(f"/authors?cursor={cursor}&page_size=1")
    assert walk.status_code == 200
    keyed(SECOND)
    client.sign_in(librarian, make.session_of(librarian))
    # Those that were written under the new key hold; of the old one nothing does.
    onward = walk.headers["X-Next-Cursor"]
    assert client.get(f"/authors?cursor={onward}&page_size=1").status_code == 200
    # Not the page that is kept from before.
    assert client.get(f"/authors?cursor={cursor}&page_size=2").json["errors"][0]["code"] == "cursor_not_valid"
    assert client.post("/authors", **call).json["code"] == "idempotency_key_reused"
    make.session.close()


def test_a_confirmation_holds_while_keys_are_changed(keyed):
    app = keyed(FIRST)
    with app.app_context():
        make = Factories(make_session(db.engine))
    librarian = make.librarian()
    client: DocumentedClient = app.test_client()
    client.sign_in(librarian, make.session_of(librarian))
    copy, patron = make.copy(), make.user()
    make.hold(copy.book, make.user())
    body = {"copy_barcode": copy.barcode, "patron_barcode": patron.card_barcode}
    asks = client.post("/loans", json=body)
    assert asks.status_code == 409
    token = asks.json.get("confirm_token")
    assert token, asks.json
    keyed(SECOND, FIRST)
    assert client.post("/loans/preview", json=body | {"confirm_token": token}).status_code == 200
    keyed(SECOND)
    client.sign_in(librarian, make.session_of(librarian))
    assert client.post("/loans", json=body | {"confirm_token": token}).status_code == 409
    make.session.close()

"""Rate limits: one hit a request, by address for strangers, by account for those signed in."""

import hashlib
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, NamedTuple

from flask import Flask, Response, current_app, g, request
from limits import RateLimitItem, parse
from limits.strategies import FixedWindowRateLimiter, RateLimiter

from library.api.plumbing.errors import Problem
from library.api.plumbing.tokens import Claims
from library.config import networks
from library.extensions import Storage, limiter
from library.models import Role
from library.rules.api_keys import Holder
from library.rules.errors import Crowded
from library.rules.users import refuse_crowd
from library.windows import Windows

# As some proxies hand an address on, with the port of the connection.
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::\d+)?|([^:]*):\d+")
# The least that a subscriber of version 6 is given, and may choose addresses in.
SUBSCRIBER = 64
# Where the fast path hands on what it has counted for a call that it does not answer.
COUNTED = "library.counted"


@lru_cache(maxsize=64)
def _item(text: str) -> RateLimitItem:
    return parse(text)


class Left(NamedTuple):
    """What a call has left of its share: the share, the calls left of it, seconds until it is full, and whether the
    call itself was within it."""

    item: RateLimitItem
    remaining: int
    seconds: int
    within: bool

    def headers(self) -> list[tuple[str, str]]:
        """How a client is told."""
        return [
            ("RateLimit-Policy", f'"default";q={self.item.amount};w={self.item.get_expiry()}'),
            ("RateLimit", f'"default";r={self.remaining};t={self.seconds}'),
            ("X-RateLimit-Limit", str(self.item.amount)),
            ("X-RateLimit-Remaining", str(self.remaining)),
            ("X-RateLimit-Reset", str(int(time.time()) + self.seconds)),
        ]


class Counters:
    """An application's counters: `shared` by all workers, and in this process `spare` ones while those are away."""

    def __init__(self, settings: Mapping[str, Any], shared: RateLimiter, asked: Storage) -> None:
        self._settings, self._storage = settings, asked
        self.shared, self.spare = shared, FixedWindowRateLimiter(Windows())
        self._secret = hashlib.blake2b(settings["SECRET_KEY"].encode()).digest()
        self._known = lru_cache(maxsize=10_000)(self.counter)

    def counted(self, claims: Claims | Holder | None, setting: str, remote: str | None) -> tuple[Left, str] | None:
        """Count a call, and its counter's key; None where no calls are counted.

        Those signed in count by account, strangers by address and by the setting that their call names.
        """
        if not self._settings["LIMITS_ENABLED"]:
            return None
        origin = _origin_of(remote, self._settings["TRUSTED_NETWORKS"])
        if origin is None:
            return None
        item, key = self._known(*((setting, origin) if claims is None else _account(claims)))
        return self.take(item, key), key

    def counter(self, setting: str, name: str) -> tuple[RateLimitItem, str]:
        """How much a counter allows, and its key; neither addresses nor names stand in the storage."""
        kind = setting.removeprefix("LIMIT_").lower()
        key = hashlib.blake2b(name.encode(), key=self._secret, digest_size=16).hexdigest()
        return _item(self._settings[setting]), f"{kind}:{key}"

    def take(self, item: RateLimitItem, key: str) -> Left:
        """Count one more."""
        return self._storage.ask(lambda: _counted(self.shared, item, key), lambda: _counted(self.spare, item, key))

    def clear(self, item: RateLimitItem, key: str) -> None:
        """Begin anew, also what an outage has left in memory."""
        self.spare.clear(item, key)
        self._storage.ask(lambda: self.shared.clear(item, key), lambda: None)

    def give_back(self, item: RateLimitItem, key: str) -> None:
        """Count one less."""
        self._storage.ask(lambda: _uncount(self.shared, item, key), lambda: _uncount(self.spare, item, key))


def init_app(app: Flask) -> None:
    """Give the application its counters, and tell every client how much is left."""
    # The limiter knows only the storage of the application that was made last.
    asked = app.extensions["library_storage"]
    app.extensions["library_counters"] = Counters(app.config, limiter.limiter, asked)
    app.register_error_handler(Crowded, _turned_away)
    app.after_request(_tell)


def check(claims: Claims | Holder | None, setting: str = "LIMIT_ANONYMOUS") -> None:
    """Count this request, unless the fast path did; raises 429 when its class has used up its share."""
    # What was counted holds for who it was counted for; who turns out to be a stranger is counted anew.
    found = request.environ.pop(COUNTED, None) or _counters().counted(claims, setting, request.remote_addr)
    if found is not None:
        _note(*found)


def count_as_stranger(claims: Claims | Holder) -> None:
    """Count a call whose token was ended as a stranger's: what it counted for is given back to the account.

    Or who keeps a stolen token could use up what its owner has, after it was ended.
    """
    if _counts():
        _counters().give_back(*_counters().counter(*_account(claims)))
    check(None)


def take_login_slots(name: str) -> None:
    """Count a log-in before its password is hashed; raises 429 for too many of this account from this address.

    Never by account alone: nobody can lock another out.
    """
    refuse_crowd()
    _take_pair("LIMIT_LOGIN_PAIR", name)


def clear_login_slots(name: str) -> None:
    """A success clears the pair, also what an outage has left in memory."""
    _clear("LIMIT_LOGIN_PAIR", _pair(name))


def take_proof_slots(name: str, session_id: int) -> None:
    """Count a password that is asked again of who is signed in: as a log-in, and in this session from any address.

    Or a stolen token could be guessed with from as many addresses as there are. It locks nobody out of their account:
    a log-in opens another session.
    """
    take_login_slots(name)
    if current_app.config["LIMITS_ENABLED"]:
        _take("LIMIT_LOGIN_PAIR", _of_session(session_id))


def clear_proof_slots(name: str, session_id: int) -> None:
    """A success clears what was counted for the session, and the pair."""
    clear_login_slots(name)
    _clear("LIMIT_LOGIN_PAIR", _of_session(session_id))


def take_mail_slot(name: str) -> None:
    """Count a mail that is asked for; raises 429 for too many to this account from this address."""
    _take_pair("LIMIT_MAIL_PAIR", name)


def address_of(text: str | None) -> IPv4Address | IPv6Address | None:
    """The address that the server or a proxy told, without a port or a zone; None for what is none."""
    found = _WITH_PORT.fullmatch(text or "")
    try:
        address = ip_address((found[1] or found[2] or "") if found else (text or "").partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def _origin(address: IPv4Address | IPv6Address | None) -> str:
    """What the calls of an address count for; what is no address is all one, or it could be another in each call."""
    if isinstance(address, IPv6Address):
        return str(ip_network((address, SUBSCRIBER), strict=False))
    return str(address)


@lru_cache(maxsize=10_000)
def _origin_of(remote: str | None, trusted: str) -> str | None:
    """What the calls of an address count for, None for those of a trusted network."""
    address = address_of(remote)
    if address is not None and any(address in network for network in networks(trusted)):
        return None
    return _origin(address)


def _counts() -> bool:
    """Whether the calls of this address are counted."""
    settings = current_app.config
    return settings["LIMITS_ENABLED"] and _origin_of(request.remote_addr, settings["TRUSTED_NETWORKS"]) is not None


def _account(claims: Claims | Holder) -> tuple[str, str]:
    """What the calls of somebody known count for: all their programs together, which use nothing up that they have."""
    name = f"keys of {claims.user_id}" if isinstance(claims, Holder) else str(claims.user_id)
    return "LIMIT_PATRON" if claims.role is Role.PATRON else "LIMIT_STAFF", name


def _pair(name: str) -> str:
    return f"{_origin(address_of(request.remote_addr))} {name.strip().casefold()}"


def _of_session(session_id: int) -> str:
    # No pair begins like this: an address stands there.
    return f"session {session_id}"


def _take_pair(setting: str, name: str) -> None:
    if current_app.config["LIMITS_ENABLED"]:
        _take(setting, _pair(name))


def _counters() -> Counters:
    return current_app.extensions["library_counters"]


def _take(setting: str, name: str) -> None:
    item, key = _counters().counter(setting, name)
    _note(_counters().take(item, key), key)


def _note(left: Left, key: str) -> None:
    g.taken = [*g.get("taken", ()), (left.item, key)]
    g.limit = left
    if not left.within:
        detail = f"Too many requests: try again in {left.seconds} seconds."
        raise Problem(429, detail, headers={"Retry-After": str(left.seconds)})


def _clear(setting: str, name: str) -> None:
    if current_app.config["LIMITS_ENABLED"]:
        _counters().clear(*_counters().counter(setting, name))


def _counted(strategy: RateLimiter, item: RateLimitItem, key: str) -> Left:
    # What the strategy does for a fixed window, of which it would tell by asking twice more.
    name = item.key_for(key)
    count = strategy.storage.incr(name, item.get_expiry())
    seconds = max(1, int(strategy.storage.get_expiry(name) - time.time() + 0.999))
    return Left(item, max(0, item.amount - count), seconds, count <= item.amount)


def _uncount(strategy: RateLimiter, item: RateLimitItem, key: str) -> None:
    strategy.storage.incr(item.key_for(key), item.get_expiry(), amount=-1)


def _turned_away(_: Crowded) -> Response:
    """429 for a password that nobody had time for: it was no try, or a flood would use up what others may try."""
    for item, key in g.get("taken", ()):
        _counters().give_back(item, key)
    detail = "Too many passwords are being checked just now: try again in a second."
    return Problem(429, detail, headers={"Retry-After": "1"}).response()


def _tell(response: Response) -> Response:
    if "limit" in g:
        response.headers.update(g.limit.headers())
    return response

"""Rate limits: one hit a request, by address for strangers, by account for those signed in."""

import hashlib
import re
import time
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from flask import Flask, Response, current_app, g, request
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter, RateLimiter

from library.api.plumbing.errors import Problem
from library.api.plumbing.tokens import Claims
from library.config import networks
from library.extensions import limiter, storage
from library.models import Role
from library.rules.api_keys import Holder
from library.rules.errors import Crowded
from library.rules.users import refuse_crowd

# As some proxies hand an address on, with the port of the connection.
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::\d+)?|([^:]*):\d+")
# The least that a subscriber of version 6 is given, and may choose addresses in.
SUBSCRIBER = 64


@lru_cache(maxsize=64)
def _item(text: str) -> RateLimitItem:
    return parse(text)


def init_app(app: Flask) -> None:
    """Give the application its counters, and tell every client how much is left."""
    # The limiter knows only the storage of the application that was made last.
    app.extensions["library_counters"] = limiter.limiter, FixedWindowRateLimiter(MemoryStorage())
    app.register_error_handler(Crowded, _turned_away)
    app.after_request(_tell)


def check(claims: Claims | Holder | None, setting: str = "LIMIT_ANONYMOUS") -> None:
    """Count this request; raises 429 when its class has used up its share.

    Those signed in count by account, strangers by address and by the setting that their call names.
    """
    address = address_of(request.remote_addr)
    if not current_app.config["LIMITS_ENABLED"] or _trusted(address):
        return
    if claims is None:
        _take(setting, _origin(address))
    else:
        _take(*_account(claims))


def count_as_stranger(claims: Claims | Holder) -> None:
    """Count a call whose token was ended as a stranger's: what it counted for is given back to the account.

    Or who keeps a stolen token could use up what its owner has, after it was ended.
    """
    if current_app.config["LIMITS_ENABLED"] and not _trusted(address_of(request.remote_addr)):
        _give_back(*_counter(*_account(claims)))
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


def _counter(setting: str, name: str) -> tuple[RateLimitItem, str]:
    """How much a counter allows, and its key; neither addresses nor names stand in the storage."""
    kind = setting.removeprefix("LIMIT_").lower()
    secret = hashlib.blake2b(current_app.config["SECRET_KEY"].encode()).digest()
    key = f"{kind}:{hashlib.blake2b(name.encode(), key=secret, digest_size=16).hexdigest()}"
    return _item(current_app.config[setting]), key


def _counters() -> tuple[RateLimiter, RateLimiter]:
    """What counts for all workers, and what counts in this process while that does not answer."""
    return current_app.extensions["library_counters"]


def _take(setting: str, name: str) -> None:
    item, key = _counter(setting, name)
    g.taken = [*g.get("taken", ()), (item, key)]
    shared, spare = _counters()
    if not storage().ask(lambda: _counted(shared, item, key), lambda: _counted(spare, item, key)):
        seconds = g.limit[2]
        detail = f"Too many requests: try again in {seconds} seconds."
        raise Problem(429, detail, headers={"Retry-After": str(seconds)})


def _clear(setting: str, name: str) -> None:
    if current_app.config["LIMITS_ENABLED"]:
        item, key = _counter(setting, name)
        shared, spare = _counters()
        spare.clear(item, key)
        storage().ask(lambda: shared.clear(item, key), lambda: None)


def _counted(strategy: RateLimiter, item: RateLimitItem, key: str) -> bool:
    within = strategy.hit(item, key)
    window = strategy.get_window_stats(item, key)
    g.limit = (item, 0 if not within else window.remaining, max(1, int(window.reset_time - time.time() + 0.999)))
    return within


def _give_back(item: RateLimitItem, key: str) -> None:
    def uncount(strategy: RateLimiter) -> None:
        strategy.storage.incr(item.key_for(key), item.get_expiry(), amount=-1)

    shared, spare = _counters()
    storage().ask(lambda: uncount(shared), lambda: uncount(spare))


def _turned_away(_: Crowded) -> Response:
    """429 for a password that nobody had time for: it was no try, or a flood would use up what others may try."""
    for item, key in g.get("taken", ()):
        _give_back(item, key)
    detail = "Too many passwords are being checked just now: try again in a second."
    return Problem(429, detail, headers={"Retry-After": "1"}).response()


def _tell(response: Response) -> Response:
    if "limit" in g:
        item, remaining, seconds = g.limit
        window = item.get_expiry()
        response.headers["RateLimit-Policy"] = f'"default";q={item.amount};w={window}'
        response.headers["RateLimit"] = f'"default";r={remaining};t={seconds}'
        response.headers["X-RateLimit-Limit"] = str(item.amount)
        response.headers["X-RateLimit-Remaining"] = str(remaining)
        response.headers["X-RateLimit-Reset"] = str(int(time.time()) + seconds)
    return response


def _trusted(address: IPv4Address | IPv6Address | None) -> bool:
    return address is not None and any(
        address in network for network in networks(current_app.config["TRUSTED_NETWORKS"])
    )

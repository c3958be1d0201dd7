"""Rate limits: one hit a request, by address for strangers, by account for those signed in."""

import time
from functools import lru_cache
from ipaddress import ip_address

from flask import Flask, Response, current_app, g, request
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter, RateLimiter

from library.api.plumbing.errors import Problem
from library.api.plumbing.tokens import Claims
from library.config import networks
from library.extensions import limiter, storage
from library.models import Role


@lru_cache(maxsize=64)
def _item(text: str) -> RateLimitItem:
    return parse(text)


def init_app(app: Flask) -> None:
    """Give the application its counters, and tell every client how much is left."""
    # The limiter knows only the storage of the application that was made last.
    app.extensions["library_counters"] = limiter.limiter, FixedWindowRateLimiter(MemoryStorage())
    app.after_request(_tell)


def check(claims: Claims | None) -> None:
    """Count this request; raises 429 when its class has used up its share."""
    if not current_app.config["LIMITS_ENABLED"] or _trusted(request.remote_addr):
        return
    if claims is None:
        text, key = current_app.config["LIMIT_ANONYMOUS"], f"address:{request.remote_addr}"
    else:
        text = current_app.config["LIMIT_PATRON" if claims.role is Role.PATRON else "LIMIT_STAFF"]
        key = f"account:{claims.user_id}"
    if not _hit(text, key):
        raise _too_many()


def take_login_slots(name: str) -> None:
    """Count a log-in before its password is hashed; raises 429 for too many of this (account, address) or address.

    Never by account alone: nobody can lock another out.
    """
    if not current_app.config["LIMITS_ENABLED"]:
        return
    by_address = current_app.config["LIMIT_LOGIN_ADDRESS"]
    if not _trusted(request.remote_addr) and not _hit(by_address, f"login:{request.remote_addr}"):
        raise _too_many()
    if not _hit(current_app.config["LIMIT_LOGIN_PAIR"], _pair(name)):
        raise _too_many()


def clear_login_slots(name: str) -> None:
    """A success clears the pair, also what an outage has left in memory."""
    if current_app.config["LIMITS_ENABLED"]:
        item, key = _item(current_app.config["LIMIT_LOGIN_PAIR"]), _pair(name)
        shared, spare = _counters()
        spare.clear(item, key)
        storage().ask(lambda: shared.clear(item, key), lambda: None)


def _pair(name: str) -> str:
    return f"login:{request.remote_addr}:{name.strip().casefold()}"


def _counters() -> tuple[RateLimiter, RateLimiter]:
    """What counts for all workers, and what counts in this process while that does not answer."""
    return current_app.extensions["library_counters"]


def _hit(text: str, key: str) -> bool:
    item = _item(text)
    shared, spare = _counters()
    return storage().ask(lambda: _counted(shared, item, key), lambda: _counted(spare, item, key))


def _counted(strategy: RateLimiter, item: RateLimitItem, key: str) -> bool:
    within = strategy.hit(item, key)
    window = strategy.get_window_stats(item, key)
    g.limit = (item, 0 if not within else window.remaining, max(1, int(window.reset_time - time.time() + 0.999)))
    return within


def _too_many() -> Problem:
    seconds = g.limit[2]
    return Problem(429, f"Too many requests: try again in {seconds} seconds.", headers={"Retry-After": str(seconds)})


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


def _trusted(address: str | None) -> bool:
    trusted = networks(current_app.config["TRUSTED_NETWORKS"])
    if not trusted or not address:
        return False
    try:
        return any(ip_address(address) in network for network in trusted)
    except ValueError:
        # A proxy handed on something that is no address.
        return False

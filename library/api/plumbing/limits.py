"""Rate limits: one hit a request, by address for strangers, by account for those signed in."""

import time
from functools import lru_cache
from ipaddress import ip_address, ip_network

from flask import Flask, Response, current_app, g, request
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter, RateLimiter

from library.api.plumbing.errors import Problem
from library.api.plumbing.tokens import Claims
from library.extensions import limiter
from library.models import Role

_spare = FixedWindowRateLimiter(MemoryStorage())


@lru_cache(maxsize=64)
def _item(text: str) -> RateLimitItem:
    return parse(text)


def init_app(app: Flask) -> None:
    """Tell every client how much is left."""
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
    if not _hit(current_app.config["LIMIT_LOGIN_ADDRESS"], f"login:{request.remote_addr}"):
        raise _too_many()
    if not _hit(current_app.config["LIMIT_LOGIN_PAIR"], _pair(name)):
        raise _too_many()


def clear_login_slots(name: str) -> None:
    """A success clears the pair."""
    if current_app.config["LIMITS_ENABLED"]:
        _strategy().clear(_item(current_app.config["LIMIT_LOGIN_PAIR"]), _pair(name))


def _pair(name: str) -> str:
    return f"login:{request.remote_addr}:{name.strip().casefold()}"


def _strategy() -> RateLimiter:
    return g.get("limit_strategy") or limiter.limiter


def _hit(text: str, key: str) -> bool:
    item = _item(text)
    try:
        return _counted(_strategy(), item, key)
    except Exception:  # whatever the storage's client raises: the limit then holds in this process alone
        current_app.logger.warning("limits: the storage does not answer, counting in memory")
        g.limit_strategy = _spare
        return _counted(_spare, item, key)


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
    networks = current_app.config["TRUSTED_NETWORKS"]
    if not networks or not address:
        return False
    return any(ip_address(address) in network for network in _networks(networks))


@lru_cache(maxsize=8)
def _networks(text: str) -> tuple:
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())

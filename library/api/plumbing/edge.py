"""The edge: what is settled about a request before anybody looks at what it wants."""

import codecs
import json
import re
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import Any
from urllib.parse import unquote_to_bytes

import marshmallow as ma
from flask import Flask, Response, current_app, g, request
from flask.sessions import NullSession, SessionInterface
from werkzeug.middleware.proxy_fix import ProxyFix

from library.api.plumbing.errors import Problem, header_error
from library.api.plumbing.fields import Fault, MomentField

DEEPEST = 32
# In bytes: the links of a list repeat it up to four times, in a header of which clients take 64 KiB.
LONGEST_QUERY = 8192
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z", re.ASCII)
_SIGNS = re.compile(r'\\.|["\[\]{}]', re.DOTALL)
SANDBOX_NOW = "Sandbox-Now"
JSON, MERGE_PATCH = "application/json", "application/merge-patch+json"
MULTIPART = "multipart/form-data"
ACCEPT_PATCH = f"{MERGE_PATCH}, {JSON}"

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class NoCookies(SessionInterface):
    """Nothing is remembered of a caller between two calls: who they are, each call says."""

    def open_session(self, app: Flask, request: Any) -> NullSession:
        return _NOTHING

    def save_session(self, app: Flask, session: Any, response: Any) -> None: ...


_NOTHING = NullSession()


class _DuplicateKey(ValueError):
    pass


@dataclass(frozen=True)
class Body:
    """The parsed JSON body, or the problem that stands in its way: told only to those who may ask at all."""

    value: Any = None
    problem: Problem | None = None

    def get(self) -> Any:
        """The value; raises the problem."""
        if self.problem is not None:
            raise self.problem
        return self.value


def init_app(app: Flask) -> None:
    """Look at every request as it comes in, and put the common headers on every answer."""
    proxies = app.config["TRUSTED_PROXIES"]
    if proxies:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies)  # type: ignore[method-assign]
    app.session_interface = NoCookies()
    app.before_request(_arrive)
    app.after_request(_leave)


def _arrive() -> Response | None:
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if REQUEST_ID.match(given) else uuid.uuid4().hex
    g.started = time.perf_counter()
    # Tokens, sessions and limits keep real time; the rules judge by `now`.
    g.now = g.real_now = datetime.now(UTC)
    g.actor = None
    # The server has decoded the path already, with replacements; the raw bytes tell whether it was UTF-8.
    raw_path = request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or request.path
    for part in (raw_path.partition("?")[0], request.query_string.decode("latin-1")):
        refuse_bad_encoding(part)
    if "�" in request.path or "\0" in request.path:
        raise Problem(400, "The address is not valid UTF-8.")
    if "//" in request.environ.get("PATH_INFO", ""):
        raise Problem(404)
    if len(request.query_string) > LONGEST_QUERY:
        raise Problem(400, f"The query in the address is longer than {LONGEST_QUERY:,} bytes.")
    if request.method == "OPTIONS":
        return _options()
    g.now = _moment_of_rules()
    g.body = _read_body() if request.method in ("POST", "PUT", "PATCH", "DELETE") else Body()
    return None


def _options() -> Response | None:
    """What an address takes, told to anybody and never counted: browsers ask before they send a token."""
    methods = {*current_app.create_url_adapter(request).allowed_methods()}  # type: ignore[union-attr]
    if not methods:
        return None
    answer = Response(status=204, headers={"Allow": ", ".join(sorted(methods | {"OPTIONS"}))})
    del answer.headers["Content-Type"]
    if "PATCH" in methods:
        answer.headers["Accept-Patch"] = ACCEPT_PATCH
    return answer


def _moment_of_rules() -> datetime:
    """The moment the call happens at: the real one, or in a sandbox the one that the call names."""
    given = request.headers.get(SANDBOX_NOW)
    if given is None:
        return g.real_now
    try:
        if not current_app.config["SANDBOX_CLOCK"]:
            raise ma.ValidationError(Fault("This library keeps real time.", "sandbox_clock_off"))
        return MomentField().deserialize(given)
    except ma.ValidationError as error:
        fault: Any = error.messages[0]
        reason = header_error(SANDBOX_NOW, fault.code, str(fault))
        raise Problem(400, "A header does not fit.", errors=[reason]) from error


def refuse_bad_encoding(part: str) -> None:
    """Raise 400 for a part of an address that is not UTF-8."""
    try:
        codecs.decode(unquote_to_bytes(part.replace("+", " ")), "utf-8")
    except UnicodeDecodeError:
        raise Problem(400, "The address is not valid UTF-8.") from None


def _read_body() -> Body:
    if request.mimetype == MULTIPART:
        # Not read here: an upload is large, and its view reads it once its sender is admitted.
        return Body(problem=Problem(415, "The body must be sent as application/json."))
    raw = request.get_data(cache=True)
    if not raw:
        return Body(problem=Problem(400, "This call needs a JSON body."))
    if request.content_length is None and len(raw) == request.max_content_length:
        # In chunks: werkzeug stops at the limit without a word.
        raise Problem(413)
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        plain = {"Accept-Encoding": "identity"}
        return Body(problem=Problem(415, "The body must be sent without a content coding.", headers=plain))
    patches = request.method == "PATCH"
    if request.mimetype != JSON and not (patches and request.mimetype == MERGE_PATCH):
        headers = {"Accept-Patch": ACCEPT_PATCH} if patches else {}
        types = f"{MERGE_PATCH} or {JSON}" if patches else JSON
        return Body(problem=Problem(415, f"The body must be sent as {types}.", headers=headers))
    try:
        text = raw.decode("utf-8")
        _refuse_depth(text)
        return Body(json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite))
    except _DuplicateKey as error:
        return Body(problem=Problem(400, f"The body names a member twice: {str(error)[:100]!r}."))
    except (ValueError, RecursionError):
        return Body(problem=Problem(400, "The body is not valid JSON in UTF-8."))


def _refuse_depth(text: str) -> None:
    """Raise ValueError for a body nested deeper than 32; brackets inside strings do not count. One pass."""
    if text.count("[") + text.count("{") <= DEEPEST:
        return
    depth, in_string = 0, False
    for match in _SIGNS.finditer(text):
        sign = match[0]
        if sign == '"':
            in_string = not in_string
        elif not in_string and sign in "[{":
            depth += 1
            if depth > DEEPEST:
                raise ValueError("too deep")
        elif not in_string and sign in "]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _DuplicateKey(key)
        found[key] = value
    return found


def _finite(text: str) -> float:
    """A number with a fraction or an exponent; 1e400 would become infinite, which JSON cannot say back."""
    number = float(text)
    if not isfinite(number):
        raise ValueError(text)
    return number


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _leave(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.get("request_id", "")
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response

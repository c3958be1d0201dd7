"""Every answer that is not 2xx or 3xx, in one form: RFC 9457 problem details."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from itertools import islice
from typing import Any

from flask import Flask, Response, current_app, g, json
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from library.logs import told
from library.models import Role
from library.rules import access
from library.rules.errors import Forbidden, Refusal, Refused

log = logging.getLogger("library")

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    409: "conflict",
    410: "gone",
    412: "precondition_failed",
    413: "content_too_large",
    415: "unsupported_media_type",
    422: "validation_failed",
    428: "precondition_required",
    429: "too_many_requests",
    500: "internal_error",
    503: "unavailable",
}
MOST_ERRORS = 100
TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}
SENTENCES = {
    400: "The request cannot be read.",
    404: "There is nothing here under this address.",
    405: "This address does not take this method.",
    409: "The change clashes with what is stored.",
    412: "The record has changed since it was read.",
    413: "The body is larger than this call takes.",
    500: "Something went wrong on our side; the request changed nothing.",
    503: "The service is busy or its database cannot be reached; try again.",
}

# Of what Flask and Werkzeug would answer by themselves.
KEPT_HEADERS = ("Allow", "Retry-After", "WWW-Authenticate")


class Problem(Exception):
    """An answer that is an error; `errors` are its single reasons, each with code, detail and place.

    `confirm_token` is what a refusal that only wants to be confirmed is answered with.
    """

    def __init__(
        self,
        status: int,
        detail: str | None = None,
        code: str | None = None,
        errors: list[dict[str, Any]] | None = None,
        headers: Mapping[str, str] | None = None,
        confirm_token: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail or SENTENCES.get(status) or title(status)
        self.code = code or CODES.get(status, "error")
        self.errors = errors or []
        self.headers = dict(headers or {})
        self.confirm_token = confirm_token

    def response(self) -> Response:
        """The answer on the wire."""
        body = {
            "type": "about:blank",
            "title": title(self.status),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "request_id": g.get("request_id", ""),
            "errors": self.errors,
            **({"confirm_token": self.confirm_token} if self.confirm_token else {}),
        }
        response = Response(json.dumps(body), self.status, content_type="application/problem+json")
        response.headers.update(self.headers)
        response.headers["Cache-Control"] = "no-store"
        return response


def title(status: int) -> str:
    """The phrase of a status, the same under every Python (3.13 renamed two)."""
    return TITLES.get(status) or HTTPStatus(status).phrase


def header_error(name: str, code: str, detail: str) -> dict[str, Any]:
    """A fault of a header as a member of `errors`."""
    return {"code": code, "detail": detail, "header": name, "params": {}}


def refusal_errors(reasons: Iterable[Refusal]) -> list[dict[str, Any]]:
    """Reasons of a refusal, or remarks, as members of `errors`."""
    return [
        {
            "code": reason.code,
            "detail": reason.sentence(),
            **({"pointer": reason.pointer} if reason.pointer else {}),
            "params": reason.params,
            "severity": reason.severity.value,
            "overridable": reason.permission is not None,
            **({"permission": reason.permission} if reason.permission else {}),
        }
        for reason in reasons
    ]


def validation_errors(messages: Any, location: str, path: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """marshmallow's nested messages as flat errors, each with a JSON pointer or the name of its parameter."""
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            yield from validation_errors(inner, location, path if key == "_schema" else (*path, str(key)))
        return
    for message in messages if isinstance(messages, list) else [messages]:
        if location == "query":
            place = {"parameter": path[0] if path else ""}
        else:
            pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)
            # A member may have been named with half a character, which no answer can repeat.
            place = {"pointer": pointer.encode(errors="replace").decode()}
        yield {"code": getattr(message, "code", "invalid"), "detail": str(message), **place, "params": {}}


def invalid(messages: Any, location: str) -> Problem:
    """422 for what a schema found wrong in the body or the query."""
    detail = "A parameter does not fit." if location == "query" else "The body does not fit."
    # A small body can have thousands of faults: the answer must not be thirty times as large.
    return Problem(422, detail, errors=list(islice(validation_errors(messages, location), MOST_ERRORS)))


def _from_http(error: HTTPException) -> Any:
    if error.code is None or error.code < 400:
        return error.get_response()
    headers = {name: value for name, value in error.get_headers() if name in KEPT_HEADERS}
    if isinstance(error, MethodNotAllowed):
        # What `OPTIONS` itself answers, which the routes do not know.
        headers["Allow"] = ", ".join(sorted({*(error.valid_methods or ()), "OPTIONS"}))
    sentence = None if error.code in SENTENCES else error.description
    return Problem(error.code, sentence, headers=headers).response()


def _from_database(error: Exception) -> Response:
    """A database that is away, busy or waited for too long: nothing was changed, the client may try again."""
    if getattr(getattr(error, "orig", None), "sqlite_errorname", "") == "SQLITE_ERROR":
        # SQLite's name for a statement that is wrong: to try again would not help.
        return _from_anything(error)
    log.warning("request %s: database: %s", g.get("request_id"), type(error).__name__)
    return Problem(503, headers={"Retry-After": "1"}).response()


def _from_refusal(error: Refused) -> Response:
    sentence, reasons = "The action is refused and changed nothing.", refusal_errors(error.reasons)
    return Problem(409, sentence, "refused", reasons, confirm_token=error.confirm_token).response()


def _from_forbidden(error: Forbidden) -> Response:
    permission = str(error)
    reason = {"code": "permission_missing", "detail": _who_lacks(permission), "params": {"permission": permission}}
    return Problem(403, "You may not do this.", errors=[reason]).response()


def _who_lacks(permission: str) -> str:
    """Whether it is the role that may not, or the API key, or somebody for themselves."""
    attempt = g.get("attempt")
    if not attempt or not attempt.actor_role or permission not in access.PERMISSIONS[Role(attempt.actor_role)]:
        return "Your role does not have this permission."
    if attempt.api_key_id is not None:
        return "Your API key was not made for this, or no API key is."
    return "You have this permission, but not for this account."


def _from_anything(error: Exception) -> Response:
    if current_app.testing:
        raise error
    _log(error)
    return Problem(500).response()


def _log(error: BaseException) -> None:
    log.error("request %s: unhandled\n%s", g.get("request_id"), told(error))


def _log_late(exc_info: Any) -> None:
    _log(exc_info[1])


def init_app(app: Flask) -> None:
    """Catch what any part of a request may raise."""
    # Of what goes wrong after the view, Flask itself would log the address and the text.
    app.log_exception = _log_late  # type: ignore[method-assign]
    app.register_error_handler(Problem, lambda error: error.response())
    app.register_error_handler(Refused, _from_refusal)
    app.register_error_handler(Forbidden, _from_forbidden)
    app.register_error_handler(StaleDataError, lambda _: Problem(412).response())
    app.register_error_handler(HTTPException, _from_http)
    app.register_error_handler(OperationalError, _from_database)
    app.register_error_handler(PoolTimeout, _from_database)
    app.register_error_handler(DBAPIError, lambda error: _from_dbapi(error))
    app.register_error_handler(Exception, _from_anything)


def _from_dbapi(error: DBAPIError) -> Response:
    # The connection died under the statement: PostgreSQL was restarted or ended it.
    if error.connection_invalidated:
        return _from_database(error)
    if isinstance(error, DataError):
        # The schemas keep such values out; what slips through is still the client's value.
        return Problem(422, "A value is not one that can be stored.").response()
    if isinstance(error, IntegrityError):
        log.warning("request %s: constraint: %s", g.get("request_id"), type(error.orig).__name__)
        return Problem(409).response()
    return _from_anything(error)

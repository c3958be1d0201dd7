"""Idempotency keys: a call that is sent again under its key is answered again, and done once."""

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from typing import Any

from flask import Response, current_app, g, request
from sqlalchemy.exc import OperationalError
from werkzeug.datastructures import FileStorage

from library.api.plumbing.errors import Problem, header_error
from library.config import secret_keys
from library.extensions import db
from library.rules import idempotency

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
REUSED, IN_USE = "idempotency_key_reused", "idempotency_key_in_use"
_VISIBLE = re.compile(r"[\x21-\x7e]{1,255}")
_LOCK_TIMEOUT = "55P03"
_AT_ONCE = 64 * 1024


def read(uploads: bool) -> None:
    """Take the fingerprints of what was sent; an upload takes a while, so call it outside any transaction.

    `uploads`: whether the call takes files, from an actor who was admitted. Nobody else's are looked at.
    """
    g.fingerprints = _fingerprints(uploads) if HEADER in request.headers else [""]


def once(work: Callable[[], Response]) -> Response:
    """Do the work of a call, or answer as it was answered before under the same key.

    Runs in the transaction of the work, after `read`: the key, what was done and the answer are kept together or not
    at all.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return work()
    if not _VISIBLE.fullmatch(key):
        raise _unfit(400, "invalid", "A key has 1 to 255 visible ASCII characters.")
    call = idempotency.Call(g.actor.id, f"{request.method} {request.path}", key, g.fingerprints[0])
    claimed = _claimed(call)
    if isinstance(claimed, int):
        response = work()
        assert 200 <= response.status_code < 300, "a view raises what is wrong"
        headers = [(name, value) for name, value in response.headers if name != "Content-Length"]
        idempotency.keep(db.session, claimed, response.status_code, headers, response.get_data())
        return response
    if not any(hmac.compare_digest(claimed.fingerprint, fingerprint) for fingerprint in g.fingerprints):
        raise _unfit(422, REUSED, "This key was used here for a call with another body or query.")
    response = Response(claimed.body, claimed.status)
    del response.headers["Content-Type"]
    response.headers.extend(claimed.headers)
    response.headers[REPLAYED] = "true"
    return response


def _claimed(call: idempotency.Call) -> Any:
    try:
        return idempotency.claim(db.session, call, g.real_now)
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_TIMEOUT:
            raise
        detail = "The first call with this key is still at work: ask again."
        raise Problem(409, detail, IN_USE, headers={"Retry-After": "1"}) from error


def _unfit(status: int, code: str, detail: str) -> Problem:
    reason = header_error(HEADER, code, detail)
    return Problem(status, detail, code if code == REUSED else None, errors=[reason])


def _fingerprints(uploads: bool) -> list[str]:
    """Keyed hashes of all that was sent, the one to keep first: short secrets cannot be guessed from it."""
    keys = [f"{HEADER}:{key}".encode() for key in secret_keys(current_app.config)]
    # A client that writes its JSON anew for each try may change the order of the members, and nothing else.
    sent = json.dumps([request.query_string.decode("latin-1"), _body(uploads)], sort_keys=True, separators=(",", ":"))
    return [hmac.digest(key, sent.encode(), "sha256").hex() for key in keys]


def _body(uploads: bool) -> list[Any]:
    """What the body says: of JSON its value, of an upload its parts (their boundary is another in each try).

    What cannot be read says nothing: a call that needs it is refused, and keeps no answer.
    """
    if uploads and request.mimetype == "multipart/form-data":
        fields = sorted(request.form.lists())
        return ["parts", fields, sorted((name, file.filename, _hash(file)) for name, file in request.files.items(True))]
    return ["json", g.body.value] if g.body.problem is None else ["nothing"]


def _hash(file: FileStorage) -> str:
    found = hashlib.sha256()
    file.stream.seek(0)
    while read := file.stream.read(_AT_ONCE):
        found.update(read)
    file.stream.seek(0)
    return found.hexdigest()

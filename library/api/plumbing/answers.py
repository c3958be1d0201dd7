"""What the document says of an operation beyond its schemas: who may call it, every status, headers, examples."""

from typing import Any

import marshmallow as ma

from library.api.plumbing.deprecation import link_header
from library.api.plumbing.errors import CODES, SENTENCES, title
from library.api.plumbing.examples import example_of
from library.api.plumbing.problem import ProblemSchema
from library.rules import access

JSON, PROBLEM = "application/json", "application/problem+json"
_BEARER: list[dict[str, list[str]]] = [{"bearer": []}]
STATUSES = (400, 401, 403, 404, 406, 409, 412, 413, 415, 422, 428, 429, 500, 503)


def _header(kind: str, example: Any, description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": kind}, "example": example}


HEADERS = {
    "Allow": _header("string", "GET, POST", "With 405: the methods that the address takes."),
    "Deprecation": _header("string", "@1767225600", "Since when the operation is deprecated (RFC 9745)."),
    "ETag": _header("string", '"3-6f1ed002ab5595859014"', "Version and hash of the answer."),
    "Idempotency-Replayed": _header("string", "true", "The call was made before under its key: this is its answer."),
    "Location": _header("string", "/books/1", "Where the new thing stands."),
    "RateLimit": _header("string", '"default";r=199;t=86400', "What is left of the caller's share, and for how long."),
    "RateLimit-Policy": _header("string", '"default";q=200;w=86400', "The caller's share: so many in so many seconds."),
    "Retry-After": _header("integer", 60, "Seconds to wait before the next try."),
    "Sunset": _header("string", "Fri, 01 Jan 2027 00:00:00 GMT", "The first moment it may be gone at (RFC 8594)."),
    "WWW-Authenticate": _header("string", "Bearer", "How to sign in (RFC 6750)."),
    "X-RateLimit-Limit": _header("integer", 200, "The caller's share of requests."),
    "X-RateLimit-Remaining": _header("integer", 199, "How many of them are left."),
    "X-RateLimit-Reset": _header("integer", 1777887000, "When the share is full again, in seconds since 1970."),
    "X-Remarks": _header(
        "string",
        "patron_expires_soon",
        "Codes of what was remarked though the action was done, parted by commas; absent without remarks.",
    ),
    "X-Request-ID": _header(
        "string",
        "9d1f3a52c86b4e0fa7b2c4d5e6f70819",
        "Name of the request, as in the logs: the one that was sent in this header, or ours.",
    ),
}
_LIMITS = ("RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_ERROR_HEADERS = {401: ("WWW-Authenticate",), 409: ("Retry-After",), 429: ("Retry-After",), 503: ("Retry-After",)}
_IF_MATCH = {
    "in": "header",
    "name": "If-Match",
    "required": True,
    "description": "The ETag of the version that was read, or *. Without it the answer is 428.",
    "schema": {"type": "string"},
    "example": "*",
}
_IF_MATCH_TOO = _IF_MATCH | {
    "required": False,
    "description": "The ETag of the version that was read: the answer is 412 where it no longer fits. Never required.",
}
_IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "description": (
        "A name for this call that you choose, a UUID say: sent again under it within 24 hours, the call is not made "
        "again but answered as before. Another body under the same key is 422 `idempotency_key_reused`; while the "
        "first call is at work, 409 `idempotency_key_in_use` with `Retry-After`."
    ),
    # Within the schema: an example of the parameter is filled in by Swagger UI, one key for every call.
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": 255,
        "pattern": "^[!-~]+$",
        "examples": ["5d0c3e2a-7f1b-4c7e-9a55-0d7c1f6b2e11"],
    },
}
_IF_NONE_MATCH = {
    "in": "header",
    "name": "If-None-Match",
    "description": "An ETag: the answer is 304 where it still fits.",
    "schema": {"type": "string"},
}
# Every call takes it. A PATCH says so because it takes two media types: of such an operation openapi-python-client 0.29
# makes a module that cannot be imported, unless some parameter is optional.
_REQUEST_ID = {
    "in": "header",
    "name": "X-Request-ID",
    "required": False,
    "description": "A name for this call that you choose: it is found in the logs, and in the answer's X-Request-ID.",
    "schema": {"type": "string", "examples": [HEADERS["X-Request-ID"]["example"]]},
}
_REASONS: dict[int, dict[str, Any]] = {
    403: {
        "code": "permission_missing",
        "detail": "Your role does not have this permission.",
        "params": {"permission": "books.write"},
    },
    422: {"code": "required", "detail": "This member is required.", "pointer": "/title", "params": {}},
}


def register(spec: Any) -> None:
    """Make the headers and the errors known to the document, which takes in what operations refer to."""
    for name, header in HEADERS.items():
        spec.components.header(name, header, lazy=True)
    for status in STATUSES:
        names = ("X-Request-ID", *_LIMITS, *_ERROR_HEADERS.get(status, ()))
        answer = _problem(title(status), names, problem_example(status))
        spec.components.response(f"Problem{status}", answer, lazy=True)
    names = ("X-Request-ID", "Allow")
    answer = _problem("Any other error, such as 405 with the methods in `Allow`", names, problem_example(500))
    spec.components.response("DEFAULT_ERROR", answer, lazy=True)


def _problem(description: str, headers: Any, example: dict[str, Any], schema: Any = ProblemSchema) -> dict[str, Any]:
    return {
        "description": description,
        "headers": {name: name for name in headers},
        "content": {PROBLEM: {"schema": schema, "example": example}},
    }


def problem_example(status: int, code: str = "", detail: str = "", errors: Any = None) -> dict[str, Any]:
    """A problem as it is answered."""
    return {
        "type": "about:blank",
        "title": title(status),
        "status": status,
        "code": code or CODES[status],
        "detail": detail or SENTENCES.get(status, title(status)),
        "request_id": HEADERS["X-Request-ID"]["example"],
        "errors": errors if errors is not None else [_REASONS[status]] if status in _REASONS else [],
    }


def complete(doc: dict[str, Any], info: dict[str, Any], *, spec: Any, method: str, **_: Any) -> dict[str, Any]:
    """Add to an operation what the marks say: its name, who may call it, how it may fail, its conditions."""
    marks = info.get("library", {})
    deprecation = marks.get("deprecation")
    doc["operationId"] = marks["operation"]
    # Taken from there: flask-smorest would put it over ours.
    written = info.get("docstring", {}).pop("description", None)
    told = [deprecation and deprecation.sentence(), written, _who_may(marks["permission"])]
    doc["description"] = "\n\n".join(filter(None, told))
    if deprecation:
        doc["deprecated"] = True
    doc["security"] = _security(marks["permission"])
    parameters = doc.setdefault("parameters", [])
    responses = doc.setdefault("responses", {})
    for status in [code for code, answer in responses.items() if isinstance(answer, str) and code != "default"]:
        del responses[status]
    if "requestBody" in doc:
        _describe_body(doc["requestBody"]["content"], method)
    if _may_be_conditional(marks, method):
        parameters.append(_IF_MATCH if _must_be_conditional(marks, method) else _IF_MATCH_TOO)
    if marks.get("keyed"):
        parameters.append(_IDEMPOTENCY_KEY)
    if method == "patch":
        parameters.append(_REQUEST_ID)
    if method == "get" and not marks.get("streamed"):
        parameters.append(_IF_NONE_MATCH)
        responses["304"] = {"description": "Not modified", "headers": {"ETag": "ETag"}}
    for status in sorted(_failures(doc, marks, method)):
        responses[str(status)] = f"Problem{status}"
    if marks.get("refusals"):
        responses["409"] = _refused(marks["refusals"], _ERROR_HEADERS[409] if marks.get("keyed") else ())
    _describe_formats(responses, marks.get("formats", ()), bool(marks.get("streamed")))
    _describe_answers(responses, marks, method, spec)
    if not parameters:
        del doc["parameters"]
    return doc


def _security(permission: str) -> list[dict[str, list[str]]]:
    if permission == access.ANYONE:
        return []
    return [*_BEARER, {}] if permission in access.OPEN_CATALOGUE else _BEARER


def _may_be_conditional(marks: dict[str, Any], method: str) -> bool:
    return marks.get("finds") is not None and method != "get"


def _must_be_conditional(marks: dict[str, Any], method: str) -> bool:
    return bool(marks.get("versioned")) and method in ("put", "patch", "delete")


def _failures(doc: dict[str, Any], marks: dict[str, Any], method: str) -> set[int]:
    """The statuses of errors that an operation may answer."""
    failures = {400, 422, 503, *marks.get("failures", ())}
    failures |= {429} if marks["limited"] else set()
    if marks["permission"] != access.ANYONE:
        failures |= {401, 403}
        # A clash that only the database saw.
        failures |= {409} if method != "get" else set()
    if marks.get("finds") is not None:
        failures.add(404)
    if method != "get":
        failures.add(413)
    if "requestBody" in doc:
        failures.add(415)
    failures |= {412} if _may_be_conditional(marks, method) else set()
    failures |= {428} if _must_be_conditional(marks, method) else set()
    return failures


def _who_may(permission: str) -> str:
    """Who may call an operation, in a sentence: the document derives it from the page of permissions."""
    if permission == access.ANYONE:
        return "For anyone."
    roles = [role for role, held in access.PERMISSIONS.items() if role is not None and permission in held]
    named = (
        "everybody signed in" if len(roles) == len(access.PERMISSIONS) - 1 else ", ".join(sorted(roles, reverse=True))
    )
    return f"For: {named} (permission `{permission}`)."


def _describe_body(content: dict[str, Any], method: str) -> None:
    _give_examples(content)
    if method == "patch":
        content["application/merge-patch+json"] = content[JSON]


def _give_examples(content: dict[str, Any]) -> None:
    """An example to each JSON body that has a schema of ours and no example yet."""
    described = content.get(JSON, {})
    schema = described.get("schema")
    if isinstance(schema, type) and issubclass(schema, ma.Schema):
        schema = schema()
    if isinstance(schema, ma.Schema) and not described.keys() & {"example", "examples"}:
        described["example"] = example_of(schema)


def _is_tagged(marks: dict[str, Any], method: str) -> bool:
    """Whether an answer has a tag: what is read has one, and the record that a change answers."""
    return not marks.get("streamed") and (method == "get" or marks["shows_record"])


def _describe_answers(responses: dict[Any, Any], marks: dict[str, Any], method: str, spec: Any) -> None:
    for status, answer in responses.items():
        if not isinstance(answer, dict):
            continue
        headers = answer.setdefault("headers", {})
        names = ["X-Request-ID", *(_LIMITS if marks["limited"] else ())]
        if deprecation := marks.get("deprecation"):
            names += ("Deprecation", "Sunset") if deprecation.sunset else ("Deprecation",)
            headers["Link"] = link_header(headers.get("Link"))
        if str(status).startswith("2"):
            _give_examples(answer.get("content", {}))
            names += ("ETag",) if answer.get("content") and _is_tagged(marks, method) else ()
            names += ("Location",) if answer.get("content") and str(status) in ("201", "202") else ()
            names += ("X-Remarks",) if marks.get("remarked") else ()
            names += ("Idempotency-Replayed",) if marks.get("keyed") else ()
        for name in names:
            headers.setdefault(name, name)
        _share(headers, spec)


def _describe_formats(responses: dict[Any, Any], media_types: Any, streamed: bool) -> None:
    """The other formats of an answer that is negotiated, behind JSON, which comes first."""
    for answer in [answer for status, answer in responses.items() if str(status) == "200" and media_types]:
        for media_type in media_types[1:]:
            is_json = media_type.endswith("json")
            schema = {"type": ["object", "array"], "items": {"type": "object"}} if is_json else {"type": "string"}
            answer["content"].setdefault(media_type, {"schema": schema})
        when = "Under which name to keep the file" + ("." if streamed else "; in any format but JSON.")
        disposition = _header("string", 'attachment; filename="books.mrc"', when)
        answer.setdefault("headers", {})["Content-Disposition"] = disposition


def _share(headers: dict[str, Any], spec: Any) -> None:
    """Describe a header once for all operations that answer it."""
    for name, header in headers.items():
        if isinstance(header, dict):
            if name not in spec.components.headers:
                spec.components.header(name, header)
            if spec.components.headers[name] == header:
                headers[name] = name


def _refused(refusals: Any, headers: Any) -> dict[str, Any]:
    """A 409 that names the codes this operation may be refused with."""
    codes = {"type": "string", "enum": [refusal.code for refusal in refusals]}
    narrowed = {"errors": {"items": {"$ref": "#/components/schemas/ProblemError", "properties": {"code": codes}}}}
    sentences = "\n".join(f"* `{refusal.code}`: {refusal.sentence()}" for refusal in refusals)
    reason = {"code": refusals[0].code, "detail": refusals[0].sentence(), "params": {}}
    reason |= {"severity": refusals[0].severity.value, "overridable": refusals[0].permission is not None}
    reason |= {"permission": refusals[0].permission} if refusals[0].permission else {}
    example = problem_example(409, "refused", "The action is refused and changed nothing.", [reason])
    answer = _problem(f"Refused, and nothing changed:\n{sentences}", headers, example)
    # Beside the reference, not around it: generated clients then know one type of error.
    answer["content"][PROBLEM]["schema"] = {"$ref": "#/components/schemas/Problem", "properties": narrowed}
    return answer

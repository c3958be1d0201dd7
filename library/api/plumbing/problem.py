"""The one schema of every error."""

import marshmallow as ma

from library.rules.errors import Severity


class ProblemErrorSchema(ma.Schema):
    """One reason of a problem, and the place it is about."""

    code = ma.fields.String(metadata={"description": "Stable code of the reason."})
    detail = ma.fields.String(metadata={"description": "A sentence for people."})
    pointer = ma.fields.String(metadata={"description": "JSON pointer to the member of the body."})
    parameter = ma.fields.String(metadata={"description": "Name of the query parameter."})
    header = ma.fields.String(metadata={"description": "Name of the header."})
    params = ma.fields.Dict(metadata={"description": "What the reason depends on, by name."})
    severity = ma.fields.String(
        metadata={"enum": [grade.value for grade in Severity], "description": "How hard a refusal is."}
    )
    overridable = ma.fields.Boolean(metadata={"description": "Whether staff with the permission may let it pass."})
    permission = ma.fields.String(metadata={"description": "The permission that letting it pass needs."})

    example = {"code": "item_not_found", "detail": "There is no copy with this barcode.", "pointer": "/copy_barcode"}
    # The place is named by one of pointer, parameter and header; the grades come with refusals only.
    always = ("code", "detail", "params")


class ProblemSchema(ma.Schema):
    """Problem details (RFC 9457)."""

    type = ma.fields.String(metadata={"description": "Kind of problem, a URI."})
    title = ma.fields.String(metadata={"description": "The phrase of the status."})
    status = ma.fields.Integer(metadata={"description": "The status of the answer."})
    code = ma.fields.String(metadata={"description": "Stable code of the problem."})
    detail = ma.fields.String(metadata={"description": "A sentence for people."})
    request_id = ma.fields.String(metadata={"description": "Name of the request, as in X-Request-ID and the logs."})
    errors = ma.fields.List(ma.fields.Nested(ProblemErrorSchema), metadata={"description": "The single reasons."})
    confirm_token = ma.fields.String(
        metadata={"description": "Where all reasons only want to be confirmed: send it along, and the action is done."}
    )

    example = {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "code": "not_found",
        "detail": "There is nothing here under this address.",
        "request_id": "9d1f3a52c86b4e0fa7b2c4d5e6f70819",
        "errors": [],
    }
    always = ("type", "title", "status", "code", "detail", "request_id", "errors")

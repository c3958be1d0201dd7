"""The audit, as admins search it: what was done and what was refused, by whom and on what."""

from typing import Any

from flask.views import MethodView
from sqlalchemy import Select

from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.fields import Choice, Id, ListOf, MomentField, QueryWhole
from library.api.plumbing.schemas import QuerySchema, Schema, shown
from library.api.plumbing.texts import Text
from library.models import AuditEvent, AuditOutcome
from library.rules import audit

blp = Blueprint("audit-events", "audit_event", "Running the library")
EXAMPLE = "2026-05-01T09:30:00Z"
CODES = "Codes of the refusal; of what was done, of the refusals that were let pass."
MEMBERS = "Names of the members that were sent, never their values."


class AuditEventSchema(Schema):
    """One change or one refused attempt; rows are never changed or deleted."""

    class Meta(Schema.Meta):
        model = AuditEvent

    shown_example = {
        "id": 512,
        "at": "2026-05-01T09:30:00.000000Z",
        "action": "patch_user",
        "outcome": "done",
        "status": 200,
        "codes": [],
        "actor_id": 2,
        "actor_role": "librarian",
        "api_key_id": None,
        "object_kind": "users",
        "object_id": 3,
        "members": ["expires_on"],
        "request_id": "6f1e0c1d2b3a4958",
    }
    id = shown()
    at = shown()
    action = shown()
    outcome = shown()
    status = shown()
    codes = ListOf(Text(50), dump_only=True, metadata={"description": CODES})
    actor_id = Id(
        dump_only=True, allow_none=True, metadata={"description": "The account that acted; see `actor_role`."}
    )
    actor_role = shown()
    api_key_id = Id(dump_only=True, allow_none=True, metadata={"description": "The API key it used."})
    object_kind = shown()
    object_id = shown()
    members = ListOf(Text(100), dump_only=True, metadata={"description": MEMBERS})
    request_id = shown()


class AuditEventQuerySchema(QuerySchema):
    """How the audit is searched."""

    actor_id = QueryWhole(1, metadata={"description": "What this account did or tried; it may be gone."})
    action = Text(100, metadata={"description": "Attempts at this operation, command or step of the night."})
    outcome = Choice(AuditOutcome, metadata={"description": "Only what was done, or only what was refused."})
    object_kind = Text(60, metadata={"description": "Attempts on things of this kind, such as `users`."})
    object_id = QueryWhole(1, metadata={"description": "Attempts on what has this number; name the kind too."})
    at_min = MomentField(metadata={"description": "At this moment or later.", "example": EXAMPLE})
    at_max = MomentField(metadata={"description": "At this moment or earlier.", "example": EXAMPLE})
    request_id = Text(128, metadata={"description": "What came of the request of this name."})


@blp.route("/audit-events")
class AuditEvents(MethodView):
    @blp.allow("audit.read")
    @blp.arguments(AuditEventQuerySchema, location="query")
    @blp.lists(AuditEventSchema, audit.AUDIT_SORTS)
    def get(self, filters: dict[str, Any]) -> Select[Any]:
        """Search what was done and what was refused."""
        return audit.find_events(**filters)

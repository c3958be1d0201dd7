"""Notices: what patrons were told, and what still waits to be sent."""

from typing import Any

from flask.views import MethodView
from sqlalchemy import Select

from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.fields import Choice, Id, QueryFlag
from library.api.plumbing.gate import actor
from library.api.plumbing.references import QueryRef
from library.api.plumbing.schemas import QuerySchema, Schema, shown
from library.models import Notice, NoticeKind, User
from library.rules import notices

blp = Blueprint("notices", "notice", "Running the library")


class NoticeSchema(Schema):
    """Something a patron is told: why, and about which loan or hold."""

    class Meta(Schema.Meta):
        model = Notice

    id = shown()
    patron_id = Id(dump_only=True)
    kind = shown()
    loan_id = Id(dump_only=True, allow_none=True)
    hold_id = Id(dump_only=True, allow_none=True)
    created_at = shown()
    sent_at = shown()


class NoticeQuerySchema(QuerySchema):
    """How notices are narrowed; a patron sees their own only."""

    patron_id = QueryRef(User, metadata={"description": "Who is told."})
    kind = Choice(NoticeKind, metadata={"description": "Why they are told."})
    waiting = QueryFlag(metadata={"description": "Only those that wait to be sent, or only those that were."})


@blp.route("/notices")
class Notices(MethodView):
    @blp.allow("notices.read")
    @blp.arguments(NoticeQuerySchema, location="query")
    @blp.lists(NoticeSchema, notices.NOTICE_SORTS)
    def get(self, filters: dict[str, Any]) -> Select[Any]:
        """List notices: one's own, or all at the desk."""
        return notices.find_notices(actor(), **filters)

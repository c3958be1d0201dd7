"""Sessions: where one is signed in, and how to sign out elsewhere."""

from typing import Any

from flask import g
from flask.views import MethodView
from sqlalchemy import ColumnElement, Integer, Select, bindparam, case, false, true

from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.fields import Flag
from library.api.plumbing.gate import actor
from library.api.plumbing.schemas import Schema, shown
from library.extensions import db
from library.models import UserSession
from library.rules import sessions

blp = Blueprint("sessions", "session", "Signing in")


class ThisOne(Flag):
    """Whether a session is the one that asks."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> bool:
        return value == g.session_id

    def in_sql(self, column: ColumnElement[int]) -> ColumnElement[bool]:
        own = bindparam("own_session", callable_=lambda: g.session_id, type_=Integer())
        return case((column == own, true()), else_=false())


class SessionSchema(Schema):
    """A log-in that is still good: the program it came from, since when, and until when."""

    class Meta(Schema.Meta):
        model = UserSession

    shown_example = {"client": "Mozilla/5.0 (X11; Linux x86_64)", "current": True}
    id = shown()
    client = shown()
    started_at = shown(metadata={"description": "When somebody logged in."})
    rotated_at = shown(metadata={"description": "When its tokens were last refreshed."})
    expires_at = shown(metadata={"description": "When it ends by itself."})
    current = ThisOne(attribute="id", dump_only=True, metadata={"description": "Whether it is the one that asks."})


@blp.route("/users/me/sessions")
class Sessions(MethodView):
    @blp.allow("sessions.own")
    @blp.lists(SessionSchema, sessions.SESSION_SORTS)
    def get(self) -> Select[Any]:
        """List where one is signed in."""
        return sessions.find_sessions(actor(), g.real_now)


@blp.route("/users/me/sessions/<id:session_id>")
class SessionById(MethodView):
    @blp.allow("sessions.own")
    @blp.operation("end_session")
    @blp.finds(UserSession)
    @blp.response(204)
    def delete(self, session: UserSession) -> None:
        """Sign out somewhere: neither token of that session is good any more."""
        sessions.end_session(db.session, session.id, g.real_now)

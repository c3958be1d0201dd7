"""Privacy: all that is held about a person, and that they are forgotten."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import marshmallow as ma
from flask import Response, g, request
from flask.views import MethodView
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from library.api import proofs
from library.api.dossiers import DossierSchema
from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.fields import Id, MomentField, Whole
from library.api.plumbing.gate import actor
from library.api.plumbing.marks import mark
from library.api.plumbing.rendering import dump_json, private
from library.api.plumbing.schemas import RequestSchema
from library.api.plumbing.streaming import begun
from library.api.plumbing.texts import Password
from library.database import make_session, transaction
from library.extensions import db
from library.models import User
from library.rules import dossiers, erasure, users
from library.rules.dossiers import Part
from library.rules.erasure import Erasure

blp = Blueprint("privacy", "dossier", "People")


class ErasureInputSchema(RequestSchema):
    """That a person is to be forgotten; who is signed in proves with the password that they mean themselves."""

    example: dict[str, Any] | None = {"password": "password123"}

    password = Password(
        users.LONGEST_PASSWORD,
        metadata={"description": "One's own password; needed where one erases oneself.", "example": "password123"},
    )


class ErasureSchema(ma.Schema):
    """What became of a person: a number."""

    example = {"user_id": 42, "erased_at": "2026-05-04T09:30:00.000000Z", "loans": 7, "holds": 2, "account_entries": 3}

    user_id = Id(metadata={"description": "The number that is left; it is given to nobody else."})
    erased_at = MomentField(metadata={"description": "When the person was forgotten."})
    loans = Whole(0, metadata={"description": "Loans that lead to nobody now; they are only counted."})
    holds = Whole(0, metadata={"description": "Holds that lead to nobody now."})
    account_entries = Whole(0, metadata={"description": "Lines of the ledger that stay, under the number alone."})


def prove_before() -> None:
    """Check the password of who erases themselves before the transaction begins; the view tells what came of it."""
    body = g.body.value if isinstance(g.body.value, dict) else {}
    is_oneself = (request.view_args or {}).get("user_id") == actor().id
    g.proof = proofs.prove(body.get("password")) if is_oneself else None


@blp.route("/users/<id:user_id>/export", examples={"user_id": 42})
class Export(MethodView):
    @blp.allow("privacy.own")
    @mark(streamed=True)
    @blp.operation("export_user")
    @blp.finds(User)
    @blp.response(200, DossierSchema)
    def get(self, user: User) -> Response:
        """Export all that is held about a person: oneself, or for an admin anybody.

        Passwords, tokens and keys are left out, and so is who of the staff did something. It is a stream of any
        length; one that breaks off ends with the line `!!! THIS EXPORT IS INCOMPLETE !!!`.
        """
        erasure.require_privacy(actor(), user)
        stream = _written(db.engine, user.id, g.real_now)
        response = Response(begun(stream), content_type="application/json")
        private(response)
        response.headers["Content-Disposition"] = f'attachment; filename="user-{user.id}.json"'
        return response


def _written(engine: Engine, user_id: int, now: datetime) -> Iterator[bytes]:
    """The dossier member by member, in a session of its own: it goes on when the request is over."""
    shape = DossierSchema()
    yield dump_json(shape.dump({"exported_at": now}))[:-1]
    with make_session(engine) as session:
        for name, part in dossiers.parts_of(user_id).items():
            nested: Any = shape.fields[name]
            yield b',"' + name.encode() + b'":'
            between = b"[" if nested.many else b""
            for row in _rows(session, part):
                yield between + dump_json(nested.schema.dump(row, many=False))
                between = b","
            yield {b"[": b"[]", b",": b"]" if nested.many else b""}[between]
    yield b"}"


def _rows(session: Session, part: Part) -> Iterator[Any]:
    """All rows of a part; no transaction stays open while a slow reader takes them."""
    after: int | None = 0
    while after is not None:
        with transaction(session, write=False):
            rows = dossiers.next_rows(session, part, after)
        yield from rows
        after = rows[-1].id if rows else None


@blp.route("/users/<id:user_id>/erase", examples={"user_id": 42})
class Erase(MethodView):
    @blp.previewed
    @blp.allow("privacy.own", prepare=prove_before)
    @blp.operation("erase_user")
    @blp.finds(User, first=users.lock_colleagues)
    @blp.obeys(erasure.erase)
    @blp.arguments(ErasureInputSchema)
    @blp.response(200, ErasureSchema)
    def post(self, user: User, values: dict[str, Any]) -> Erasure:
        """Forget a person for ever: oneself, with one's password, or for an admin anybody.

        What is in the way is listed: loans, holds, money, orders, people they answer for. Afterwards only lines of
        the ledger and of the audit are left, under a number that leads to nobody.
        """
        erasure.require_privacy(actor(), user)
        if user.id == actor().id:
            # The order of locks: two admins who leave at once would wait for one another.
            users.lock_colleagues(db.session, user.id)
            proofs.require(g.proof)
        return erasure.erase(db.session, actor(), user, g.real_now)

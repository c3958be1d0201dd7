"""The house itself: what it is, how it says no, whether it is well."""

import shutil
from typing import Any

import marshmallow as ma
from flask import current_app
from flask.views import MethodView

from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.errors import Problem
from library.config import VERSION
from library.database import schema_is_at_head
from library.extensions import db, migrations_folder, storage
from library.rules.access import ANYONE
from library.rules.errors import Refusal, Severity

blp = Blueprint("library", "library", "The house")
LEAST_DISK = 50 * 1024 * 1024


class LibrarySchema(ma.Schema):
    """What a client should know before anybody signs in."""

    example = {"name": "Library", "version": VERSION, "currency": "EUR", "open_catalogue": False, "sandbox": False}

    name = ma.fields.String(metadata={"description": "Name of the library."})
    version = ma.fields.String(metadata={"description": "Version of the software."})
    currency = ma.fields.String(metadata={"description": "Currency of all cents, ISO 4217."})
    open_catalogue = ma.fields.Boolean(metadata={"description": "Whether the catalogue is read without a token."})
    self_registration = ma.fields.Boolean(metadata={"description": "Whether people may register themselves."})
    email_verification = ma.fields.Boolean(
        metadata={"description": "Whether who registers must prove the address with the token of a mail."}
    )
    self_checkout = ma.fields.Boolean(metadata={"description": "Whether patrons lend to themselves."})
    sandbox = ma.fields.Boolean(metadata={"description": "Whether a call may name its own moment: for trials only."})


class RefusalSchema(ma.Schema):
    """One reason for which an action may be refused."""

    example: dict[str, Any] = {
        "code": "item_not_found",
        "detail": "There is no copy with this barcode.",
        "severity": "block",
        "permission": None,
        "parameters": [],
    }

    code = ma.fields.String(metadata={"description": "Stable code."})
    detail = ma.fields.String(metadata={"description": "A sentence for people."})
    severity = ma.fields.String(
        metadata={"enum": [grade.value for grade in Severity], "description": "How hard it is."}
    )
    permission = ma.fields.String(allow_none=True, metadata={"description": "What letting it pass needs."})
    parameters = ma.fields.List(ma.fields.String(), metadata={"description": "Names of what `params` holds."})


class HealthSchema(ma.Schema):
    """Whether the service is well."""

    status = ma.fields.String(
        metadata={"enum": ["ok", "degraded"], "description": "`degraded`: Redis is lost, the service goes on without."}
    )


@blp.route("/library")
class Library(MethodView):
    @blp.allow(ANYONE, own_transaction=True)
    @blp.operation("get_library")
    @blp.response(200, LibrarySchema)
    def get(self) -> dict[str, Any]:
        """What this library is."""
        settings = current_app.config
        return {
            "name": settings["NAME"],
            "version": VERSION,
            "currency": settings["CURRENCY"],
            "open_catalogue": settings["PUBLIC_CATALOGUE"],
            "self_registration": settings["SELF_REGISTRATION"],
            "email_verification": settings["REQUIRE_EMAIL_VERIFICATION"],
            "self_checkout": settings["SELF_CHECKOUT"],
            "sandbox": settings["SANDBOX_CLOCK"],
        }


@blp.route("/refusals")
class Refusals(MethodView):
    @blp.allow(ANYONE, own_transaction=True)
    @blp.operation("list_refusals")
    @blp.response(200, RefusalSchema(many=True))
    def get(self) -> list[dict[str, Any]]:
        """Every reason for which an action may be refused."""
        return [
            {
                "code": refusal.code,
                "detail": refusal.sentence(),
                "severity": refusal.severity.value,
                "permission": refusal.permission,
                "parameters": list(refusal.parameters),
            }
            for refusal in Refusal.catalogue.values()
        ]


@blp.route("/health/live")
class Live(MethodView):
    @blp.allow(ANYONE, own_transaction=True, limited=False)
    @blp.operation("health_live")
    @blp.response(200, HealthSchema)
    def get(self) -> dict[str, str]:
        """Whether the process answers; it touches nothing."""
        return {"status": "ok"}


@blp.route("/health/ready")
class Ready(MethodView):
    @blp.allow(ANYONE, limited=False)
    @blp.operation("health_ready")
    @blp.response(200, HealthSchema)
    def get(self) -> dict[str, str]:
        """Whether the database answers, has today's tables, and has room."""
        if not schema_is_at_head(db.session.connection(), migrations_folder()):
            raise Problem(
                503, "The database is not at the newest migration: run flask db upgrade.", headers={"Retry-After": "10"}
            )
        if shutil.disk_usage(current_app.instance_path).free < LEAST_DISK:
            raise Problem(503, "The disk is full.", headers={"Retry-After": "60"})
        return {"status": "ok" if storage(current_app).answers else "degraded"}

"""A good call of every operation, by whoever may make it, and the same call with another key in it."""

import io
import json
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from authz_world import NOBODY, PASSWORD, World
from documented import DocumentedClient, document_of
from flask import Flask
from werkzeug.test import TestResponse

SURPRISE = {"surprise": 1}
KEY = re.compile(r"\{(\w+)\}")
Body = Callable[[World, dict[str, Any]], Any]


@dataclass
class Call:
    """What is sent."""

    method: str
    path: str
    keys: dict[str, Any]
    query: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    form: dict[str, Any] | None = None

    @property
    def changes(self) -> bool:
        """Whether anything is another afterwards, if it succeeds."""
        return self.method != "GET" and not self.path.endswith("/preview")

    def send(self, client: DocumentedClient, held: bool = False) -> TestResponse:
        """Send it; `held`: to a version, where that need not be."""
        address = KEY.sub(lambda found: str(self.keys[found[1]]), self.path)
        sent: dict[str, Any] = {} if self.body is None else {"json": self.body}
        if self.form is not None:
            sent = {"data": dict(self.form), "content_type": "multipart/form-data"}
        headers = {"If-Match": "*"} if held or self.method in ("PUT", "PATCH", "DELETE") else {}
        return client.open(address, method=self.method, query_string=self.query, headers=headers, **sent)

    def spoilt(self) -> "Call":
        """The same with a body that does not fit; of what has no body, with such a query."""
        bad = deepcopy(self) if self.form is None else Call(self.method, self.path, self.keys, form=dict(SURPRISE))
        if bad.body is not None:
            bad.body = SURPRISE
        elif bad.form is None:
            bad.query = bad.query | SURPRISE
        return bad

    def naming(self, place: str, name: str, value: Any) -> "Call":
        """The same with another value in path, query or body."""
        other = deepcopy(self)
        if place == "path":
            other.keys[name] = value
        elif place == "query":
            other.query[name] = value
        else:
            other.body[name] = [value] if name.endswith("_ids") and not isinstance(value, list) else value
        return other


def operations(app: Flask) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(path, method, operation) of everything the document describes."""
    for path, methods in document_of(app)["paths"].items():
        for method, operation in methods.items():
            if isinstance(operation, dict) and "responses" in operation:
                yield path, method, operation


def calls_of(app: Flask) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """operationId → (path, method, operation)."""
    return {operation["operationId"]: (path, method, operation) for path, method, operation in operations(app)}


def good_call(world: World, name: str, actor: str) -> Call:
    """A call of an operation that succeeds for whoever may make it; about the patron, who is the actor where one is."""
    path, method, operation = calls_of(world.app)[name]
    base = name.removeprefix("preview_")
    mine = world.keys | world.of["patron"]
    if method == "delete":
        # What nothing refers to.
        *_, last = KEY.findall(path)
        mine[last] = mine.get(f"unused_{last}", mine[last])
    # Whom the call is about is the patron; who makes it may be somebody else.
    mine |= {"actor": world.of.get(actor, world.of["patron"]), "refresh": world.refresh.get(actor)}
    mine |= KEYS.get(base, lambda _: {})(mine)
    keys = {key: mine[key] for key in KEY.findall(path)}
    if base == "create_import":
        roster = io.BytesIO(b"title,year\nMoby-Dick,1851\n")
        form = {"file": (roster, "books.csv"), "kind": "books", "format": "csv"}
        return Call("POST", path, keys, form=form)
    query = QUERIES.get(base, lambda *_: {})(world, mine)
    has_body = "application/json" in operation.get("requestBody", {}).get("content", {})
    return Call(method.upper(), path, keys, query, BODIES[base](world, mine) if has_body else None)


def speaker(name: str, actor: str) -> str:
    """Who makes a call in the place of an actor: a patron who has something is not erased."""
    return "leaver" if (name.removeprefix("preview_"), actor) == ("erase_user", "patron") else actor


KEYS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "resolve_claim": lambda mine: {"loan_id": mine["claimed_loan_id"]},
    "end_session": lambda mine: {"session_id": mine["actor"]["session_id"]},
    "get_api_key": lambda mine: {"api_key_id": mine["actor"]["api_key_id"]},
    "delete_api_key": lambda mine: {"api_key_id": mine["actor"]["api_key_id"]},
    # Whom nothing holds.
    "erase_user": lambda mine: {"user_id": mine["leaver_id"]},
    "get_queue": lambda mine: {"book_id": mine["held_book_id"]},
    "reorder_queue": lambda mine: {"book_id": mine["held_book_id"]},
    # What was never lent, and what belongs to nobody in particular.
    "get_copy": lambda mine: {"copy_id": mine["unused_copy_id"]},
    "mark_copy": lambda mine: {"copy_id": mine["unused_copy_id"]},
}

QUERIES: dict[str, Body] = {
    "get_availability": lambda world, mine: {"ids": mine["book_id"]},
    "list_open_days": lambda world, mine: {"from_on": "2026-05-01", "to_on": "2026-05-07"},
    "get_summary_by_card": lambda world, mine: {"card_barcode": mine["card_barcode"]},
}


def _hours(world: World, mine: dict[str, Any]) -> dict[str, Any]:
    return {"name": "Harbour", "hours": [{"weekday": 1, "opens": "09:00", "closes": "17:00"}]}


def _soon(world: World, mine: dict[str, Any]) -> str:
    return (world.now + timedelta(days=20)).isoformat()


def _name(name: str) -> Body:
    return lambda world, mine: {"name": name}


def _book(world: World, mine: dict[str, Any]) -> dict[str, Any]:
    about = {"contributors": [{"author_id": mine["author_id"]}], "subject_ids": [mine["subject_id"]]}
    return {"title": "Typee", "identifiers": [{"scheme": "other", "value": "x"}]} | about


def _line(world: World, mine: dict[str, Any]) -> dict[str, Any]:
    return {"note": "Please.", "lines": [{"book_id": mine["book_id"], "quantity": 1}]}


def _policy(world: World, mine: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "max_loans", "value": 50, "patron_category_id": mine["patron_category_id"]}


def _nothing(world: World, mine: dict[str, Any]) -> dict[str, Any]:
    return {}


BODIES: dict[str, Body] = {
    "register": lambda world, mine: {"username": "new", "email": "new@example.org", "password": PASSWORD},
    "log_in": lambda world, mine: {"email": mine["actor"]["email"], "password": PASSWORD},
    "refresh": lambda world, mine: {"refresh_token": mine["refresh"] or world.refresh["patron"]},
    "change_password": lambda world, mine: {"old_password": PASSWORD, "new_password": "wide river under ice"},
    "request_password_reset": lambda world, mine: {"email": mine["email"]},
    "redeem_password_reset": lambda world, mine: {"token": mine["password_reset"], "password": "wide river under ice"},
    "verify_email": lambda world, mine: {"token": mine["email_verification"]},
    "create_api_key": lambda world, mine: {"name": "Web site", "scopes": ["catalogue.read"], "password": PASSWORD},
    "erase_user": lambda world, mine: {"password": PASSWORD},
    "patch_me": lambda world, mine: {"phone": "1"},
    "create_user": lambda world, mine: {"first_name": "Jane"},
    "replace_user": lambda world, mine: {"first_name": "Jane"},
    "patch_user": lambda world, mine: {"first_name": "Jane"},
    "create_block": lambda world, mine: {"reason": "Noise."},
    "patch_block": lambda world, mine: {"reason": "More noise."},
    "create_patron_category": _name("Children"),
    "replace_patron_category": _name("Children"),
    "patch_patron_category": _name("Children"),
    "create_author": _name("Melville, Herman"),
    "replace_author": _name("Melville, Herman"),
    "patch_author": _name("Melville, Herman"),
    "create_subject": _name("Whales"),
    "replace_subject": _name("Whales"),
    "patch_subject": _name("Whales"),
    "create_book": _book,
    "replace_book": _book,
    "patch_book": _book,
    "reorder_queue": lambda world, mine: {"hold_ids": [mine["hold_id"]]},
    "create_branch": _hours,
    "replace_branch": _hours,
    "patch_branch": _hours,
    "create_calendar_exception": lambda world, mine: {"from_on": "2026-12-24", "to_on": "2026-12-26"},
    "patch_calendar_exception": lambda world, mine: {"reason": "Heating"},
    "create_item_type": _name("Films"),
    "replace_item_type": _name("Films"),
    "patch_item_type": _name("Films"),
    "create_copy": lambda world, mine: {"book_id": mine["book_id"], "home_branch_id": mine["branch_id"]},
    "patch_copy": lambda world, mine: {"shelf_mark": "PS 2384"},
    "mark_copy": lambda world, mine: {"as": "damaged", "reason": "Coffee."},
    "create_policy": _policy,
    "replace_policy": _policy,
    "create_transfer_limit": lambda world, mine: {
        "from_branch_id": mine["branch_id"],
        "to_branch_id": mine["new_branch_id"],
    },
    "check_out": lambda world, mine: {"copy_barcode": mine["free_barcode"], "patron_barcode": mine["card_barcode"]},
    "check_in": lambda world, mine: {"copy_barcode": mine["copy_barcode"]},
    "change_due_date": lambda world, mine: {"due_at": _soon(world, mine), "reason": "A thick one."},
    "move_due_dates": lambda world, mine: {
        "branch_id": mine["branch_id"],
        "from_on": "2026-12-24",
        "to_on": "2026-12-31",
        "reason": "Heating",
    },
    "renew": _nothing,
    "renew_many": lambda world, mine: {"patron_id": mine["patron_id"], "loan_ids": mine["loan_ids"]},
    "declare_lost": lambda world, mine: {"replacement_cents": 2500},
    "claim_returned": lambda world, mine: {"note": "In the book drop."},
    "resolve_claim": lambda world, mine: {"outcome": "missing"},
    "place_hold": lambda world, mine: {"book_id": mine["wanted_book_id"], "patron_id": mine["patron_id"]},
    "patch_hold": lambda world, mine: {"suspended": True},
    "cancel_hold": lambda world, mine: {"reason": "Bought it."},
    "suspend_holds": lambda world, mine: {"patron_id": mine["patron_id"]},
    "resume_holds": lambda world, mine: {"patron_id": mine["patron_id"]},
    "create_charge": lambda world, mine: {
        "patron_id": mine["patron_id"],
        "amount_cents": 250,
        "loan_id": mine["loan_id"],
    },
    "pay": lambda world, mine: {"patron_id": mine["patron_id"], "amount_cents": 100, "method": "cash"},
    "waive": lambda world, mine: {"charge_id": mine["charge_id"], "reason": "The flood."},
    "refund": lambda world, mine: {"charge_id": mine["paid_charge_id"], "amount_cents": 100, "method": "cash"},
    "reverse": lambda world, mine: {"entry_id": mine["charge_id"], "reason": "A mistake."},
    "create_order": _line,
    "patch_order": _line,
    "start_job": lambda world, mine: {"kind": "nightly"},
}


def schema_of(app: Flask, operation: dict[str, Any]) -> dict[str, Any]:
    """The schema of an operation's body; empty where it has none."""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        return resolved(app, content["schema"])
    return {}


def resolved(app: Flask, schema: dict[str, Any]) -> dict[str, Any]:
    """A schema itself, whether it stands there or is named."""
    if "$ref" not in schema:
        return schema
    return json.loads(json.dumps(document_of(app)["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]))


# --- What names things --------------------------------------------------------------------------

NAMING = re.compile(r"(\w+_ids?|ids|\w*barcode)")


def naming_parameters(app: Flask) -> Iterator[tuple[str, str, str]]:
    """(operationId, path, query or body, name) of each parameter and member that names a thing."""
    for path, _, operation in operations(app):
        shared = document_of(app)["paths"][path].get("parameters", [])
        for parameter in [*shared, *operation.get("parameters", [])]:
            if parameter.get("in") in ("path", "query") and NAMING.fullmatch(parameter["name"]):
                yield operation["operationId"], parameter["in"], parameter["name"]
        for member in schema_of(app, operation).get("properties", {}):
            if NAMING.fullmatch(member):
                yield operation["operationId"], "body", member


def thing(world: World, row: dict[str, str], call: Call, whose: str) -> Any:
    """The key of the patron's own thing, of the other's, or of nothing.

    Where the table names no other thing, the patron's is the one the good call names.
    """
    if whose == "none":
        return "NOBODY" if row["name"].endswith("barcode") else NOBODY
    name = row["thing"] or row["name"]
    if whose == "own" and row["place"] == "path":
        return call.keys[row["name"]]
    found = world.of["patron" if whose == "own" else "other"]
    return found[name] if name in found else world.keys[name]


Wrap = Callable[[dict[str, Any]], Any]


def objects_of(app: Flask, schema: dict[str, Any], where: str = "") -> Iterator[tuple[str, set[str], Wrap]]:
    """Each object of a body: where it stands, which members it has, and a body with such an object in that place."""
    yield where, set(schema.get("properties", {})), lambda found: found
    for name, inner in schema.get("properties", {}).items():
        is_list = inner.get("type") == "array"
        part = resolved(app, inner["items"] if is_list else inner)
        if "properties" in part:
            for place, known, wrap in objects_of(app, part, f"{where}/{name}" + ("/0" if is_list else "")):
                yield place, known, _inside(name, is_list, wrap)


def _inside(name: str, is_list: bool, wrap: Wrap) -> Wrap:
    return lambda found: {name: [wrap(found)] if is_list else wrap(found)}

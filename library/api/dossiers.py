"""The shape of a dossier: one schema for each table that holds something about a person, made of its columns."""

from typing import Any

import marshmallow as ma
from sqlalchemy import JSON, Boolean, Column, Date, Enum, Integer, String

from library.api.ledger import ChargeStepSchema
from library.api.loans import DueStepSchema
from library.api.plumbing.fields import Choice, Day, Flag, Id, ListOf, MomentField, Nested, Whole
from library.api.plumbing.schemas import LONGEST_TEXT
from library.api.plumbing.texts import Lines, Text
from library.models import Moment
from library.rules import dossiers
from library.rules.dossiers import Part

STEPS: dict[str, type[ma.Schema]] = {"loans": DueStepSchema, "account_entries": ChargeStepSchema}
# Of columns whose models say nothing, because nothing else shows them; and of what is told along.
SAID = {
    "address": "The address; of a mail only where no account has it.",
    "allocations": "How much of which charge is settled by what.",
    "api_key_id": "The API key that was used.",
    "call": "Method and path of a call that may be repeated under its key.",
    "closing_noted_at": "When a return that was dated back was scanned.",
    "copy_barcode": "Barcode of the copy.",
    "created_at": "When it was made.",
    "due_steps": "How the due date came about.",
    "ended_at": "When it ended before its time; null where it did not.",
    "expires_at": "When it ends by itself.",
    "fined_until_at": "Until when a fine was charged or forgiven.",
    "guarantor_id": "Key of the account that answers for this one.",
    "job_id": "Key of the import that read the line.",
    "key": "The key that the call was given.",
    "kind": "What the mail says.",
    "next_try_at": "When it will be sent, or tried again.",
    "object_id": "The number of what it was tried on.",
    "purpose": "What the token is good for.",
    "request_id": "The request, as the logs name it.",
    "rotated_at": "When the session was last prolonged.",
    "sent_at": "When it was sent.",
    "started_at": "When the session began.",
    "steps": "How a fine came about, line by line.",
    "title": "Title of the book.",
    "tries": "How often it was tried.",
}
EXAMPLES = {
    "action": "patch_me",
    "call": "POST /holds",
    "card_barcode": "P0001",
    "codes": "patron_expired",
    "code": "patron_expired",
    "copy_barcode": "B00006",
    "key": "5f0c3a7e",
    "members": "phone",
    "name": "Opening hours screen",
    "prefix": "lib_4fQx",
    "reason": "The card was renewed by letter.",
    "reference": "P0001",
    "scopes": "catalogue.read",
    "time_zone": "Europe/Berlin",
    "title": "Moby-Dick",
    "username": "patron",
}
TOLD = {
    "account": "The account itself, with the note that staff keep.",
    "sessions": "Where the person is, or lately was, signed in.",
    "api_keys": "Keys for programs that act for the account.",
    "one_time_tokens": "Tokens that were sent by mail.",
    "mails": "Mails that wait or were sent.",
    "blocks": "What staff bar the person from, and why.",
    "loans": "Loans that still lead to the person.",
    "renewals": "Renewals of these loans.",
    "due_changes": "Due dates of these loans that staff changed, and why.",
    "overrides": "What staff let pass for these loans and holds, and why.",
    "holds": "Holds that still lead to the person.",
    "account_entries": "Lines of the ledger.",
    "allocations": "How much of which charge is settled by what.",
    "charge_loans": "Which loan a charge came from.",
    "notices": "What the person was told.",
    "orders": "Orders the person wrote.",
    "order_lines": "Lines of these orders.",
    "roster_lines": "Lines of patron lists that became, or were known as, the person, or name their card.",
    "repeatable_calls": "Calls of the last day that may be repeated under a key.",
    "audit_events": "What the person did, and what was done to the account.",
}


def schema_of(name: str, part: Part) -> type[ma.Schema]:
    """The schema of the rows of a part, one member a column."""
    columns: Any = part.table.__table__.columns
    fields = {column: _field(name, columns[column]) for column in part.columns}
    fields |= {member: _text(2000, False, member) for member in part.along}
    title = "".join(word.capitalize() for word in name.split("_"))
    members = {"__doc__": TOLD[name], "noun": part.table, **fields}
    return type(f"Told{title}Schema", (ma.Schema,), members)


def _field(part: str, column: Column[Any]) -> Any:
    name, kind = column.name, column.type
    told: dict[str, Any] = {"dump_only": True, "allow_none": bool(column.nullable)}
    said = column.doc or SAID.get(name)
    metadata: dict[str, Any] = {"metadata": {"description": said}} if said else {}
    if isinstance(kind, JSON):
        word = Text(100, metadata={"example": EXAMPLES.get(name)})
        inner: Any = Nested(STEPS[part]) if part in STEPS else word
        return ListOf(inner, **told, **metadata)
    if isinstance(kind, Enum):
        return Choice(kind.enum_class, **told, **metadata)  # type: ignore[arg-type]
    if isinstance(kind, String):
        return _text(kind.length or LONGEST_TEXT, bool(column.nullable), name, column.doc)
    kinds: dict[type[Any], Any] = {Boolean: Flag, Date: Day, Moment: MomentField, Integer: Whole}
    if name == "id" or name.endswith("_id"):
        return Id(**told, **metadata)
    return next(field(**told, **metadata) for sort, field in kinds.items() if isinstance(kind, sort))


def _text(length: int, nullable: bool, name: str, doc: str | None = None) -> Lines:
    told = {"description": doc or SAID.get(name)} | ({} if nullable else {"example": EXAMPLES[name]})
    return Lines(length, 0, dump_only=True, allow_none=nullable, metadata=told)


def _dossier() -> type[ma.Schema]:
    parts = dossiers.parts_of(0)
    shapes = {name: schema_of(name, part) for name, part in parts.items()}
    members: dict[str, Any] = {"exported_at": MomentField(metadata={"description": "When this was put together."})}
    for name, shape in shapes.items():
        whole = name != "account"
        members[name] = Nested(shape, many=whole, metadata={"description": TOLD[name]})
    return type("DossierSchema", (ma.Schema,), {"__doc__": "All that the library holds about one person.", **members})


DossierSchema = _dossier()

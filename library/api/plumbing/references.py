"""A key in, an object out: fields that name other records."""

import re
from typing import Any

import marshmallow as ma
from flask import g
from sqlalchemy import select

from library.api.plumbing.fields import WHOLE, Fault, Id
from library.extensions import db
from library.models import Base
from library.rules import access


class Ref(Id):
    """The number of another record; what the view gets is the record itself, under the name without `_id`."""

    def __init__(self, table: type[Base], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.table = table

    def _bind_to_schema(self, field_name: str, parent: Any) -> None:
        super()._bind_to_schema(field_name, parent)
        self.attribute = field_name.removesuffix("_id")

    def get_value(self, obj: Any, attr: str, accessor: Any = None, default: Any = None) -> Any:
        return getattr(obj, attr)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        key = super()._deserialize(value, attr, data, **kwargs)
        statement = access.visible(select(self.table).where(self.table.id == key), self.table, g.actor)
        row = db.session.scalars(statement).one_or_none()
        if row is None:
            noun = re.sub(r"(?<!^)(?=[A-Z])", " ", self.table.__name__).lower()
            code = f"{noun.replace(' ', '_')}_not_found"
            raise ma.ValidationError(Fault(f"There is no such {noun}.", code))
        return row


class QueryRef(Ref):
    """A record's number in a query string; the view gets the number, under the same name."""

    def _bind_to_schema(self, field_name: str, parent: Any) -> None:
        super()._bind_to_schema(field_name, parent)
        self.attribute = field_name

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if not isinstance(value, str) or not WHOLE.match(value):
            raise self.make_error("type", expected="a whole number")
        return super()._deserialize(int(value), attr, data, **kwargs).id

"""Schemas in SQL: what can be put so, over tables that show what the library's own do not, and why what cannot."""

from typing import Any

import marshmallow as ma
import pytest
from sqlalchemy import ForeignKey, Integer, Text, func, select
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column, relationship

from library.api.plumbing.rendering import dump_json
from library.api.plumbing.sql_json import MOST_MEMBERS, NotInSql, rendering_of


@pytest.fixture
def houses(session) -> Any:
    """The session, with tables that are gone with it."""
    Model.metadata.create_all(session.connection())
    yield session
    session.rollback()


def why_not(schema: ma.Schema) -> str | None:
    try:
        rendering_of(schema)
    except NotInSql as reason:
        return str(reason)
    return None


class Model(DeclarativeBase):
    """Tables that show what the library's own do not."""


class House(Model):
    __tablename__ = "houses"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    street_id: Mapped[int] = mapped_column(ForeignKey("streets.id"))
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("owners.id"))
    rooms: Mapped[list["Room"]] = relationship(order_by="Room.floor.desc()")
    street: Mapped["Street"] = relationship()
    owner: Mapped["Owner | None"] = relationship()
    large_rooms: Mapped[list["Room"]] = relationship(
        primaryjoin="and_(Room.house_id == House.id, Room.floor > 3)", viewonly=True
    )

    @hybrid_property
    def length(self) -> int:
        return len(self.name)

    @length.inplace.expression
    @classmethod
    def _length(cls) -> Any:
        return func.length(cls.name, type_=Integer())

    @hybrid_property
    def shouted(self) -> str:
        return self.name.upper()

    @property
    def whispered(self) -> str:
        return self.name.lower()


class Street(Model):
    __tablename__ = "streets"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    town_id: Mapped[int] = mapped_column(ForeignKey("towns.id"))
    town: Mapped["Town"] = relationship()


class Town(Model):
    __tablename__ = "towns"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Owner(Model):
    __tablename__ = "owners"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Room(Model):
    __tablename__ = "rooms"

    id: Mapped[int] = mapped_column(primary_key=True)
    house_id: Mapped[int] = mapped_column(ForeignKey("houses.id"))
    floor: Mapped[int]
    house: Mapped["House"] = relationship(overlaps="rooms,large_rooms")
    chairs: Mapped[list["Chair"]] = relationship()
    house_name: Mapped[str] = column_property(
        select(House.name).where(House.id == house_id).correlate_except(House).scalar_subquery()
    )


class Chair(Model):
    __tablename__ = "chairs"

    id: Mapped[int] = mapped_column(primary_key=True)
    room_id: Mapped[int] = mapped_column(ForeignKey("rooms.id"))
    legs: Mapped[int]


class ChairSchema(ma.Schema):
    legs = ma.fields.Integer()


class RoomSchema(ma.Schema):
    floor = ma.fields.Integer(data_key="level")
    of = ma.fields.String(attribute="house_name")
    town = ma.fields.String(attribute="house.street.town.name")
    chairs = ma.fields.List(ma.fields.Nested(ChairSchema))


class HouseSchema(ma.Schema):
    class Meta:
        model = House

    length = ma.fields.Integer()
    street = ma.fields.String(attribute="street.name")
    town = ma.fields.String(attribute="street.town.name")
    rooms = ma.fields.Nested(RoomSchema, many=True)
    owner = ma.fields.Nested(lambda: OwnerSchema())
    name = ma.fields.String()


class OwnerSchema(ma.Schema):
    name = ma.fields.String()


def test_paths_parts_of_parts_and_what_is_computed(houses):
    town = Town(name="Würzburg")
    rooms = [Room(floor=1, chairs=[Chair(legs=4), Chair(legs=3)]), Room(floor=2)]
    corner = House(name="Corner", street=Street(name="Main", town=town), owner=Owner(name="Ann"), rooms=rooms)
    houses.add_all([corner, House(name="Bare", street=Street(name="Side", town=town))])
    houses.flush()
    houses.expire_all()
    texts = houses.scalars(rendering_of(HouseSchema()).select().order_by(House.id)).all()
    rows = houses.scalars(select(House).order_by(House.id)).all()
    assert [one.encode() for one in texts] == [dump_json(HouseSchema().dump(row)) for row in rows]
    assert texts[1] == '{"length":4,"street":"Side","town":"Würzburg","rooms":[],"owner":null,"name":"Bare"}'
    assert '"rooms":[{"level":2,"of":"Corner","town":"Würzburg","chairs":[]},{"level":1,' in texts[0]


def over_houses(schema: type[ma.Schema] = ma.Schema, **members: Any) -> ma.Schema:
    return type("PlanSchema", (schema,), members | {"Meta": type("Meta", (), {"model": House})})()


class Loud(ma.fields.String):
    """Written in SQL too."""

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return value.upper()

    def in_sql(self, column: Any) -> Any:
        return func.upper(column, type_=Text())


class Louder(Loud):
    """In Python alone: what its parent does in SQL is no longer the same."""

    def _serialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return f"{value.upper()}!"


class Found(ma.fields.String):
    def get_value(self, *args: Any, **kwargs: Any) -> Any:
        return "somewhere"


class Whole(ma.fields.Integer):
    def serialize(self, *args: Any, **kwargs: Any) -> Any:
        return 1


class Prepared(ma.Schema):
    @ma.pre_dump
    def prepare(self, data: Any, **_: Any) -> Any:
        return data


class Finished(ma.Schema):
    @ma.post_dump
    def finish(self, data: Any, **_: Any) -> Any:
        return data


class Looking(ma.Schema):
    def get_attribute(self, *args: Any) -> Any:
        return super().get_attribute(*args)


class Endless(ma.Schema):
    rooms = ma.fields.List(ma.fields.Nested(lambda: EndlessRoom()))


class EndlessRoom(ma.Schema):
    house = ma.fields.Nested(Endless)


String, NestedIn = ma.fields.String, ma.fields.Nested


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (over_houses(name=ma.fields.Function(lambda _: "x")), "PlanSchema.name writes itself in Python"),
        (over_houses(name=ma.fields.Method("dumps")), "PlanSchema.name writes itself in Python"),
        (over_houses(name=ma.fields.Constant("x")), "PlanSchema.name writes itself in Python"),
        (over_houses(name=Louder()), "PlanSchema.name writes itself in Python"),
        (over_houses(id=Whole()), "PlanSchema.id writes itself in Python"),
        (over_houses(name=Found()), "PlanSchema.name finds its value in Python"),
        (over_houses(whispered=String()), "PlanSchema.whispered is no column"),
        (over_houses(shouted=String()), "PlanSchema.shouted is computed in Python"),
        (over_houses(nowhere=String()), "PlanSchema.nowhere is no column"),
        (over_houses(rooms=String()), "PlanSchema.rooms is no column"),
        (over_houses(name=ma.fields.List(String())), "PlanSchema.name lists values of a column"),
        (over_houses(o=String(attribute="owner.name")), "PlanSchema.o goes by owner, which may lead nowhere"),
        (over_houses(o=String(attribute="rooms.floor")), "PlanSchema.o goes by rooms, which may lead nowhere"),
        (
            over_houses(name=NestedIn(OwnerSchema)),
            "PlanSchema.name is kept in a column or made in Python, and no relation",
        ),
        (
            over_houses(owner=NestedIn(OwnerSchema, many=True)),
            "PlanSchema.owner is a list of one thing, or one of a list",
        ),
        (over_houses(rooms=NestedIn(RoomSchema)), "PlanSchema.rooms is a list of one thing, or one of a list"),
        (over_houses(owner=ma.fields.Pluck(OwnerSchema, "name")), "PlanSchema.owner writes itself in Python"),
        (
            over_houses(large_rooms=NestedIn(RoomSchema, many=True)),
            "PlanSchema.large_rooms is related by more than a key",
        ),
        (over_houses(id=String()), "PlanSchema.id is kept in a column of Integer, which SQL writes otherwise"),
        (over_houses(id=ma.fields.Float()), "PlanSchema.id is kept in a column of Integer, which SQL writes otherwise"),
        (
            over_houses(id=ma.fields.Integer(as_string=True)),
            "PlanSchema.id is kept in a column of Integer, which SQL writes otherwise",
        ),
        (over_houses(name=String(data_key="the name")), "PlanSchema.the name is no plain name"),
        (over_houses(Prepared, name=String()), "PlanSchema is prepared in Python by prepare"),
        (over_houses(Finished, name=String()), "PlanSchema is prepared in Python by finish"),
        (over_houses(Looking, name=String()), "PlanSchema has its own get_attribute"),
        (over_houses(rooms=NestedIn(EndlessRoom, many=True)), "EndlessRoom holds itself"),
        (ChairSchema(), "ChairSchema shows no row of one table"),
        (
            over_houses(**{f"name_{number}": String() for number in range(MOST_MEMBERS + 1)}),
            "PlanSchema has more than 50 members",
        ),
    ],
)
def test_what_python_does_is_left_to_python(schema, why):
    assert why_not(schema) == why


def test_a_field_may_say_itself_in_sql(houses):
    houses.add(House(name="Corner", street=Street(name="Main", town=Town(name="Here"))))
    houses.flush()
    assert houses.scalar(rendering_of(over_houses(name=Loud())).select()) == '{"name":"CORNER"}'

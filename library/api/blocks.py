"""Blocks: what staff bar a patron from, and why."""

from typing import Any

from flask import g
from flask.views import MethodView
from marshmallow_sqlalchemy import auto_field
from sqlalchemy import Select

from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.fields import Id
from library.api.plumbing.gate import actor
from library.api.plumbing.schemas import Schema, input_of, patch_of, shown
from library.extensions import db
from library.models import PatronBlock, User
from library.rules import blocks

blp = Blueprint("blocks", "block", "People")


class BlockSchema(Schema):
    """What a patron is barred from, until when and why."""

    class Meta(Schema.Meta):
        model = PatronBlock

    example = {"scope": "loans", "until_on": "2035-12-31", "reason": "Damaged three films."}
    id = shown()
    user_id = Id(dump_only=True)
    scope = auto_field()
    until_on = auto_field()
    reason = auto_field()
    created_at = shown()
    created_by_id = Id(dump_only=True, allow_none=True, metadata={"description": "Who laid it."})


BlockInputSchema, BlockPatchSchema = input_of(BlockSchema), patch_of(BlockSchema)


@blp.route("/users/<id:user_id>/blocks", examples={"user_id": 14})
class Blocks(MethodView):
    @blp.allow("blocks.write")
    @blp.finds(User)
    @blp.lists(BlockSchema, blocks.BLOCK_SORTS)
    def get(self, user: User) -> Select[Any]:
        """List the blocks of a user."""
        return blocks.find_blocks(user)

    @blp.allow("blocks.write")
    @blp.finds(User)
    @blp.obeys(blocks.create)
    @blp.arguments(BlockInputSchema)
    @blp.response(201, BlockSchema)
    def post(self, user: User, values: dict[str, Any]) -> PatronBlock:
        """Bar a user from loans, holds, renewals or all of them."""
        return blocks.create(db.session, actor(), user, values, g.now)


@blp.route("/users/<id:user_id>/blocks/<id:block_id>", examples={"user_id": 14})
class BlockById(MethodView):
    @blp.allow("blocks.write")
    @blp.finds_part(PatronBlock)
    @blp.response(200, BlockSchema)
    def get(self, block: PatronBlock) -> PatronBlock:
        """Read a block."""
        return block

    @blp.allow("blocks.write")
    @blp.finds_part(PatronBlock)
    @blp.obeys(blocks.change)
    @blp.arguments(BlockPatchSchema)
    @blp.response(200, BlockSchema)
    def patch(self, block: PatronBlock, values: dict[str, Any]) -> PatronBlock:
        """Change a block, or end it with a day that is past."""
        return blocks.change(db.session, actor(), block, values)

    @blp.allow("blocks.write")
    @blp.finds_part(PatronBlock)
    @blp.obeys(blocks.lift)
    @blp.response(204)
    def delete(self, block: PatronBlock) -> None:
        """Lift a block as if it had never been."""
        blocks.lift(db.session, actor(), block)

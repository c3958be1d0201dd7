"""`@blp.finds` with `first` and `version_of`: what is locked before the row, and which version counts."""

from typing import Any

import pytest
from flask.views import MethodView
from sqlalchemy import select
from sqlalchemy.orm import Session

from library.api.branches import BranchSchema
from library.api.plumbing.blueprint import Blueprint
from library.models import Book, Branch
from library.rules import locks

blp = Blueprint("wings", "wing", "Holdings")
asked: list[int] = []


def lock_a_queue(session: Session, key: int) -> None:
    asked.append(key)
    for book_id in session.scalars(select(Book.id)):
        locks.lock_queue(session, book_id)


@blp.route("/wings/<id:branch_id>")
class Wing(MethodView):
    @blp.allow("loans.read")
    @blp.finds(Branch, first=lock_a_queue)
    @blp.response(200, BranchSchema)
    def get(self, branch: Branch) -> Branch:
        """Read a wing."""
        return branch

    @blp.allow("loans.check_out")
    @blp.finds(Branch, first=lock_a_queue)
    @blp.response(204)
    def delete(self, branch: Branch) -> None:
        """Delete nothing."""

    @blp.allow("loans.check_out")
    @blp.finds(Branch, version_of=lambda _, branch: branch.id + 40)
    @blp.response(200, BranchSchema)
    def put(self, branch: Branch) -> Branch:
        """Replace nothing."""
        return branch


@pytest.fixture(scope="module")
def shared_app(migrated):
    app = migrated()
    app.extensions["flask-smorest"]["apis"][""]["ext_obj"].register_blueprint(blp)
    return app


@pytest.fixture
def tables(statements):
    """Call it for the tables of the locks on books and of the look for branches, as they came."""

    def named() -> list[str]:
        looks = [text for text in statements if text.startswith("SELECT") and "users" not in text]
        return ["books" if "FROM books" in text else "branches" for text in looks]

    return named


def test_a_change_locks_in_order(as_librarian, make, statements, tables):
    branch, _ = make.branch(), make.book()
    asked.clear()
    statements.clear()
    assert as_librarian.change(f"/wings/{branch.id}", "DELETE").status_code == 204
    assert asked == [branch.id]
    assert tables() == ["books", "books", "branches"]


def test_a_look_locks_nothing(as_librarian, make, statements, tables):
    branch, _ = make.branch(), make.book()
    asked.clear()
    statements.clear()
    assert as_librarian.get(f"/wings/{branch.id}").status_code == 200
    assert (asked, tables()) == ([], ["branches"])


def test_a_key_of_nothing_is_404_after_all(as_librarian):
    answers: list[Any] = [as_librarian.change("/wings/999", "DELETE"), as_librarian.get("/wings/999")]
    assert [answer.status_code for answer in answers] == [404, 404]


def test_the_version_may_be_that_of_something_on_the_row(as_librarian, make):
    branch = make.branch()
    path = f"/wings/{branch.id}"
    assert as_librarian.put(path).status_code == 428
    assert as_librarian.change(path, "PUT", f'"{branch.version}-x"').status_code == 412
    assert as_librarian.change(path, "PUT", f'"{branch.id + 40}-x"').status_code == 200

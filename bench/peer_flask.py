"""Flask as its guides show it: Flask-SQLAlchemy, rows that load their parts when looked at, `jsonify`, LIKE."""

import os
from datetime import date, datetime
from typing import Any

from flask import Flask, Response, abort, jsonify, request
from flask_jwt_extended import JWTManager, get_jwt, jwt_required
from flask_sqlalchemy import SQLAlchemy

from bench import desk, orm
from library.database import WRITES
from library.models import Base, Book, Copy, Loan, User

URL = os.environ.get("BENCH_DATABASE_URL", "sqlite://").replace("postgresql://", "postgresql+psycopg://")
IS_SQLITE = URL.startswith("sqlite")
COPY = "id barcode book_id home_branch_id current_branch_id transit_to_branch_id item_type_id place condition"
COPY += " condition_note shelf_mark price_cents not_for_loan check_note last_seen_at last_seen_branch_id created_at"
LOAN = "id copy_id book_id patron_id branch_id checked_out_at due_at due_on time_zone due_steps closed_at closed_as"
LOAN += " returned_branch_id renewals renewable running_fine_cents lost_at claimed_at claim_note"
USER = "id username email first_name last_name phone address birth_date language role active confirmed card_barcode"
USER += " expires_on patron_category_id home_branch_id history created_at"

app = Flask(__name__)
connect = {"isolation_level": None, "timeout": 5} if IS_SQLITE else {"options": "-c timezone=UTC"}
app.config["SQLALCHEMY_DATABASE_URI"] = URL
app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"connect_args": connect, "pool_size": 16}
app.config["JWT_SECRET_KEY"] = os.environ.get("BENCH_SECRET", "a key for who only imports this module")
app.config["JWT_DECODE_AUDIENCE"] = app.config["JWT_DECODE_ISSUER"] = "library"
app.json.sort_keys = False  # type: ignore[attr-defined]
db = SQLAlchemy(app, metadata=Base.metadata, session_options={"expire_on_commit": False})
jwt = JWTManager(app)


@jwt.invalid_token_loader
def unauthorized(_reason: str) -> tuple[Response, int]:
    return jsonify(status=401, code="unauthorized"), 401


@app.before_request
def begin() -> None:
    db.session.connection(execution_options={WRITES: request.method != "GET"})


@app.errorhandler(desk.Refused)
def refused(error: desk.Refused) -> tuple[Response, int]:
    return jsonify(error.problem), 409


def plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return desk.shown(value)
    return value.isoformat() if isinstance(value, date) else value


def to_dict(row: Any, names: str) -> dict[str, Any]:
    return {name: plain(getattr(row, name)) for name in names.split()}


def book_to_dict(book: Book) -> dict[str, Any]:
    return {
        **to_dict(book, "id material_type title subtitle"),
        "contributors": [
            {"author_id": link.author_id, "name": link.author.name, "dates": link.author.dates, "role": link.role}
            for link in book.contributions
        ],
        **to_dict(book, "publisher year year_text edition language pages series"),
        "subjects": [{"subject_id": link.subject_id, "name": link.subject.name} for link in book.subject_links],
        "description": book.description,
        "identifiers": [to_dict(row, "scheme value") for row in book.identifiers],
        **to_dict(book, "control_number created_at updated_at"),
    }


def loan_to_dict(loan: Loan) -> dict[str, Any]:
    return to_dict(loan, LOAN) | {"due_steps": desk.shown_steps(loan.due_steps)}


def current_user() -> User:
    user = orm.user_of(db.session, get_jwt())  # type: ignore[arg-type]
    return user or abort(401)


def librarian() -> User:
    user = current_user()
    return user if user.role in desk.STAFF else abort(403)


@app.get("/books")
def read_books() -> Response:
    query = db.select(Book).order_by(Book.id)
    if request.args.get("q"):
        query = query.where(Book.title.ilike(f"%{request.args['q']}%"))
    size = request.args.get("page_size", 10, type=int)
    page = db.paginate(query, page=request.args.get("page", 1, type=int), per_page=size, error_out=False)
    response = jsonify([book_to_dict(book) for book in page.items])
    response.headers["X-Total-Count"] = str(page.total)
    return response


@app.get("/books/<int:book_id>")
def read_book(book_id: int) -> Response:
    return jsonify(book_to_dict(db.get_or_404(Book, book_id)))


@app.get("/users/me")
@jwt_required()
def read_me() -> Response:
    return jsonify(to_dict(current_user(), USER))


@app.post("/loans")
@jwt_required()
def check_out() -> tuple[Response, int]:
    body = request.get_json()
    loan: Loan = orm.check_out(db.session, librarian(), body["copy_barcode"], body["patron_barcode"])  # type: ignore[arg-type]
    return jsonify(loan_to_dict(loan)), 201


@app.post("/check-ins")
@jwt_required()
def check_in() -> Response:
    body = request.get_json()
    answer = orm.check_in(db.session, librarian(), body["copy_barcode"])  # type: ignore[arg-type]
    copy: Copy = answer["copy"]
    return jsonify(answer | {"copy": to_dict(copy, COPY), "loan": loan_to_dict(answer["loan"])})

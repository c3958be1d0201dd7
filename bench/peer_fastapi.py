"""FastAPI with SQLAlchemy as its documentation recommends it: sync, pydantic response models, dependencies, JWT.

For SQLite; peer_fastapi_async.py has the same for PostgreSQL with `async`.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from fastapi.security import OAuth2PasswordBearer
from pydantic import AliasPath, BaseModel, ConfigDict, Field, PlainSerializer
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

# Its events make every SQLite connection as safe as the library's own.
import library.database
from bench import desk, orm
from library.database import WRITES
from library.models import Book, User

__all__ = ["app", "library"]
SECRET = os.environ.get("BENCH_SECRET", "")
# Whole seconds too are written with six digits; pydantic leaves them out.
Second = Annotated[datetime, PlainSerializer(desk.shown)]


class Shown(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class ContributorPublic(Shown):
    author_id: int
    name: str = Field(validation_alias=AliasPath("author", "name"))
    dates: str = Field(validation_alias=AliasPath("author", "dates"))
    role: str


class SubjectPublic(Shown):
    subject_id: int
    name: str = Field(validation_alias=AliasPath("subject", "name"))


class IdentifierPublic(Shown):
    scheme: str
    value: str


class BookPublic(Shown):
    id: int
    material_type: str
    title: str
    subtitle: str | None
    contributors: list[ContributorPublic] = Field(validation_alias="contributions")
    publisher: str | None
    year: int | None
    year_text: str | None
    edition: str | None
    language: str | None
    pages: int | None
    series: str | None
    subjects: list[SubjectPublic] = Field(validation_alias="subject_links")
    description: str | None
    identifiers: list[IdentifierPublic]
    control_number: str | None
    created_at: datetime
    updated_at: datetime


class UserPublic(Shown):
    id: int
    username: str
    email: str | None
    first_name: str | None
    last_name: str | None
    phone: str | None
    address: str | None
    birth_date: date | None
    language: str | None
    role: str
    active: bool
    confirmed: bool
    card_barcode: str
    expires_on: date | None
    patron_category_id: int | None
    home_branch_id: int | None
    history: str
    created_at: datetime


class DueStepPublic(BaseModel):
    step: str
    due_at: str
    due_on: str


class LoanPublic(Shown):
    id: int
    copy_id: int
    book_id: int
    patron_id: int | None
    branch_id: int
    checked_out_at: datetime
    due_at: Second
    due_on: date
    time_zone: str
    due_steps: list[DueStepPublic]
    closed_at: datetime | None
    closed_as: str | None
    returned_branch_id: int | None
    renewals: int
    renewable: dict[str, Any]
    running_fine_cents: int
    lost_at: datetime | None
    claimed_at: datetime | None
    claim_note: str | None


class CopyPublic(Shown):
    id: int
    barcode: str
    book_id: int
    home_branch_id: int
    current_branch_id: int
    transit_to_branch_id: int | None
    item_type_id: int | None
    place: str
    condition: str
    condition_note: str | None
    shelf_mark: str | None
    price_cents: int | None
    not_for_loan: bool
    check_note: str | None
    last_seen_at: datetime | None
    last_seen_branch_id: int | None
    created_at: datetime


class RoutePublic(BaseModel):
    action: str
    branch_id: int
    reason: str


class CheckInPublic(Shown):
    copy_: CopyPublic = Field(alias="copy")
    loan: LoanPublic | None
    hold: dict[str, Any] | None
    route: RoutePublic
    charges: list[dict[str, Any]]
    warnings: list[dict[str, Any]]


class CheckIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    copy_barcode: str = Field(min_length=1, max_length=50)


class CheckOut(CheckIn):
    patron_barcode: str = Field(min_length=1, max_length=50)


URL = os.environ.get("BENCH_DATABASE_URL", "sqlite://")
# The driver's own BEGIN is off, as in the library: it begins with the write lock, or not at all.
# One for each request of a worker at once, or connections are opened anew all the time.
POOL_SIZE = 16
engine = create_engine(
    URL, connect_args={"check_same_thread": False, "isolation_level": None, "timeout": 5}, pool_size=POOL_SIZE
)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    engine.dispose()


app = FastAPI(lifespan=lifespan)
oauth2_scheme = OAuth2PasswordBearer(tokenUrl="users/login")


def get_session(request: Request) -> Iterator[Session]:
    with Session(engine, expire_on_commit=False) as session:
        session.connection(execution_options={WRITES: request.method != "GET"})
        yield session


SessionDep = Annotated[Session, Depends(get_session)]


async def get_claims(token: Annotated[str, Depends(oauth2_scheme)]) -> dict[str, Any]:
    claims = orm.claims_of(token, SECRET)
    if claims is None:
        raise unauthorized()
    return claims


ClaimsDep = Annotated[dict[str, Any], Depends(get_claims)]


def unauthorized() -> HTTPException:
    headers = {"WWW-Authenticate": "Bearer"}
    return HTTPException(status_code=401, detail="Could not validate credentials", headers=headers)


def get_current_user(claims: ClaimsDep, session: SessionDep) -> User:
    user = orm.user_of(session, claims)
    if user is None:
        raise unauthorized()
    return user


CurrentUser = Annotated[User, Depends(get_current_user)]


async def get_librarian(user: CurrentUser) -> User:
    if user.role not in desk.STAFF:
        raise HTTPException(status_code=403, detail="Not enough permissions")
    return user


Librarian = Annotated[User, Depends(get_librarian)]
PageNumber = Annotated[int, Query(ge=1)]
PageSize = Annotated[int, Query(ge=1, le=100)]


async def refused(_: Request, error: desk.Refused) -> JSONResponse:
    return JSONResponse(error.problem, status_code=409)


app.add_exception_handler(desk.Refused, refused)  # type: ignore[arg-type]


@app.get("/books", response_model=list[BookPublic])
def read_books(
    session: SessionDep, response: Response, page: PageNumber = 1, page_size: PageSize = 10, q: str | None = None
) -> list[Book]:
    rows, total = orm.books(session, page, page_size, q)
    response.headers["X-Total-Count"] = str(total)
    return rows


@app.get("/books/{book_id}", response_model=BookPublic)
def read_book(book_id: int, session: SessionDep) -> Book:
    book = orm.book(session, book_id)
    if book is None:
        raise HTTPException(status_code=404, detail="Book not found")
    return book


@app.get("/users/me", response_model=UserPublic)
def read_me(user: CurrentUser) -> User:
    return user


@app.post("/loans", response_model=LoanPublic, status_code=201)
def check_out(body: CheckOut, actor: Librarian, session: SessionDep) -> Any:
    return orm.check_out(session, actor, body.copy_barcode, body.patron_barcode)


@app.post("/check-ins", response_model=CheckInPublic)
def check_in(body: CheckIn, actor: Librarian, session: SessionDep) -> Any:
    return orm.check_in(session, actor, body.copy_barcode)

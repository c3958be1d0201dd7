"""FastAPI with SQLAlchemy as its documentation recommends it where the driver is asynchronous: for PostgreSQL.

By asyncpg, which SQLAlchemy's documentation has for that. Models and schemas are those of peer_fastapi.py; what finds
the rows is theirs too, by `run_sync`: one switch a request, where an `await` for each statement would be many.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Response
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from bench import desk, orm
from bench.peer_fastapi import (
    POOL_SIZE,
    URL,
    BookPublic,
    CheckIn,
    CheckInPublic,
    CheckOut,
    ClaimsDep,
    LoanPublic,
    PageNumber,
    PageSize,
    UserPublic,
    refused,
    unauthorized,
)
from library.models import Book, User

engine = create_async_engine(
    URL.replace("postgresql://", "postgresql+asyncpg://"),
    pool_size=POOL_SIZE,
    connect_args={"server_settings": {"timezone": "UTC"}},
)
sessions = async_sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)
app.add_exception_handler(desk.Refused, refused)  # type: ignore[arg-type]


async def get_session() -> AsyncIterator[AsyncSession]:
    async with sessions() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]


async def get_current_user(claims: ClaimsDep, session: SessionDep) -> User:
    user = await session.run_sync(orm.user_of, claims)
    if user is None:
        raise unauthorized()
    return user


CurrentUser = Annotated[User, Depends(get_current_user)]


async def get_librarian(user: CurrentUser) -> User:
    if user.role not in desk.STAFF:
        raise HTTPException(status_code=403, detail="Not enough permissions")
    return user


Librarian = Annotated[User, Depends(get_librarian)]


@app.get("/books", response_model=list[BookPublic])
async def read_books(
    session: SessionDep, response: Response, page: PageNumber = 1, page_size: PageSize = 10, q: str | None = None
) -> list[Book]:
    rows, total = await session.run_sync(orm.books, page, page_size, q)
    response.headers["X-Total-Count"] = str(total)
    return rows


@app.get("/books/{book_id}", response_model=BookPublic)
async def read_book(book_id: int, session: SessionDep) -> Book:
    book = await session.run_sync(orm.book, book_id)
    if book is None:
        raise HTTPException(status_code=404, detail="Book not found")
    return book


@app.get("/users/me", response_model=UserPublic)
async def read_me(user: CurrentUser) -> User:
    return user


@app.post("/loans", response_model=LoanPublic, status_code=201)
async def check_out(body: CheckOut, actor: Librarian, session: SessionDep) -> Any:
    return await session.run_sync(orm.check_out, actor, body.copy_barcode, body.patron_barcode)


@app.post("/check-ins", response_model=CheckInPublic)
async def check_in(body: CheckIn, actor: Librarian, session: SessionDep) -> Any:
    return await session.run_sync(orm.check_in, actor, body.copy_barcode)

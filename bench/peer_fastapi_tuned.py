"""FastAPI given the floor's SQL, bare driver and orjson: its routing, dependencies and validation are what it adds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import psycopg
from fastapi import Depends, FastAPI, Header, Query, Request, Response

from bench import raw

CONNECTIONS = 8
_idle: asyncio.LifoQueue[Any] = asyncio.LifoQueue()


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """SQLite answers faster than a thread is woken, so one connection is asked in the loop itself."""
    for _ in range(1 if raw.IS_SQLITE else CONNECTIONS):
        _idle.put_nowait(raw.connect_sqlite().cursor() if raw.IS_SQLITE else await _connect())
    yield
    while not _idle.empty():
        closing = _idle.get_nowait().connection.close()
        if not raw.IS_SQLITE:
            await closing


async def _connect() -> Any:
    return (await psycopg.AsyncConnection.connect(raw.URL, **raw.POSTGRESQL_OPTIONS)).cursor()


app = FastAPI(lifespan=lifespan)


async def _run(cursor: Any, work: raw.Work) -> raw.Answer:
    rows = None
    try:
        while True:
            statement, values = work.send(rows)  # type: ignore[arg-type]
            if raw.IS_SQLITE:
                rows = cursor.execute(statement, values).fetchall()
            else:
                await cursor.execute(statement, values)
                rows = await cursor.fetchall() if cursor.description else []
    except StopIteration as done:
        return done.value


async def _answer(work: raw.Work) -> Response:
    cursor = await _idle.get()
    try:
        status, body, total = await _run(cursor, work)
    finally:
        _idle.put_nowait(cursor)
    headers = {} if total is None else {"X-Total-Count": str(total)}
    return Response(body, status, headers, media_type="application/json")


async def claims(authorization: Annotated[str, Header()] = "") -> dict[str, int] | None:
    """Whom the token names."""
    return raw.claims_of(authorization)


Claims = Annotated[dict[str, int] | None, Depends(claims)]
Page = Annotated[int, Query(ge=1)]
PageSize = Annotated[int, Query(ge=1, le=100)]


@app.get("/books")
async def read_books(page: Page = 1, page_size: PageSize = 10, q: str | None = None) -> Response:
    return await _answer(raw.books(page, page_size, q))


@app.get("/books/{book_id}")
async def read_book(book_id: int) -> Response:
    return await _answer(raw.book(book_id))


@app.get("/users/me")
async def read_me(claims: Claims) -> Response:
    return await _answer(raw.me(claims))


@app.post("/loans")
async def check_out(request: Request, claims: Claims) -> Response:
    return await _answer(raw.check_out(claims, await request.body()))


@app.post("/check-ins")
async def check_in(request: Request, claims: Claims) -> Response:
    return await _answer(raw.check_in(claims, await request.body()))

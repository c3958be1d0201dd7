"""The voice: every resource in one line, and the application that speaks them."""

from flask import Flask

from library.api import (
    accounts,
    api_keys,
    audit,
    auth,
    availability,
    blocks,
    books,
    branches,
    calendars,
    check_ins,
    copies,
    exports,
    facets,
    headings,
    holds,
    house,
    imports,
    jobs,
    ledger,
    loans,
    losses,
    notices,
    orders,
    password_resets,
    policies,
    privacy,
    queues,
    renewals,
    sessions,
    summaries,
    users,
)
from library.api.plumbing import caching, cors, deprecation, edge, errors, fast_path, limits, logs, pages, tokens
from library.api.plumbing.document import Api
from library.config import VERSION

RESOURCES = (
    auth.blp,
    sessions.blp,
    api_keys.blp,
    password_resets.blp,
    users.blp,
    users.categories,
    blocks.blp,
    books.blp,
    exports.blp,
    availability.blp,
    facets.blp,
    headings.authors,
    headings.subjects,
    branches.branches,
    branches.item_types,
    copies.blp,
    policies.blp,
    policies.transfer_limits,
    calendars.blp,
    loans.blp,
    check_ins.blp,
    renewals.blp,
    losses.blp,
    summaries.blp,
    privacy.blp,
    ledger.blp,
    accounts.blp,
    jobs.blp,
    imports.blp,
    holds.blp,
    queues.blp,
    notices.blp,
    audit.blp,
    orders.blp,
    house.blp,
)

FIRST_STEPS = """An integrated library system as one API: the catalogue, the desk, holds, money, orders.
[Try it](docs) on one page, [read about it](redoc) on another.

## First steps

1. Choose a username, an e-mail address and a password: `POST /users/register`.
2. Log in with them, `POST /users/login`, and copy the `access_token` out of the answer.
3. On the page to try it, press **Authorize**, paste the token, and apply it. Elsewhere, send it with every call as
   `Authorization: Bearer …`.
4. List the books: `GET /books`, and `GET /books?q=whale` to search: all words must occur, the last may be the beginning
   of one; case and accents do not matter.
5. Take them along: `GET /books/export` with `Accept: application/marc`, `text/csv`, `application/x-bibtex` and more.

A token is good for `expires_in` seconds; `POST /users/refresh` exchanges the `refresh_token` for a new pair. A program
comes with an API key instead, which `POST /api-keys` makes and shows once: it may do what its scopes name, for whoever
made it, and ends with a new password.

## Whose token may do what

| role | may |
| --- | --- |
| patron | read the catalogue, place holds, renew, see what is theirs: so is every fresh account |
| librarian | catalogue, lend and take back, take money, look after patrons |
| admin | lay down rules, make branches, give roles, search the audit |

Each operation says for whom it is; a 403 names the permission that is missing. `flask quickstart` prints a log-in for
each role; elsewhere an admin gives it: `PATCH /users/{user_id}` with `{"role": "librarian"}`.

## Lists

A list is an array. Turn its pages with `page` and `page_size`, or by the `Link` header; `X-Total-Count` says how many
there are. For a long walk begin with `cursor=start`, and go on with the `X-Next-Cursor` of each answer. Order with
`sort=-year,title`. A parameter that a list does not know is refused, not ignored.

## Changes

`PUT`, `PATCH` and `DELETE` name the version they are made from: send the `ETag` of what was read in `If-Match`, so that
nobody writes over somebody else's change (412). A `PATCH` is a JSON merge patch: what it leaves out stays as it is.
With a `POST`, send an `Idempotency-Key` of your own: after a broken connection send the call again with the same key,
and it is done once.

## Errors

Every error is `application/problem+json`. Decide by its `code`, which stays; show its `detail`, a sentence. `errors`
names each fault with its own `code` and its place: the `pointer` to a member of the body, the `parameter`, or the
`header`. `request_id` finds the call in the logs.

## At the desk

A refused action answers 409 with every reason at once, and changes nothing. Where all reasons only want to be
confirmed, the answer carries a `confirm_token`: send it along and the action is done. Staff let others pass with
`overrides: [{"code": …, "reason": …}]`. `POST …/preview` with the same body says what would happen, and `GET /refusals`
lists every reason there is.
"""


def init_app(app: Flask) -> None:
    """Register every resource, the document and its pages."""
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False
    app.config.update(API_TITLE=app.config["NAME"], API_VERSION=VERSION, OPENAPI_VERSION="3.1.0")
    app.config["MAX_CONTENT_LENGTH"] = app.config["LARGEST_BODY"]
    fast_path.init_app(app)
    edge.init_app(app)
    cors.init_app(app)
    deprecation.init_app(app)
    errors.init_app(app)
    tokens.init_app(app)
    limits.init_app(app)
    caching.init_app(app)
    logs.init_app(app)
    info = {
        "description": FIRST_STEPS,
        "license": {"name": "MIT", "identifier": "MIT"},
        "contact": {"name": app.config["NAME"]},
    }
    api = Api(app, info=info, servers=[{"url": "/"}])
    for blp in RESOURCES:
        api.register_blueprint(blp)
    pages.init_app(app, api)

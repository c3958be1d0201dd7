"""The voice: every resource in one line, and the application that speaks them."""

from flask import Flask

from library.api import (
    accounts,
    auth,
    availability,
    blocks,
    books,
    branches,
    calendars,
    check_ins,
    copies,
    headings,
    holds,
    house,
    jobs,
    loans,
    losses,
    notices,
    orders,
    policies,
    queues,
    renewals,
    summaries,
    users,
)
from library.api.plumbing import edge, errors, limits, logs, pages
from library.api.plumbing.document import Api
from library.config import VERSION

RESOURCES = (
    auth.blp,
    users.blp,
    users.categories,
    blocks.blp,
    books.blp,
    availability.blp,
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
    accounts.blp,
    jobs.blp,
    holds.blp,
    queues.blp,
    notices.blp,
    orders.blp,
    house.blp,
)

FIRST_STEPS = """An integrated library system: the catalogue, the desk, holds, money, orders.

**First steps.** Register with `POST /users/register`, log in with `POST /users/login`, and send the `access_token`
of the answer as `Authorization: Bearer …`. A fresh account is a patron's: it reads the catalogue with `GET /books`
and sees its own loans. Writing books, lending and taking back (`POST /loans`, `POST /check-ins`) is for librarians:
use the log-in that the quickstart printed, or ask an admin for the role.

**Habits.** Lists are arrays, paged with `page` and `page_size`; every error is `application/problem+json`;
`PUT`, `PATCH` and `DELETE` want the ETag of what was read in `If-Match`.

**At the desk.** A refused action answers 409 with every reason at once and changes nothing. Where all reasons only want
to be confirmed, the answer carries a `confirm_token`: send it along and the action is done. Staff let others pass with
`overrides: [{"code": …, "reason": …}]`. `POST …/preview` with the same body says what would happen.
"""


def init_app(app: Flask) -> None:
    """Register every resource, the document and its pages."""
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False
    app.config.update(API_TITLE=app.config["NAME"], API_VERSION=VERSION, OPENAPI_VERSION="3.1.0")
    app.config["MAX_CONTENT_LENGTH"] = app.config["LARGEST_BODY"]
    edge.init_app(app)
    errors.init_app(app)
    limits.init_app(app)
    logs.init_app(app)
    api = Api(
        app, info={"description": FIRST_STEPS, "license": {"name": "MIT", "identifier": "MIT"}}, servers=[{"url": "/"}]
    )
    for blp in RESOURCES:
        api.register_blueprint(blp)
    pages.init_app(app, api)

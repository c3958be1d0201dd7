"""A small library in which two people have one of everything, put back as it was after each call."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import jwt
from conftest import empty
from documented import DocumentedClient
from factories import Factories
from flask import Flask
from sqlalchemy import Engine, func, insert, select, text

from library.api.plumbing.tokens import token_pair
from library.database import WRITES
from library.extensions import cache, db
from library.models import (
    AccountEntry,
    Base,
    CopyCondition,
    Generation,
    IdentifierScheme,
    Job,
    JobKind,
    JobResult,
    Notice,
    NoticeKind,
    Outcome,
    Override,
    PatronBlock,
    PaymentMethod,
    Renewal,
    RenewalChannel,
    Role,
    TokenPurpose,
    User,
    UserSession,
)
from library.rules import accounts, api_keys, one_time_tokens
from library.rules.desk import Desk

PASSWORD = "correct horse battery"
DAY = timedelta(days=1)
# Keys of nothing.
NOBODY = 999_999
ACTORS = ("anonymous", "patron", "librarian", "admin", "expired", "revoked", "disabled")


class World:
    """Keys and barcodes of what there is, by name; `of["patron"]` and `of["other"]` are what two patrons have."""

    def __init__(self, app: Flask, make: Factories) -> None:
        self.app, self.now = app, datetime.now(UTC)
        self.tokens: dict[str, str | None] = {"anonymous": None}
        self.refresh: dict[str, str] = {}
        self.of: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, Any] = {}
        self._fill(make)
        with app.app_context():
            self.engine: Engine = db.engine
        self.kept = self._rows()
        self.generation = 1

    # --- What there is ------------------------------------------------------------------------------

    def _fill(self, make: Factories) -> None:
        main, elsewhere = make.branch(name="Main"), make.branch(name="Elsewhere")
        category, kind = make.category(), make.item_type()
        author, subject = make.author(), make.subject()
        isbn = [(IdentifierScheme.ISBN, "9780142437247")]
        book = make.book(author, subjects=[subject], identifiers=isbn)
        noted = {"check_note": "2 CDs", "condition_note": "Coffee on page 12."}
        copy = make.copy(book=book, home_branch=main, item_type_id=kind.id, **noted)
        wanted = make.copy(home_branch=main)
        night = make.row(Job(kind=JobKind.NIGHTLY, created_at=self.now))
        make.row(JobResult(job_id=night.id, position=1, outcome=Outcome.ADDED))
        self.keys = {
            "branch_id": main.id,
            "to_branch_id": elsewhere.id,
            "patron_category_id": category.id,
            "item_type_id": kind.id,
            "author_id": author.id,
            "subject_id": subject.id,
            "book_id": book.id,
            "copy_id": copy.id,
            "noted_copy_id": copy.id,
            "copy_barcode": copy.barcode,
            "free_barcode": make.copy(home_branch=main).barcode,
            "wanted_book_id": wanted.book_id,
            "wanted_copy_id": wanted.id,
            "job_id": night.id,
            "policy_id": make.policy("max_holds_per_day", 100, branch=main).id,
            "calendar_exception_id": make.exception(date(2020, 1, 1)).id,
            "transfer_limit_id": make.transfer_limit().id,
            "unused_author_id": make.author().id,
            "unused_subject_id": make.subject().id,
            "unused_book_id": make.book().id,
            "unused_branch_id": make.branch().id,
            "unused_item_type_id": make.item_type().id,
            "unused_patron_category_id": make.category().id,
            "unused_copy_id": make.copy(home_branch=main).id,
            "unused_user_id": make.user().id,
            "new_branch_id": make.branch().id,
        }
        admin = self._person(make, "admin", role=Role.ADMIN, home_branch=main)
        self._person(make, "librarian", role=Role.LIBRARIAN, home_branch=main)
        for name, branch in (("patron", main), ("other", elsewhere)):
            person = self._person(make, name, home_branch=branch, patron_category=category)
            self.of[name] |= self._belongings(make, person, admin, branch)
        for name in ("expired", "revoked", "disabled"):
            self._person(make, name, role=Role.ADMIN, home_branch=main, active=name != "disabled")
        self.keys["leaver_id"] = self._person(make, "leaver").id
        for purpose in TokenPurpose:
            secret, person = self.app.config["SECRET_KEY"], self.of["patron"]["user_id"]
            token = one_time_tokens.make(make.session, secret, purpose, person, self.now)
            self.keys[purpose.value] = one_time_tokens.text_of(token, [secret])
        self.keys["unused_order_id"] = make.order(make.user()).id
        self.tokens["expired"] = self.aged(self.tokens["expired"] or "", -DAY)
        make.session.query(UserSession).filter(UserSession.user_id == self.of["revoked"]["user_id"]).update(
            {"ended_at": self.now}
        )
        make.session.commit()

    def _person(self, make: Factories, name: str, **values: Any) -> User:
        contact = {"first_name": name.title(), "last_name": "Reader", "phone": f"0{len(self.of)}"}
        user = make.user(username=name, password=PASSWORD, **contact, **values)
        opened = make.session_of(user)
        with self.app.test_request_context():
            pair = token_pair(user, opened.id, opened.refresh_jti)
        self.tokens[name], self.refresh[name] = pair["access_token"], pair["refresh_token"]
        values = {"name": "Web site", "scopes": ["catalogue.read"]}
        self.of[name] = {
            "user_id": user.id,
            "card_barcode": user.card_barcode,
            "email": user.email,
            "session_id": make.session_of(user).id,
            "api_key_id": api_keys.create(make.session, user, values, self.now, DAY).api_key.id,
        }
        return user

    def _belongings(self, make: Factories, person: User, admin: User, branch: Any) -> dict[str, Any]:
        lent = {"checked_out_at": self.now - DAY, "due_at": self.now + 10 * DAY}
        loan = make.loan(make.copy(home_branch=branch), person, **lent)
        loan.checked_out_by_id = admin.id
        claimed = make.loan(make.copy(home_branch=branch), person, claimed_at=self.now, **lent)
        claimed.copy.condition = CopyCondition.CLAIMED_RETURNED
        hold = make.hold(make.book(), person, pickup_branch=branch, placed_at=self.now)
        charge, paid = make.charge(person, 500), make.charge(person, 300)
        accounts.pay(make.session, Desk(admin, branch), person, 300, PaymentMethod.CASH, self.now, [paid])
        block = make.row(
            PatronBlock(user_id=person.id, reason="Noise.", until_on=date(2020, 1, 1), created_at=self.now)
        )
        renewed = {"loan_id": loan.id, "channel": RenewalChannel.DESK, "renewed_at": self.now, "actor_id": admin.id}
        make.row(Renewal(was_due_at=loan.due_at, due_at=loan.due_at, **renewed))
        make.row(Override(action="renew", code="held", reason="Why not.", loan_id=loan.id, made_at=self.now))
        occasion = {"occasion": f"told {loan.id}", "loan_id": loan.id, "created_at": self.now}
        make.row(Notice(patron_id=person.id, kind=NoticeKind.DUE_SOON, **occasion))
        payment = make.session.scalars(select(func.max(AccountEntry.id))).one()
        return {
            "patron_id": person.id,
            "loan_id": loan.id,
            "loan_ids": [loan.id],
            "claimed_loan_id": claimed.id,
            "copy_id": loan.copy_id,
            "copy_barcode": loan.copy.barcode,
            "book_id": loan.copy.book_id,
            "branch_id": branch.id,
            "hold_id": hold.id,
            "held_book_id": hold.book_id,
            "pickup_branch_id": branch.id,
            "charge_id": charge.id,
            "charge_ids": [charge.id],
            "paid_charge_id": paid.id,
            "entry_id": payment,
            "order_id": make.order(person, make.book()).id,
            "block_id": block.id,
        }

    def aged(self, token: str, by: timedelta) -> str:
        """The same token, signed as it was, as if it had been made at another time."""
        header, claims = jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})
        claims |= {name: claims[name] + int(by.total_seconds()) for name in ("iat", "nbf", "exp") if name in claims}
        return jwt.encode(claims, self.app.config["SECRET_KEY"], "HS256", header)

    # --- How it is put back -------------------------------------------------------------------------

    def _rows(self) -> Mapping[Any, list[dict[str, Any]]]:
        with self.engine.connect() as connection:
            tables = [table for table in Base.metadata.sorted_tables if table.name != Generation.__tablename__]
            return {table: [dict(row) for row in connection.execute(select(table)).mappings()] for table in tables}

    def restore(self) -> None:
        """Put every row back as it was."""
        self.generation += 1
        empty(self.engine, self.generation)
        with self.engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
            for table, rows in self.kept.items():
                if rows:
                    connection.execute(insert(table), rows)
                    if self.engine.dialect.name == "postgresql":
                        last = f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), max(id)) FROM {table.name}"
                        connection.execute(text(last))
        with self.app.app_context():
            cache.clear()

    def client(self, actor: str) -> DocumentedClient:
        """Speaks for one of `ACTORS`, or for the `other` patron."""
        client = self.app.test_client()
        client.token = self.tokens[actor]
        return client

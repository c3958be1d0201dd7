"""Erasure: what is in its way, what goes, and what stays of a person: a number."""

from datetime import timedelta
from itertools import count
from threading import Barrier

import canaries
import pytest
from factories import START
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import DatabaseError

from library.database import transaction
from library.models import (
    AccountEntry,
    ApiKey,
    AuditEvent,
    AuditOutcome,
    Base,
    DueChange,
    HoldEnding,
    HoldState,
    IdempotencyKey,
    Import,
    Job,
    JobKind,
    JobResult,
    Loan,
    LoanClosing,
    Mail,
    MailKind,
    Notice,
    NoticeKind,
    OneTimeToken,
    Outcome,
    Override,
    PatronBlock,
    PaymentMethod,
    PolicyKind,
    Renewal,
    RenewalChannel,
    Role,
    TokenPurpose,
    User,
)
from library.rules import access, accounts, blocks, erasure, holds, ledger, lending, losses, renewals, returns, users
from library.rules.desk import Desk
from library.rules.errors import Forbidden

from .helping import at_once, refused_for
from .walking import READ, all_ways, said_of, way_from

DAY = timedelta(days=1)
LATER = START + 90 * DAY


@pytest.fixture
def erase(session):
    """Call it with who is forgotten, and by whom, else by themselves."""

    def forget(user, actor=None, now=LATER):
        session.commit()
        with transaction(session, write=True):
            return erasure.erase(session, actor or user, user, now)

    return forget


@pytest.fixture
def admin(make):
    return make.user(role=Role.ADMIN)


# --- What is in the way ---------------------------------------------------------------------------


def test_everything_in_the_way_is_said_at_once(session, make, erase, patron):
    make.loan(patron=patron)
    for _ in range(2):
        make.hold(patron=patron)
    make.charge(patron, 700)
    make.order(patron)
    make.user(guarantor_id=patron.id)
    before = said_of(session, patron.id)
    with refused_for("open_loans", "open_holds", "open_account", "open_orders", "still_guarantor") as caught:
        erase(patron)
    told = {reason.code: reason.params for reason in caught.value.reasons}
    assert told["open_holds"] == {"count": 2}
    assert told["open_account"] == {"owed_cents": 700, "credit_cents": 0}
    session.expire_all()
    assert said_of(session, patron.id) == before
    assert (patron.active, patron.erased_at) == (True, None)


def test_money_that_the_library_owes_is_in_the_way_too(session, make, erase, patron, desk):
    charge = make.charge(patron, 500)
    accounts.pay(session, desk, patron, 500, PaymentMethod.CASH, START)
    accounts.reverse(session, desk, charge, "a mistake", START + DAY)
    other = make.charge(patron, 500)
    session.commit()
    assert ledger.balance(session, patron.id) == 0
    # What one charge is owed and another is owing does not cancel out by itself.
    with refused_for("open_account") as caught:
        erase(patron)
    assert caught.value.reasons[0].params == {"owed_cents": 500, "credit_cents": 500}
    accounts.pay(session, desk, patron, 500, PaymentMethod.CREDIT, START + 2 * DAY, charges=[other])
    session.commit()
    assert erase(patron).account_entries == 6


def test_the_last_admin_stays(session, make, erase, admin):
    with refused_for("last_admin"):
        erase(admin)
    other = make.user(role=Role.ADMIN)
    erase(admin, other)
    assert admin.role is Role.PATRON
    with refused_for("last_admin"):
        erase(other)


def test_two_admins_who_erase_one_another_leave_one(session, make, another, admin):
    pair = [admin.id, make.user(role=Role.ADMIN).id]

    def forget(actor_id, user_id):
        mine = another()
        with transaction(mine, write=True):
            erasure.erase(mine, mine.get_one(User, actor_id), mine.get_one(User, user_id), LATER)

    at_once([lambda: forget(*pair), lambda: forget(*reversed(pair))])
    session.expire_all()
    assert [user.role for user in session.scalars(select(User).where(User.active))] == [Role.ADMIN]


def test_nobody_but_an_admin_erases_somebody_else(make, erase, patron, admin):
    for actor in (make.user(), make.librarian()):
        with pytest.raises(Forbidden, match=r"privacy\.all"):
            erase(patron, actor)
    assert erase(patron, admin).user_id == patron.id


# --- What goes ------------------------------------------------------------------------------------


@pytest.fixture
def life(session, make, branch, desk):
    """Call it for a person about whom every table that can tell of somebody has something to tell."""

    def live(**values) -> User:
        person = make.user(home_branch=branch, patron_category=make.category(), guarantor_id=make.user().id, **values)
        copy = make.copy(home_branch=branch, book=make.book(title="The Anarchist Cookbook"))
        own = Desk(person, branch)
        hold = holds.place_hold(session, own, person, copy.book, START, pickup_branch_id=branch.id)
        returns.check_in(session, desk, copy.barcode, START)
        loan = lending.check_out(session, own, copy.barcode, person.card_barcode, START + DAY)
        renewals.renew(session, own, loan, START + 2 * DAY)
        make.hold(copy.book, make.user(home_branch=branch))
        (charge,) = returns.check_in(session, desk, copy.barcode, loan.due_at + 5 * DAY).charges
        cents, at = charge.amount_cents, loan.due_at + 6 * DAY
        accounts.pay(session, desk, person, cents - 50, PaymentMethod.CASH, at, note=canaries.canary())
        accounts.waive(session, desk, charge, canaries.canary(), at, 50)
        mark = {"loan_id": loan.id, "hold_id": hold.id, "made_at": START, "action": "x", "code": "x", "reason": "x"}
        token = OneTimeToken(
            user_id=person.id,
            purpose=TokenPurpose.PASSWORD_RESET,
            nonce="x",
            token_hash="x",
            created_at=START,
            expires_at=LATER,
        )
        key = {"call": "POST /holds", "fingerprint": "x", "created_at": START, "status": 201, "headers": []}
        job = Job(kind=JobKind.IMPORT_USERS, created_at=START, created_by_id=desk.actor_id)
        session.add_all([token, job])
        session.flush()
        times = {"was_due_at": START, "due_at": LATER}
        session.add_all(
            [
                Override(actor_id=person.id, **mark),
                Override(actor_id=desk.actor_id, **mark),
                DueChange(loan_id=loan.id, changed_at=START, actor_id=desk.actor_id, reason="x", **times),
                Notice(patron_id=person.id, kind=NoticeKind.OVERDUE, occasion="x", loan_id=loan.id, created_at=START),
                PatronBlock(user_id=person.id, reason="x", created_at=START, created_by_id=desk.actor_id),
                ApiKey(user_id=person.id, name="x", prefix="x", key_hash="x", scopes=[], created_at=START),
                Mail(kind=MailKind.PASSWORD_RESET, user_id=person.id, token_id=token.id, created_at=START),
                IdempotencyKey(user_id=person.id, key="x", body=b"{}", **key),
                JobResult(job_id=job.id, position=1, outcome=Outcome.ADDED, reference="x", user_id=person.id),
                AuditEvent(
                    at=START,
                    action="patch_user",
                    outcome=AuditOutcome.DONE,
                    codes=[],
                    members=["first_name"],
                    actor_id=person.id,
                    object_kind="users",
                    object_id=person.id,
                ),
            ]
        )
        session.commit()
        make.session_of(person)
        return person

    return live


def plant(session, person: User) -> dict[str, str]:
    """Put a canary into every personal column of every row that tells of a person; canary → where it is."""
    places = {}
    mine = {"users": [person.id]}
    loans = session.scalars(select(Loan.id).where(Loan.patron_id == person.id)).all()
    for name, columns in canaries.PERSONAL.items():
        table = Base.metadata.tables[name]
        pointing = [key.parent for key in table.foreign_keys if key.column.table.name == "users"]
        keys = mine.get(name) or {
            row.id
            for column in [*pointing, *(table.c[name] for name in ("loan_id",) if name in table.c)]
            for row in session.execute(
                select(table.c.id).where(column.in_(loans) if column.name == "loan_id" else column == person.id)
            )
        }
        assert keys, f"nothing in {name} tells of this person"
        for key in keys:
            for column in sorted(columns):
                if name == "account_entries":
                    note = session.scalar(select(AccountEntry.note).where(AccountEntry.id == key))
                    places |= {note: f"{name}.{column}"} if note else {}
                    continue
                value, word = canaries.planted(table.c[column])
                if column == "address" and name == "mails":
                    value = f"{word}@example.org"
                session.execute(update(table).where(table.c.id == key).values({column: value}))
                places[word] = f"{name}.{column}"
    session.commit()
    return places


def test_every_column_that_tells_is_said_to_be_personal_or_not():
    assert canaries.unsaid() == []


def test_no_canary_of_a_person_outlives_the_erasure(session, make, life, erase):
    make.policy(PolicyKind.FINE_RATE, {"cents": 20, "per": "day"})
    person, neighbour = life(), life_of_a_neighbour(session, make)
    places = plant(session, person)
    session.expire_all()
    engine = session.get_bind()
    planted = {f"{table}.{column}" for table, columns in canaries.PERSONAL.items() for column in columns}
    assert set(places.values()) == planted
    assert canaries.found_in(canaries.dump_of(engine), places) == set(places), "the search finds what is there"

    done = erase(session.get_one(User, person.id))

    assert (done.loans, done.holds, done.account_entries) == (1, 1, 3)
    left = canaries.found_in(canaries.dump_of(engine), places)
    assert canaries.columns_of(left, places) == set()
    session.expire_all()
    assert neighbour in canaries.dump_of(engine).decode()


def life_of_a_neighbour(session, make) -> str:
    """Somebody whom nobody erases; a word of theirs."""
    other = make.user(first_name="Neighbour")
    make.session_of(other)
    make.row(PatronBlock(user_id=other.id, reason="Neighbourly", created_at=START))
    return "Neighbourly"


@pytest.mark.parametrize("role", list(Role))
def test_no_way_leads_from_the_pseudonym_to_a_copy(session, make, life, erase, admin, desk, role):
    make.policy(PolicyKind.FINE_RATE, {"cents": 20, "per": "day"})
    person = life(role=role)
    # What they did for others as staff.
    theirs = make.loan(patron=make.user(), closed_at=START + DAY, closed_as=LoanClosing.RETURNED)
    hold = make.hold(patron=make.user())
    theirs.checked_out_by_id = theirs.closed_by_id = hold.placed_by_id = person.id
    was_paid_for = lose_and_find(session, make, desk, person)
    session.commit()
    moments = set(session.scalars(select(AccountEntry.made_at).where(AccountEntry.patron_id == person.id)))
    assert was_paid_for in moments
    assert {"copies.last_seen_at", "holds.ready_at", "notices.created_at", "loans.lost_at"} <= canaries.ties_with(
        session, moments
    )
    assert way_from(session, person.id) is not None
    assert set(READ) <= {table for table, _ in all_ways(session)}

    erase(person, admin)

    session.expire_all()
    assert way_from(session, person.id) is None
    assert {table for table, _ in all_ways(session)[("users", person.id)]} == {"account_entries"}
    assert theirs.patron_id is not None, "what others have stays theirs"
    assert canaries.ties_with(session, moments) == set()


def lose_and_find(session, make, desk, person):
    """A copy that somebody lost and paid for, and that is here again: the moment in which the money was given back."""
    copy = make.copy(home_branch=desk.branch, price_cents=2000)
    make.hold(copy.book, make.user(home_branch=desk.branch))
    loan = make.loan(copy, person)
    losses.declare_lost(session, desk, loan, START + 20 * DAY)
    paid = accounts.pay(session, desk, person, 2000, PaymentMethod.CASH, START + 21 * DAY)
    losses.close_settled(session, paid.charge_ids, START + 21 * DAY)
    found_at = START + 60 * DAY
    (given_back,) = returns.check_in(session, desk, copy.barcode, found_at).charges
    accounts.refund(session, desk, session.get_one(AccountEntry, given_back.reverses_id), 2000, "cash", LATER - DAY)
    return found_at


def test_what_stays_is_a_pseudonym_that_nobody_can_use(session, make, life, erase, admin):
    make.policy(PolicyKind.FINE_RATE, {"cents": 20, "per": "day"})
    person = life(
        username="jdoe", email="jdoe@example.org", card_barcode="P77", first_name="Jane", password="secret123"
    )
    version = person.token_version
    done = erase(person)
    session.expire_all()
    assert person.erased_at == done.erased_at == LATER
    assert person.username == person.card_barcode == person.username_key
    assert person.username.startswith("erased-")
    kept = {"id", "username", "username_key", "card_barcode", "role", "active", "confirmed", "history", "words"}
    kept |= {"version", "token_version", "created_at", "erased_at"}
    assert {column.name for column in User.__table__.columns if getattr(person, column.name) is not None} == kept
    assert (person.role, person.active, person.words) == (Role.PATRON, False, "")
    assert person.token_version == version + 1
    assert person.created_at == START.replace(hour=0)
    for actor in (admin, person):
        assert session.scalars(access.visible(select(User), User, actor).where(User.id == person.id)).all() == []
    for name in ("jdoe", "JDOE@example.org", "P77", person.username):
        assert users.find_login(session, name).user_id == 0
    # Names and card are free for the next one.
    make.user(username="jdoe", email="jdoe@example.org", card_barcode="P77")


def test_the_ledger_keeps_its_lines_and_loses_their_notes(session, make, erase, patron, desk):
    charge = make.charge(patron, 300)
    accounts.pay(session, desk, patron, 300, PaymentMethod.CARD, START, note="Paid by her mother")
    elsewhere = accounts.create_charge(session, desk, make.user(), 100, START, note="Another's")
    session.commit()
    erase(patron)
    session.expire_all()
    lines = session.scalars(select(AccountEntry).where(AccountEntry.patron_id == patron.id)).all()
    assert [(line.amount_cents, line.note) for line in lines] == [(300, None), (-300, None)]
    assert ledger.open_cents_of(session, [charge.id]) == {charge.id: 0}
    assert elsewhere.note == "Another's"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE account_entries SET note = 'Another story'",
        "UPDATE account_entries SET note = NULL, amount_cents = 1",
        "UPDATE account_entries SET note = NULL, patron_id = patron_id + 1",
        "UPDATE account_entries SET amount_cents = amount_cents + 1",
        "DELETE FROM account_entries",
    ],
)
def test_of_a_line_of_the_ledger_nothing_but_its_note_can_go(session, make, erase, change):
    person = make.user()
    entry = ledger.charge(session, person.id, 500, "manual", START, note="A story")
    ledger.settle(session, Desk(None), person.id, "waiver", {entry.id: 500}, START, note="Another")
    make.user()
    erase(person)
    with pytest.raises(DatabaseError, match="append-only"):
        session.execute(text(f"{change} WHERE patron_id = {person.id}"))
    session.rollback()


def test_no_note_goes_of_who_is_not_erased(session, make):
    person = make.user()
    ledger.charge(session, person.id, 500, "manual", START, note="A story")
    session.commit()
    with pytest.raises(DatabaseError, match="append-only"):
        session.execute(text("UPDATE account_entries SET note = NULL"))
    session.rollback()


@pytest.fixture
def report(make):
    """Call it for a line of a report that failed, of a roster or else of another kind of file."""

    def failed(card, kind=JobKind.IMPORT_USERS, **values) -> JobResult:
        job = make.row(Job(kind=kind, created_at=START))
        make.row(Import(job_id=job.id, file_name="x", format="csv", on_duplicate="skip", dry_run=False, size=1))
        told = {"position": 1, "outcome": Outcome.FAILED, "reference": card, "reason": "none of the name 'Illness'"}
        return make.row(JobResult(job_id=job.id, **told | values))

    return failed


def test_reports_of_rosters_name_no_card_of_somebody_erased(session, make, erase, patron, report):
    card = patron.card_barcode
    failed, number = report(card), report(card, JobKind.IMPORT_BOOKS)
    another = report(card, user_id=make.user().id)
    erase(patron)
    session.expire_all()
    told = [(line.reference, line.reason) for line in (failed, number, another)]
    assert told[0] == ("", ""), "a line that failed points at nobody, and names the card all the same"
    assert told[1] == (card, "none of the name 'Illness'"), "the control number of a book is no card"
    assert told[2] == told[1], "whoever had the card before is somebody else"


def test_reports_of_rosters_name_no_card_that_somebody_erased_had_before(session, make, erase, patron, report):
    failed = report(patron.card_barcode)
    with transaction(session, write=True):
        users.change_user(session, make.librarian(), patron, {"card_barcode": "C2"}, START)
    later = report("C2")
    erase(patron)
    session.expire_all()
    assert [(line.reference, line.reason) for line in (failed, later)] == [("", ""), ("", "")]


def test_kept_answers_that_tell_of_a_person_go_and_no_others(session, make, erase, patron):
    clerk = make.librarian()
    common = {"user_id": clerk.id, "fingerprint": "x", "created_at": START, "status": 201, "headers": []}
    telling = {
        "POST /users": f'{{"id":{patron.id},"username":"x"}}',
        "POST /loans": f'{{"id":1,"patron_id":{patron.id},"branch_id":1}}',
        "POST /check-ins": f'{{"loan":{{"id":1,"patron_id":{patron.id}}}}}',
        "POST /orders": f'{{"id":1,"user_id":{patron.id}}}',
        f"POST /users/{patron.id}/blocks": '{"id":1}',
    }
    silent = {
        "POST /users": f'{{"id":{patron.id}1,"username":"x"}}',
        "POST /books": f'{{"id":{patron.id},"title":"x"}}',
        "POST /loans": f'{{"id":1,"patron_id":{patron.id}1}}',
        f"POST /users/{patron.id}1/blocks": '{"id":1}',
        "POST /branches": "",
    }
    for kind, answers in (("telling", telling), ("silent", silent)):
        for call, body in answers.items():
            session.execute(insert(IdempotencyKey).values(call=call, key=kind, body=body.encode() or None, **common))
    session.commit()
    erase(patron)
    assert set(session.scalars(select(IdempotencyKey.key))) == {"silent"}
    assert len(session.scalars(select(IdempotencyKey.id)).all()) == len(silent)


def test_a_mail_to_the_address_without_an_account_goes_too(session, make, erase):
    person = make.user(email="Jane@Example.org")
    make.row(Mail(kind=MailKind.REGISTRATION_REFUSED, address="jane@example.ORG", created_at=START))
    make.row(Mail(kind=MailKind.REGISTRATION_REFUSED, address="joan@example.org", created_at=START))
    erase(person)
    assert session.scalars(select(Mail.address)).all() == ["joan@example.org"]


def test_addresses_are_compared_as_the_log_in_compares_them(session, make, erase):
    person, nobody = make.user(email="jürgen@straße.example"), make.user(email=None)
    for address in ("JÜRGEN@STRASSE.example", "jurgen@strasse.example"):
        make.row(Mail(kind=MailKind.REGISTRATION_REFUSED, address=address, created_at=START))
    make.row(Mail(kind=MailKind.PASSWORD_RESET, user_id=make.user().id, created_at=START))
    erase(person)
    erase(nobody)
    assert session.scalars(select(Mail.address).order_by(Mail.id)).all() == ["jurgen@strasse.example", None]


def test_a_mail_to_the_address_they_had_before_goes_too(session, make, desk, erase):
    person = make.user(email="before@example.org")
    users.change_user(session, desk.actor, person, {"email": "after@example.org"}, START)
    assert session.scalars(select(Mail.address)).all() == ["before@example.org"]
    erase(person)
    assert session.scalars(select(Mail.id)).all() == []


# --- At the same moment ---------------------------------------------------------------------------


def test_who_borrows_while_they_are_erased_is_either_erased_or_has_the_copy(session, another, desk, patron, copy):
    actor_id, patron_id, barcodes = desk.actor.id, patron.id, (copy.barcode, patron.card_barcode)
    branch_id = desk.here.id

    def lend() -> None:
        mine = another()
        with transaction(mine, write=True):
            clerk = mine.get_one(User, actor_id)
            lending.check_out(mine, Desk(clerk, mine.get_one(type(desk.here), branch_id)), *barcodes, LATER)

    def forget() -> None:
        mine = another()
        with transaction(mine, write=True):
            person = mine.get_one(User, patron_id)
            erasure.erase(mine, person, person, LATER)

    at_once([lend, forget])
    session.expire_all()
    open_loans = session.scalars(select(Loan).where(Loan.patron_id == patron_id)).all()
    assert (patron.erased_at is None) == bool(open_loans)


@pytest.mark.parametrize("what", ["charge", "block"])
def test_what_is_written_about_somebody_while_they_are_erased_is_waited_for(session, another, desk, patron, what):
    """Each writer has looked the patron up before the other one is done."""
    actor_id, patron_id, met = desk.actor.id, patron.id, Barrier(2)

    def write() -> None:
        mine = another()
        with transaction(mine, write=False):
            clerk, person = mine.get_one(User, actor_id), mine.get_one(User, patron_id)
        met.wait()
        with transaction(mine, write=True):
            if what == "charge":
                accounts.create_charge(mine, Desk(clerk), person, 100, LATER)
            else:
                blocks.create(mine, clerk, person, {"reason": "Telling"}, LATER)

    def forget() -> None:
        mine = another()
        met.wait()
        with transaction(mine, write=True):
            person = mine.get_one(User, patron_id)
            erasure.erase(mine, person, person, LATER)

    at_once([write, forget])
    session.expire_all()
    told = ledger.balance(session, patron_id), session.scalars(select(PatronBlock)).all()
    if what == "charge":
        assert (patron.erased_at is None) == bool(told[0])
    else:
        assert (patron.erased_at, told[1]) == (LATER, [])


def test_nothing_is_written_about_who_was_erased(session, erase, patron, desk):
    erase(patron)
    with refused_for("patron_erased"):
        accounts.create_charge(session, desk, patron, 100, LATER)
    with refused_for("patron_erased"):
        blocks.create(session, desk.actor, patron, {"reason": "Telling"}, LATER)


def test_a_long_history_costs_no_statement_a_loan(session, make, erase, statements, desk, patron):
    make.policy(PolicyKind.FINE_RATE, {"cents": 20, "per": "day"})
    days = count(1)

    def cost(number: int) -> int:
        for _ in range(number):
            copy = make.copy(home_branch=desk.branch)
            loan = make.loan(copy, patron, due_at=START + timedelta(hours=1))
            make.hold(copy.book, make.user(home_branch=desk.branch))
            make.row(
                Renewal(loan_id=loan.id, renewed_at=START, channel=RenewalChannel.OWN, was_due_at=START, due_at=LATER)
            )
            returns.check_in(session, desk, copy.barcode, START + next(days) * DAY)
            hold = make.hold(patron=patron)
            ending = {"state": HoldState.CANCELLED, "sort_key": None, "ended_at": START}
            for name, value in (ending | {"ended_why": HoldEnding.NOT_NEEDED}).items():
                setattr(hold, name, value)
        accounts.pay(session, desk, patron, ledger.balance(session, patron.id), PaymentMethod.CASH, LATER)
        session.commit()
        statements.clear()
        with transaction(session, write=False):
            erasure.erase(session, patron, patron, LATER)
        # What becomes of each loan and hold of theirs is written row by row.
        return len([line for line in statements if not line.startswith(("UPDATE loans", "UPDATE holds", "UPDATE ren"))])

    assert cost(3) == cost(20)

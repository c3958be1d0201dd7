"""A day at the library, walked with the Python client that openapi-python-client makes of the document.

    python story.py http://127.0.0.1:5000 NAME-OF-AN-ADMIN PASSWORD

It makes what it needs under names of its own, so that it may be walked again in the same library.
"""

import secrets
import sys
from typing import Any, TypeVar

from library_client import AuthenticatedClient, Client
from library_client.api.catalogue import create_author, create_book, get_book, list_books, patch_book
from library_client.api.circulation import check_in, check_out, get_loan, list_loans
from library_client.api.holdings import create_branch, create_copy
from library_client.api.holds import cancel_hold, get_hold, place_hold
from library_client.api.money import create_charge, get_account, pay
from library_client.api.people import create_user, patch_user
from library_client.api.signing_in import log_in, register
from library_client.models import (
    AuthorInput,
    Book,
    BookInput,
    BookPatch,
    Branch,
    BranchInput,
    Cancellation,
    ChargeInput,
    CheckInInput,
    CheckOut,
    ContributorInput,
    Copy,
    CopyInput,
    Hold,
    HoldInput,
    HoldState,
    ListBooksSortItem,
    LoanStatus,
    LogIn,
    PaymentInput,
    PaymentMethod,
    Problem,
    Registration,
    Role,
    RouteAction,
    User,
    UserInput,
    UserPatch,
)

Answer = TypeVar("Answer")
PASSWORD = "a pass phrase of mine"


def done(answer: Answer | Problem | None) -> Answer:
    """What a call answered, where it must have succeeded."""
    assert answer is not None
    assert not isinstance(answer, Problem), answer
    return answer


def refused(answer: Any) -> Problem:
    """What a call answered, where it must have been refused."""
    assert isinstance(answer, Problem), answer
    return answer


def sign_in(url: str, name: str, password: str) -> tuple[AuthenticatedClient, User]:
    """A client that speaks for an account, and the account."""
    with Client(base_url=url) as anyone:
        tokens = done(log_in.sync(client=anyone, body=LogIn(username=name, password=password)))
    return AuthenticatedClient(base_url=url, token=tokens.access_token), tokens.user


def a_patron_registers(url: str, name: str) -> tuple[AuthenticatedClient, User]:
    """Register, log in, list books; and what a wrong password answers."""
    with Client(base_url=url) as anyone:
        newcomer = Registration(username=name, email=f"{name}@example.com", password=PASSWORD)
        registered = done(register.sync(client=anyone, body=newcomer))
        wrong = refused(log_in.sync(client=anyone, body=LogIn(username=name, password="not that one")))
        assert (wrong.status, wrong.code) == (401, "unauthorized")
    client, user = sign_in(url, name, PASSWORD)
    assert (user.id, user.role) == (registered.id, Role.PATRON)
    assert isinstance(done(list_books.sync(client=client, page_size=1)), list)
    return client, user


def a_library_opens(admin: AuthenticatedClient, url: str, suffix: str) -> tuple[AuthenticatedClient, Branch]:
    """An admin makes a branch and somebody who works there."""
    branch = done(create_branch.sync(client=admin, body=BranchInput(name=f"Main {suffix}")))
    staff = UserInput(username=f"libby-{suffix}", password=PASSWORD, role=Role.LIBRARIAN, home_branch_id=branch.id)
    done(create_user.sync(client=admin, body=staff))
    client, user = sign_in(url, f"libby-{suffix}", PASSWORD)
    assert user.role is Role.LIBRARIAN
    return client, branch


def a_book_arrives(librarian: AuthenticatedClient, branch: Branch, suffix: str) -> tuple[Book, Copy]:
    """An author, a book, a copy; and the book is found by its title, the newest first."""
    author = done(create_author.sync(client=librarian, body=AuthorInput(name=f"Melville, Herman ({suffix})")))
    new = BookInput(title=f"Omoo {suffix}", year=1847, contributors=[ContributorInput(author_id=author.id)])
    book = done(create_book.sync(client=librarian, body=new))
    copy = done(create_copy.sync(client=librarian, body=CopyInput(book_id=book.id, home_branch_id=branch.id)))
    newest = [ListBooksSortItem.YEAR_DESCENDING, ListBooksSortItem.TITLE]
    found = done(list_books.sync(client=librarian, q=f"omoo {suffix}", sort=newest))
    assert [row.id for row in found] == [book.id]
    return book, copy


def all_are_walked(librarian: AuthenticatedClient, author_id: int, suffix: str) -> None:
    """A page by either name of its size, and every book of an author by a cursor."""
    for volume in range(3):
        by = [ContributorInput(author_id=author_id)]
        done(create_book.sync(client=librarian, body=BookInput(title=f"Tales {volume} {suffix}", contributors=by)))
    assert len(done(list_books.sync(client=librarian, author_id=author_id, page=1, page_size=2))) == 2
    assert len(done(list_books.sync(client=librarian, author_id=author_id, per_page=3))) == 3
    assert len(done(list_books.sync(client=librarian, author_id=author_id, cursor="start", page_size=100))) == 4
    cursor, walked = "start", []
    while cursor:
        step = list_books.sync_detailed(client=librarian, author_id=author_id, cursor=cursor, page_size=3)
        walked += [book.id for book in done(step.parsed)]
        cursor = step.headers.get("X-Next-Cursor")
    assert len(walked) == len(set(walked)) == 4


def two_change_it(librarian: AuthenticatedClient, book: Book) -> None:
    """A change names the version it is made from: the second of two is told that it comes too late."""
    read = get_book.sync_detailed(book.id, client=librarian)
    tag = read.headers["ETag"]
    assert get_book.sync_detailed(book.id, client=librarian, if_none_match=tag).status_code == 304
    changed = done(patch_book.sync(book.id, client=librarian, if_match=tag, body=BookPatch(subtitle="A narrative")))
    assert (changed.title, changed.subtitle) == (book.title, "A narrative")
    late = refused(patch_book.sync(book.id, client=librarian, if_match=tag, body=BookPatch(subtitle="Too late")))
    assert (late.status, late.code) == (412, "precondition_failed")


def a_copy_is_lent_and_comes_back(
    librarian: AuthenticatedClient, jdoe: AuthenticatedClient, user: User, other: User, copy: Copy
) -> None:
    """Lent once however often the scanner sends it, refused to the next, seen by the patron, taken back."""
    lending = CheckOut(copy_barcode=copy.barcode, patron_barcode=user.card_barcode)
    key = secrets.token_hex(16)
    loan = done(check_out.sync(client=librarian, body=lending, idempotency_key=key))
    assert done(check_out.sync(client=librarian, body=lending, idempotency_key=key)).id == loan.id
    mine = done(list_loans.sync(client=jdoe, status=LoanStatus.OPEN))
    assert [(row.id, row.due_at) for row in mine] == [(loan.id, loan.due_at)]

    again = CheckOut(copy_barcode=copy.barcode, patron_barcode=other.card_barcode)
    problem = refused(check_out.sync(client=librarian, body=again))
    assert (problem.status, problem.code) == (409, "refused")
    assert [reason.code for reason in problem.errors] == ["item_on_loan"]

    back = done(check_in.sync(client=librarian, body=CheckInInput(copy_barcode=copy.barcode)))
    assert back.route.action is RouteAction.SHELVE
    assert done(get_loan.sync(loan.id, client=jdoe)).closed_at is not None
    assert done(list_loans.sync(client=jdoe, status=LoanStatus.OPEN)) == []


def a_hold_is_collected_and_another_cancelled(
    librarian: AuthenticatedClient, jdoe: AuthenticatedClient, user: User, copy: Copy, branch: Branch
) -> None:
    """A hold becomes ready as the copy is scanned, and ends with the loan; the next one is given up."""

    def place() -> Hold:
        return done(place_hold.sync(client=jdoe, body=HoldInput(book_id=copy.book_id, pickup_branch_id=branch.id)))

    hold = place()
    assert (hold.state, hold.position) == (HoldState.QUEUED, 1)
    scanned = done(check_in.sync(client=librarian, body=CheckInInput(copy_barcode=copy.barcode)))
    assert (scanned.route.action, scanned.hold and scanned.hold.id) == (RouteAction.HOLD_SHELF, hold.id)
    assert done(get_hold.sync(hold.id, client=jdoe)).state is HoldState.READY
    lending = CheckOut(copy_barcode=copy.barcode, patron_barcode=user.card_barcode)
    done(check_out.sync(client=librarian, body=lending))
    assert done(get_hold.sync(hold.id, client=jdoe)).state is HoldState.FULFILLED
    done(check_in.sync(client=librarian, body=CheckInInput(copy_barcode=copy.barcode)))

    hold = place()
    cancelled = done(cancel_hold.sync(hold.id, client=jdoe, body=Cancellation(reason="Read it at last")))
    assert cancelled.hold.state is HoldState.CANCELLED


def a_charge_is_paid(librarian: AuthenticatedClient, jdoe: AuthenticatedClient, user: User) -> None:
    """What is charged by hand is paid at the desk, and then nothing is owed."""
    charge = done(create_charge.sync(client=librarian, body=ChargeInput(patron_id=user.id, amount_cents=250)))
    assert done(get_account.sync(user.id, client=jdoe)).balance_cents == 250
    cash = PaymentInput(patron_id=user.id, amount_cents=250, method=PaymentMethod.CASH)
    payment = done(pay.sync(client=librarian, body=cash))
    assert [(part.charge_id, part.amount_cents) for part in payment.allocations] == [(charge.id, 250)]
    assert done(get_account.sync(user.id, client=jdoe)).balance_cents == 0


def walk(url: str, admin_name: str, admin_password: str) -> None:
    """The whole day."""
    suffix = secrets.token_hex(4)
    admin, _ = sign_in(url, admin_name, admin_password)
    jdoe, user = a_patron_registers(url, f"jdoe-{suffix}")
    _, other = a_patron_registers(url, f"ada-{suffix}")
    librarian, branch = a_library_opens(admin, url, suffix)
    for patron in (user, other):
        done(patch_user.sync(patron.id, client=librarian, if_match="*", body=UserPatch(confirmed=True)))
    book, copy = a_book_arrives(librarian, branch, suffix)
    all_are_walked(librarian, book.contributors[0].author_id, suffix)
    two_change_it(librarian, book)
    a_copy_is_lent_and_comes_back(librarian, jdoe, user, other, copy)
    a_hold_is_collected_and_another_cancelled(librarian, jdoe, user, copy, branch)
    a_charge_is_paid(librarian, jdoe, user)


if __name__ == "__main__":
    walk(*sys.argv[1:])
    sys.stdout.write("The day is done.\n")

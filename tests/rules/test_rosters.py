"""Taking patrons in: each line with one outcome, staff never touched, and a bad line costs itself only."""

from datetime import date, timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from library.database import transaction
from library.exchange.records import PatronRecord
from library.models import Job, JobKind, JobResult, OnDuplicate, Outcome, Role, User
from library.rules import users
from library.rules.rosters import import_patrons, keys_of

from .helping import impatience


@pytest.fixture
def take(session, now):
    """Call it with lines for (outcome, reason) of each; they are committed as one batch."""

    def outcomes(*records: PatronRecord, on_duplicate: str = "skip") -> list[tuple[str, str]]:
        session.rollback()
        with transaction(session, write=True):
            results = import_patrons(session, list(enumerate(records, 1)), OnDuplicate(on_duplicate), now)
        session.expunge_all()
        assert [result.position for result in results] == list(range(1, len(records) + 1))
        for result in results:
            assert (result.user_id is None) == (result.outcome is Outcome.FAILED)
        return [(result.outcome.value, result.reason) for result in results]

    return outcomes


def patron(session, card: str) -> User:
    return session.scalars(select(User).where(User.card_barcode == card)).one()


def test_a_line_becomes_a_patron_with_all_it_says(session, make, take):
    category, branch = make.category(name="Pupils"), make.branch(name="Main")
    line = PatronRecord(
        username="ish", email="Ish@example.org", first_name="Ish", last_name="Mael", card_barcode="C1",
        category="PUPILS", branch="main", expires_on=date(2030, 7, 31), birth_date=date(2015, 1, 2), phone="12",
        address="The Inn", language="de",
    )  # fmt: skip
    assert take(line) == [("added", "")]
    user = patron(session, "C1")
    assert (user.username, user.email, user.first_name, user.last_name) == ("ish", "Ish@example.org", "Ish", "Mael")
    assert (user.patron_category_id, user.home_branch_id) == (category.id, branch.id)
    assert (user.expires_on, user.birth_date) == (date(2030, 7, 31), date(2015, 1, 2))
    assert (user.phone, user.address, user.language) == ("12", "The Inn", "de")
    assert (user.role, user.active, user.confirmed, user.password_hash) == (Role.PATRON, True, True, None)


def test_without_a_username_a_patron_is_called_after_the_card(session, take):
    assert take(PatronRecord(last_name="Mael", card_barcode="C1")) == [("added", "")]
    assert patron(session, "C1").username == "C1"
    assert take(PatronRecord(last_name="Ahab", email="a@example.org")) == [("added", "")]
    assert session.scalar(select(User.card_barcode).where(User.email_key == "a@example.org")).startswith("P")


@pytest.mark.parametrize("line", [{"card_barcode": "C1"}, {"username": "ISH"}, {"email": "ISH@example.org"}])
def test_a_patron_is_known_again_by_card_username_or_address(session, make, take, line):
    make.user(username="ish", email="ish@example.org", card_barcode="C1", phone="1", first_name="Ish")
    (name,) = line
    known_by = (
        f"known by its {({'card_barcode': 'card barcode', 'email': 'e-mail address'} | {'username': name})[name]}"
    )
    assert take(PatronRecord(last_name="New", phone="2", **line)) == [("skipped", known_by)]
    assert patron(session, "C1").phone == "1"
    assert take(PatronRecord(last_name="New", phone="2", **line), on_duplicate="update") == [("updated", "")]
    user = patron(session, "C1")
    assert (user.phone, user.last_name, user.first_name) == ("2", "New", "Ish"), "an empty cell leaves what there is"
    assert session.scalar(select(func.count()).select_from(User)) == 1


def test_a_double_within_the_batch_is_known_too(session, take):
    one = PatronRecord(last_name="Mael", card_barcode="C1")
    assert take(one, PatronRecord(last_name="Other", card_barcode="C1")) == [
        ("added", ""),
        ("skipped", "known by its card barcode"),
    ]
    assert take(PatronRecord(last_name="Third", card_barcode="C1"), on_duplicate="update") == [("updated", "")]
    assert patron(session, "C1").last_name == "Third"


@pytest.mark.parametrize("role", [Role.LIBRARIAN, Role.ADMIN])
def test_staff_are_never_changed(session, make, take, role):
    make.user(username="boss", card_barcode="C1", role=role, phone="1")
    line = PatronRecord(last_name="X", card_barcode="C1", phone="2")
    for on_duplicate in ("skip", "update"):
        ((outcome, reason),) = take(line, on_duplicate=on_duplicate)
        assert outcome == "failed"
        assert "staff" in reason
    assert (patron(session, "C1").phone, patron(session, "C1").role) == ("1", role)


@pytest.mark.parametrize("on_duplicate", ["skip", "update"])
@pytest.mark.parametrize(
    ("line", "known_by"), [({"username": "ISH"}, "username"), ({"email": "ish@example.org"}, "e-mail address")]
)
def test_whoever_registered_with_an_address_is_not_taken_for_its_owner(
    session, make, take, line, known_by, on_duplicate
):
    make.user(username="ish", email="ish@example.org", card_barcode="P1", confirmed=False, last_name="Stranger")
    ((outcome, reason),) = take(PatronRecord(last_name="Mael", card_barcode="C1", **line), on_duplicate=on_duplicate)
    assert (outcome, reason.split(" belongs")[0]) == ("failed", f"this {known_by}")
    assert "registered itself; confirm it at the desk first" in reason
    assert patron(session, "P1").last_name == "Stranger"
    # Whoever has the card in hand was seen by somebody.
    ((outcome, _),) = take(PatronRecord(last_name="Mael", card_barcode="P1"), on_duplicate=on_duplicate)
    assert outcome == {"skip": "skipped", "update": "updated"}[on_duplicate]


@pytest.mark.parametrize("on_duplicate", ["skip", "update"])
@pytest.mark.parametrize("line", [{"username": "ISH"}, {"email": "ish@example.org"}])
def test_nobodys_card_is_changed_by_a_roster(session, make, take, line, on_duplicate):
    make.user(username="ish", email="ish@example.org", card_barcode="C1")
    ((outcome, reason),) = take(PatronRecord(last_name="Mael", card_barcode="C2", **line), on_duplicate=on_duplicate)
    assert outcome == "failed"
    assert "has another card" in reason
    assert session.scalars(select(User.card_barcode)).all() == ["C1"]


def test_all_that_is_wrong_with_a_line_is_said_at_once(make, take, now):
    for number in range(12):
        make.category(name=f"Class {number:02}")
    make.branch(name="Main")
    tomorrow = (now + timedelta(days=2)).date()
    line = PatronRecord(last_name="X", email="nobody", category="Whalers", branch="Nantucket", birth_date=tomorrow)
    ((outcome, reason),) = take(line)
    assert outcome == "failed"
    assert reason.split("; ") == [
        "email: this is no e-mail address",
        "birth_date: this day is still to come",
        "category: there is none of the name 'Whalers' (there are "
        + ", ".join(f"'Class {number:02}'" for number in range(10))
        + ", …)",
        "branch: there is none of the name 'Nantucket' (there are 'Main')",
    ]


def test_a_lock_that_another_holds_is_no_fault_of_a_line(session, another, now):
    other = another()
    session.rollback()
    line = [(1, PatronRecord(last_name="Mael", card_barcode="C1"))]
    with transaction(other, write=True, keep=False):
        other.add(User(username="c1", username_key="c1", card_barcode="C1", created_at=now, words=""))
        other.flush()
        # SQLite has one writer: this one begins as a reader, and has to wait for its first word only.
        with transaction(session, write=False), impatience(session), pytest.raises(OperationalError):
            import_patrons(session, line, OnDuplicate.SKIP, now)


def test_who_is_deleted_is_gone_from_the_reports_too(session, make, now):
    user = make.user(card_barcode="C1")
    job = Job(kind=JobKind.IMPORT_USERS, created_at=now, intake=None)
    session.add(job)
    session.flush()
    session.add(JobResult(job_id=job.id, position=1, outcome=Outcome.ADDED, reference="C1", user_id=user.id))
    session.flush()
    users.delete_user(session, User(role=Role.ADMIN), user)
    session.commit()
    (row,) = session.execute(select(JobResult.reference, JobResult.user_id)).all()
    assert tuple(row) == ("", None)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({}, "card barcode, a username or an e-mail"),
        ({"card_barcode": "C9", "category": "Whalers"}, "category: there is none"),
        ({"card_barcode": "C9", "branch": "Nantucket"}, "branch: there is none"),
        ({"card_barcode": "C9", "email": "nobody"}, "email: "),
        ({"username": "x"}, "username: "),
        ({"username": "a b"}, "username: "),
        ({"username": "a@b"}, "username: "),
        ({"card_barcode": "C9", "language": "!"}, "language: "),
        ({"card_barcode": "C" * 51}, "card_barcode: this has more than 50"),
        ({"card_barcode": "C1", "email": "two@example.org"}, "different accounts"),
        ({"card_barcode": "x9"}, "card_barcode: another account has this"),
        ({"username": "C2", "card_barcode": "C9"}, "username: another account has this"),
    ],
)
def test_a_bad_line_says_why_and_costs_itself_only(session, make, take, line, reason):
    make.user(username="one", email="one@example.org", card_barcode="C1")
    make.user(username="two", email="two@example.org", card_barcode="C2")
    make.user(username="X9", card_barcode="C3")
    before = session.scalar(select(func.count()).select_from(User))
    bad = PatronRecord(last_name="Bad", **line)
    good = [PatronRecord(last_name="Good", card_barcode=card) for card in ("G1", "G2")]
    first, (outcome, why), last = take(good[0], bad, good[1])
    assert (first, last) == (("added", ""), ("added", ""))
    assert outcome == "failed", why
    assert reason in why
    assert session.scalar(select(func.count()).select_from(User)) == before + 2


def test_the_keys_of_a_line_are_folded():
    line = PatronRecord(username="ISH", email="I@Example.org", card_barcode="C1")
    assert keys_of(line) == [("card_barcode", "C1"), ("username", "ish"), ("email", "i@example.org")]
    assert keys_of(PatronRecord(last_name="Nobody")) == []

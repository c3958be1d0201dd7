"""Every migration up, down and up again, empty and on populated tables; the models and the tables agree."""

import flask_migrate
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from factories import START, Factories
from sqlalchemy import func, inspect, select, text

from library import create_app
from library.database import make_session, schema_is_at_head
from library.extensions import db, include_name, migrations_folder
from library.models import (
    AccountEntry,
    Allocation,
    ApiKey,
    AuditEvent,
    AuditOutcome,
    Base,
    Book,
    Branch,
    Copy,
    DueChange,
    EntryKind,
    IdempotencyKey,
    IdentifierScheme,
    Import,
    ImportFormat,
    Job,
    JobKind,
    JobResult,
    JobState,
    Mail,
    MailKind,
    Notice,
    NoticeKind,
    OnDuplicate,
    OneTimeToken,
    Outcome,
    Override,
    PatronBlock,
    PaymentMethod,
    Renewal,
    RenewalChannel,
    TokenPurpose,
    UploadPart,
    User,
)

REVISIONS = [script.revision for script in ScriptDirectory(str(migrations_folder())).walk_revisions()][::-1]


@pytest.fixture
def app(new_database):
    """An application on a database without tables."""
    app = create_app("testing", DATABASE_URL=new_database())
    with app.app_context():
        yield app
        db.engine.dispose()


def populate() -> None:
    session = make_session(db.engine)
    make = Factories(session)
    author, subject = make.author(), make.subject()
    book = make.book(author, subjects=[subject], identifiers=[(IdentifierScheme.OTHER, "x")])
    loan = make.loan(copy=make.copy(book=book), patron=make.user(guarantor_id=make.user().id))
    hold = make.hold(book, loan.patron)
    charge = make.charge(loan.patron, loan=loan)
    when = {"loan_id": loan.id, "was_due_at": START, "due_at": START}
    paid = {"kind": EntryKind.PAYMENT, "amount_cents": -1, "method": PaymentMethod.CASH, "made_at": START}
    payment = make.row(AccountEntry(patron_id=loan.patron_id, **paid))
    for row in (
        Allocation(entry_id=payment.id, charge_id=charge.id, amount_cents=1),
        Renewal(renewed_at=START, channel=RenewalChannel.DESK, **when),
        DueChange(changed_at=START, reason="Because", **when),
        Override(action="renew", code="held", reason="Because", loan_id=loan.id, made_at=START),
        Notice(patron_id=loan.patron_id, kind=NoticeKind.HOLD_READY, occasion="x", hold_id=hold.id, created_at=START),
        Job(kind=JobKind.IMPORT_BOOKS, created_at=START, state=JobState.CANCELLED),
        PatronBlock(user_id=loan.patron_id, reason="Because", created_at=START),
    ):
        make.row(row)
    sent = {"file_name": "x.mrc", "format": ImportFormat.MARC21, "on_duplicate": OnDuplicate.SKIP, "dry_run": True}
    make.row(Import(job_id=1, size=1, **sent))
    make.row(UploadPart(job_id=1, number=0, content=b"x"))
    make.row(JobResult(job_id=1, position=1, outcome=Outcome.ADDED, book_id=book.id))
    make.policy("max_loans", 3, branch=make.branch(), patron_category=make.category(), item_type=make.item_type())
    make.exception(START.date())
    make.transfer_limit()
    make.order(make.librarian(), book)
    make.session_of(make.user())
    make.row(IdempotencyKey(user_id=loan.patron_id, call="POST /loans", key="k", fingerprint="f", created_at=START))
    make.row(AuditEvent(at=START, action="check_out", outcome=AuditOutcome.DONE, codes=[], members=[]))
    whose, until = {"user_id": loan.patron_id, "created_at": START}, {"expires_at": START}
    make.row(ApiKey(name="k", prefix="k", key_hash="h", scopes=[], **whose))
    purpose = TokenPurpose.PASSWORD_RESET
    token = make.row(OneTimeToken(purpose=purpose, nonce="n", token_hash="t", **whose, **until))
    make.row(Mail(kind=MailKind.PASSWORD_RESET, token_id=token.id, **whose))
    session.close()


def rows() -> dict[str, int]:
    with db.engine.connect() as connection:
        tables = Base.metadata.sorted_tables
        return {table.name: connection.scalar(select(func.count()).select_from(table)) for table in tables}


def test_up_down_up(app):
    for revision in REVISIONS:
        flask_migrate.upgrade(revision=revision)
        flask_migrate.downgrade(revision="-1")
        flask_migrate.upgrade(revision=revision)
    flask_migrate.downgrade(revision="base")
    with db.engine.connect() as connection:
        assert set(inspect(connection).get_table_names()) <= {"alembic_version", "sqlite_sequence"}


def test_up_again_is_nothing_and_loses_nothing(app):
    flask_migrate.upgrade()
    populate()
    before = rows()
    assert all(count for name, count in before.items() if name != "source_records")
    flask_migrate.upgrade()
    assert rows() == before
    with db.engine.connect() as connection:
        assert schema_is_at_head(connection, migrations_folder())


def test_populated_tables_go_down_and_up(app):
    flask_migrate.upgrade()
    populate()
    flask_migrate.downgrade(revision="base")
    flask_migrate.upgrade()
    assert set(rows().values()) == {0, 1}


def test_autogenerate_finds_nothing(app):
    flask_migrate.upgrade()
    with db.engine.connect() as connection:
        options = {"include_name": include_name, "compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []
    flask_migrate.check()


def test_a_failing_step_leaves_the_database_as_it_was(app, monkeypatch):
    flask_migrate.upgrade()
    populate()
    before = rows()

    def fall(*_args, **_options):
        with db.engine.connect() as connection:
            connection.execute(text("SELECT no_such_function()"))

    from alembic.operations import Operations

    monkeypatch.setattr(Operations, "drop_index", fall)
    with pytest.raises(Exception, match="no_such_function"):
        flask_migrate.downgrade(revision="base")
    monkeypatch.undo()
    assert rows() == before


def test_a_deleted_users_id_never_comes_back(app):
    flask_migrate.upgrade()
    session = make_session(db.engine)
    make = Factories(session)
    last = make.user()
    gone = last.id
    session.delete(last)
    session.commit()
    assert make.user().id > gone
    assert session.get(User, gone) is None
    session.close()


def test_the_sql_can_be_written_instead_of_run(app, capsys):
    flask_migrate.upgrade(sql=True)
    assert "CREATE TABLE books" in capsys.readouterr().out


def test_a_migration_without_changes_is_not_written(app, capsys):
    flask_migrate.upgrade()
    before = sorted(path.name for path in migrations_folder().joinpath("versions").glob("*.py"))
    flask_migrate.migrate(message="nothing")
    assert sorted(path.name for path in migrations_folder().joinpath("versions").glob("*.py")) == before
    assert "models and tables agree" in capsys.readouterr().out


def test_a_table_made_anew_keeps_its_rows_and_its_counter(app):
    flask_migrate.upgrade(revision="0001")
    with db.engine.connect() as connection, connection.begin():
        for statement in (
            "INSERT INTO branches (id, name, time_zone, hours, pickup_point, version)"
            " VALUES (1, 'A', 'UTC', '[]', true, 1)",
            "INSERT INTO books (id, material_type, title, title_key, words, created_at, updated_at, version)"
            " VALUES (1, 'book', 'T', 't', 't', '2026-01-01', '2026-01-01', 1)",
            *(
                "INSERT INTO copies (barcode, book_id, home_branch_id, current_branch_id, place, condition,"
                f" not_for_loan, created_at, version) VALUES ('C{number}', 1, 1, 1, 'available', 'usable', false,"
                " '2026-01-01', 1)"
                for number in (1, 2, 3)
            ),
            "DELETE FROM copies WHERE id = 3",
        ):
            connection.execute(text(statement))
    flask_migrate.upgrade()
    session = make_session(db.engine)
    assert session.scalars(select(Copy.barcode).order_by(Copy.id)).all() == ["C1", "C2"]
    book, branch = session.get_one(Book, 1), session.get_one(Branch, 1)
    assert Factories(session).copy(book=book, home_branch=branch).id == 4
    session.close()

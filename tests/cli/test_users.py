"""`flask users create-admin`: the first admin, or one line that says what is wrong."""

import pytest
from sqlalchemy import func, select

from library.extensions import db
from library.models import AuditEvent, Role, User

from .conftest import runner

ROOT = ("users", "create-admin", "--username", "root", "--email", "root@example.org")
PASSWORD = "correct horse battery"


def users_in(session) -> list[User]:
    session.rollback()
    return list(session.scalars(select(User).order_by(User.id)))


def test_the_admin_logs_in_and_may_give_roles(run, client, session):
    result = run(*ROOT, "--password", PASSWORD)
    assert result.exit_code == 0, result.output
    assert PASSWORD not in result.output
    answer = client.post("/users/login", json={"email": "root@example.org", "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    [user] = users_in(session)
    assert (user.role, user.active, user.confirmed, user.email) == (Role.ADMIN, True, True, "root@example.org")
    assert user.card_barcode
    made, _ = session.scalars(select(AuditEvent).order_by(AuditEvent.id))
    assert (made.action, made.actor_role, made.object_kind, made.object_id) == (
        "create_admin",
        "command",
        "users",
        user.id,
    )


def test_the_password_is_asked_for_twice_and_not_shown(run, client):
    result = run(*ROOT, input=f"{PASSWORD}\n{PASSWORD}\n")
    assert result.exit_code == 0, result.output
    assert PASSWORD not in result.output
    assert client.post("/users/login", json={"username": "root", "password": PASSWORD}).status_code == 200


def test_a_password_typed_differently_is_asked_for_again(run, session):
    result = run(*ROOT, input=f"{PASSWORD}\nsomething else\n")
    assert result.exit_code == 1
    assert users_in(session) == []


def test_name_and_address_are_asked_for_where_they_are_missing(run, session):
    result = run("users", "create-admin", "--password", PASSWORD, input="root\nroot@example.org\n")
    assert result.exit_code == 0, result.output
    assert [user.username for user in users_in(session)] == ["root"]


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_the_password_comes_through_a_pipe(run, client, end):
    result = run(*ROOT, "--password-stdin", input=PASSWORD + end)
    assert result.exit_code == 0, result.output
    assert client.post("/users/login", json={"username": "root", "password": PASSWORD}).status_code == 200


@pytest.mark.parametrize(
    ("username", "email", "word"),
    [("ROOT", "other@example.org", "username"), ("other", "Root@Example.ORG", "e-mail address")],
)
def test_what_is_taken_is_refused_in_one_line(run, session, username, email, word):
    run(*ROOT, "--password", PASSWORD)
    result = run("users", "create-admin", "--username", username, "--email", email, "--password", PASSWORD)
    assert result.exit_code == 1
    assert result.output == f"Error: there is an account with this {word} already\n"
    assert len(users_in(session)) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"--username": "a b"},
        {"--username": "a@b"},
        {"--username": "x"},
        {"--username": "x\udcff"},
        {"--email": "root"},
        {"--email": "root@"},
        {"--email": "a" * 250 + "@example.org"},
        {"--password": "seven77"},
        {"--password": "x" * 129},
        {"--password": "not\udcffutf-8"},
        {"--password": ""},
    ],
)
def test_bad_input_is_refused_in_one_line(run, session, options):
    given = {"--username": "root", "--email": "root@example.org", "--password": PASSWORD} | options
    result = run("users", "create-admin", *(word for pair in given.items() for word in pair))
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    assert users_in(session) == []


def test_the_least_length_is_the_setting(app, run, monkeypatch):
    monkeypatch.setitem(app.config, "PASSWORD_MIN_LENGTH", 30)
    result = run(*ROOT, "--password", PASSWORD)
    assert result.exit_code == 1
    assert "30 to 128 characters" in result.output


def test_without_tables_the_command_names_the_remedy(app_in, tmp_path):
    result = runner(app_in(tmp_path))(*ROOT, "--password", PASSWORD)
    assert result.exit_code == 1
    assert result.output == "Error: the database does not have today's tables, run: flask db upgrade\n"


def test_a_database_that_stays_locked_is_named_in_one_line(app_in, instance):
    app = app_in(instance, LOCK_TIMEOUT_SECONDS=0)
    with app.app_context(), db.engine.connect().execution_options(library_writes=True) as other, other.begin():
        result = runner(app)(*ROOT, "--password", PASSWORD)
        assert result.exit_code == 1
        assert result.output == "Error: the database does not answer: database is locked\n"
        assert other.scalar(select(func.count()).select_from(User).where(User.username == "root")) == 0

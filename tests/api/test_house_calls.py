"""The house over HTTP: what it is, how it says no, whether it is well."""

from sqlalchemy import text

from library.extensions import db
from library.rules.errors import Refusal


def test_what_this_library_is(client):
    assert client.get("/library").json == {
        "name": "Library",
        "version": "0.1.0",
        "currency": "EUR",
        "open_catalogue": False,
        "self_registration": True,
        "email_verification": False,
        "self_checkout": False,
        "sandbox": False,
    }


def test_every_refusal_can_be_read(client):
    rows = {row["code"]: row for row in client.get("/refusals").json}
    assert rows.keys() == Refusal.catalogue.keys()
    assert rows["patron_expired"] == {
        "code": "patron_expired",
        "detail": "The patron's card has expired.",
        "severity": "override",
        "permission": "circulation.override",
        "parameters": ["expires_on"],
    }


def test_health(client):
    assert client.get("/health/live").json == {"status": "ok"}
    assert client.get("/health/ready").json == {"status": "ok"}


def test_an_old_database_is_not_ready(migrated):
    app = migrated()
    with app.app_context(), db.engine.connect() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
        connection.commit()
    answer = app.test_client().get("/health/ready")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert "flask db upgrade" in answer.json["detail"]

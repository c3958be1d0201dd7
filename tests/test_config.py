"""Settings: where they come from, and what production refuses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from library import create_app
from library.config import ConfigurationError, Development, Production, configure, environment, secret_keys

ROOT = Path(__file__).parent.parent
KEY = "Zq8-4kT1vN0_pXw7uB2cE5yH9rJ3mL6s"
SAFE = {"SECRET_KEY": KEY, "DATABASE_URL": "sqlite:////tmp/never-opened.sqlite3"}


@pytest.fixture(autouse=True)
def _own_instance(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith("LIBRARY_") or name in ("DATABASE_URL", "SECRET_KEY", "REDIS_URL"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LIBRARY_INSTANCE", str(tmp_path / "instance"))


def test_environments_by_short_name_and_by_class_name(monkeypatch):
    assert environment("production") is Production
    assert environment("ProductionConfig") is Production
    assert environment(None) is Development
    monkeypatch.setenv("LIBRARY_ENV", "production")
    assert environment(None) is Production
    with pytest.raises(ConfigurationError, match="no environment 'staging'"):
        environment("staging")


def test_development_makes_its_key_once_and_keeps_it_to_itself(tmp_path):
    first, second = create_app("development"), create_app("development")
    assert first.config["SECRET_KEY"] == second.config["SECRET_KEY"]
    assert len(first.config["SECRET_KEY"]) >= 32
    path = tmp_path / "instance" / "secret_key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert first.config["DATABASE_URL"] == f"sqlite:///{tmp_path / 'instance' / 'library.sqlite3'}"
    assert first.debug is False


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"SECRET_KEY": ""}, "needs SECRET_KEY"),
        ({"SECRET_KEY": "short"}, "not safe"),
        ({"SECRET_KEY_PREVIOUS": "short"}, "SECRET_KEY_PREVIOUS is not safe"),
        ({"SECRET_KEY_PREVIOUS": "x" * 40}, "SECRET_KEY_PREVIOUS is not safe"),
        ({"SECRET_KEY": "x" * 40}, "not safe"),
        ({"SECRET_KEY": "please-change-me-please-change-me-now"}, "not safe"),
        ({"DATABASE_URL": ""}, "needs DATABASE_URL"),
        ({"DEBUG": True}, "DEBUG"),
        ({"TESTING": True}, "TESTING"),
        ({"SANDBOX_CLOCK": True}, "SANDBOX_CLOCK"),
        ({"MAIL_URL": "console:"}, "does not print mails"),
        ({"REQUIRE_EMAIL_VERIFICATION": True}, "needs MAIL_URL"),
    ],
)
def test_production_refuses_to_start_unsafely(settings, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        create_app("production", **SAFE | settings)


def test_production_raises_the_bar():
    app = create_app("production", **SAFE)
    assert app.config["PASSWORD_MIN_LENGTH"] == 15
    assert app.config["REFUSE_COMMON_PASSWORDS"] is True
    assert app.config["MAIL_URL"] == ""
    assert (app.debug, app.testing) == (False, False)


def serve(**settings: str) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FLASK_")}
    command = [sys.executable, "-c", "import wsgi"]
    return subprocess.run(command, cwd=ROOT, env=environment | settings, capture_output=True, text=True)


def test_production_says_in_one_line_why_it_does_not_start():
    ran = serve(LIBRARY_ENV="production")
    assert ran.returncode == 1
    assert ran.stderr.strip() == "library: production needs SECRET_KEY: at least 32 random characters"


def test_production_does_not_serve_an_old_database(tmp_path):
    url = f"sqlite:///{tmp_path / 'old.sqlite3'}"
    ran = serve(LIBRARY_ENV="production", SECRET_KEY=KEY, DATABASE_URL=url)
    assert ran.returncode == 1
    assert ran.stderr.strip() == "library: the database is not at the newest migration: run flask db upgrade"


def test_settings_come_from_file_environment_and_arguments(tmp_path, monkeypatch):
    folder = tmp_path / "instance"
    folder.mkdir()
    (folder / "settings.cfg").write_text('NAME = "From the file"\nCACHE_SECONDS = 5\n')
    assert create_app("development").config["NAME"] == "From the file"
    monkeypatch.setenv("LIBRARY_NAME", "From the environment")
    app = create_app("development", CACHE_SECONDS=7)
    assert (app.config["NAME"], app.config["CACHE_SECONDS"]) == ("From the environment", 7)


def test_bare_names_and_files_of_secrets(tmp_path, monkeypatch):
    secret = tmp_path / "key"
    secret.write_text(f"{KEY}\n")
    monkeypatch.setenv("LIBRARY_SECRET_KEY_FILE", str(secret))
    monkeypatch.setenv("DATABASE_URL", "postgres://me@localhost/library")
    settings: dict = {}
    configure(settings, "production", tmp_path, {})
    assert settings["SECRET_KEY"] == KEY
    assert settings["DATABASE_URL"] == "postgresql+psycopg://me@localhost/library"


def test_the_key_before_is_read_where_the_key_is(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", KEY)
    monkeypatch.setenv("SECRET_KEY_PREVIOUS", KEY[::-1])
    settings: dict = {}
    configure(settings, "development", tmp_path, {})
    assert secret_keys(settings) == (KEY, KEY[::-1])


def test_what_looks_like_a_setting_and_is_none_is_told(tmp_path, monkeypatch, caplog):
    for name in ("LIBRARY_MAIL_URLL", "LIBRARY_MAIL_FROM", "MAIL_FROM", "TRUSTED_PROXIES", "NAME", "LIBRARY_NAME_FILE"):
        monkeypatch.setenv(name, "")
    configure({}, "development", tmp_path, {"MAIL_FROM": "library@example.org"})
    assert caplog.messages == [
        "LIBRARY_MAIL_URLL is ignored: there is no such setting",
        "TRUSTED_PROXIES is ignored: a setting is read from LIBRARY_TRUSTED_PROXIES",
    ]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("LIBRARY_PUBLIC_CATALOGUE", "perhaps", "true or false"),
        ("LIBRARY_CACHE_SECONDS", "soon", "whole number"),
        ("LIBRARY_SECRET_KEY_FILE", "/nowhere/key", "cannot be read"),
    ],
)
def test_an_unreadable_setting_is_named(monkeypatch, name, value, sentence):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=sentence):
        create_app("development")


def test_an_unknown_setting_in_the_file_is_named(tmp_path):
    (tmp_path / "instance").mkdir()
    (tmp_path / "instance" / "settings.cfg").write_text("PUBLIC_CATALOG = True\n")
    with pytest.raises(ConfigurationError, match="PUBLIC_CATALOG"):
        create_app("development")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"LIMIT_PATRON": "lots"}, "LIMIT_PATRON is 'lots'"),
        ({"TRUSTED_NETWORKS": "10.0.0.0/8, foo"}, "TRUSTED_NETWORKS"),
        ({"DATABASE_URL": "nonsense"}, "DATABASE_URL"),
        ({"DATABASE_URL": "mysql://localhost/library"}, "DATABASE_URL"),
        ({"REDIS_URL": "nonsense"}, "REDIS_URL"),
        ({"MAIL_URL": "smtp://post:s3cret@"}, "^MAIL_URL cannot be understood \\(write it like smtp:"),
        ({"MAIL_URL": "mail.example.org"}, "^MAIL_URL cannot be understood \\(write it like smtp:"),
        ({"MAIL_FROM": "the library"}, "MAIL_FROM is 'the library'"),
        ({"MAIL_FROM": "Town\nBcc: all <town@example.org>"}, "MAIL_FROM"),
        ({"PUBLIC_URL": "town.example.org"}, "^PUBLIC_URL cannot be understood \\(write it like https:"),
        ({"PUBLIC_URL": "https://town.example.org/?next="}, "^PUBLIC_URL cannot be understood \\(write it like https:"),
        ({"ACCESS_TOKEN_SECONDS": -1}, "too small"),
        ({"CACHE_SECONDS": "sixty"}, "of the kind int"),
        ({"LIMITS_ENABLED": "false"}, "of the kind bool"),
    ],
)
def test_an_unusable_setting_fails_the_start(settings, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        create_app("development", **settings)


def test_a_settings_file_that_is_no_python_is_told_in_one_line(tmp_path):
    (tmp_path / "instance").mkdir()
    (tmp_path / "instance" / "settings.cfg").write_text("NAME = \n")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        create_app("development")

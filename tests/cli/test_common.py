"""What the commands share: the moment that a command judges by."""

from datetime import UTC, datetime, timedelta

import click
import pytest
from flask.cli import with_appcontext

from library.cli.common import at_option


@click.command()
@with_appcontext
@at_option
def tell(now: datetime) -> None:
    click.echo(now.isoformat())


@pytest.fixture
def told(app):
    """Call it with the words after the command for its result."""
    return lambda *words: app.test_cli_runner().invoke(tell, words)


@pytest.fixture
def sandbox(app, monkeypatch):
    monkeypatch.setitem(app.config, "SANDBOX_CLOCK", True)


def test_a_command_happens_now(told):
    result = told()
    assert result.exit_code == 0, result.output
    assert abs(datetime.fromisoformat(result.output.strip()) - datetime.now(UTC)) < timedelta(hours=1)


@pytest.mark.usefixtures("sandbox")
def test_in_a_sandbox_it_may_happen_at_another_moment(told):
    assert told("--at", "2031-12-24T10:00:00+01:00").output.strip() == "2031-12-24T09:00:00+00:00"


def test_elsewhere_it_may_not(told):
    result = told("--at", "2031-12-24T10:00:00Z")
    assert result.exit_code == 1
    assert result.output == "Error: --at works in a sandbox only, where the setting SANDBOX_CLOCK is on\n"


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("text", ["tomorrow", "2031-12-24", "2031-12-24T10:00:00", "2999-01-01T00:00:00Z", ""])
def test_a_moment_that_is_none_is_told_in_one_line(told, text):
    result = told("--at", text)
    assert result.exit_code == 1
    assert result.output == "Error: --at wants a moment with its offset, such as 2026-05-01T09:30:00Z\n"

"""`flask openapi write` and `check`: the stored copy of the document, and which of its changes break clients."""

import json
import re
from pathlib import Path
from typing import Any, TextIO

import click
from flask import current_app
from flask_smorest.spec import openapi_cli

from library.cli.breaking import Change, breaking_changes

STORED, CHANGELOG = Path("docs/openapi.json"), Path("CHANGELOG.md")


def derived() -> dict[str, Any]:
    """The document of the application, as JSON would have it."""
    api = current_app.extensions["flask-smorest"]["apis"][""]["ext_obj"]
    return json.loads(json.dumps(api.spec.to_dict()))


def stored_form(document: dict[str, Any]) -> str:
    """The text of the stored copy: the same for the same document, whatever machine or Python writes it."""
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def is_announced(change: Change, changelog: str, version: str) -> bool:
    """Whether one entry below Unreleased, or below today's version, has both names of the change in backticks."""
    sections = re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]
    wanted = [body for title, _, body in (part.partition("\n") for part in sections) if _is_open(title, version)]
    entries = [entry for body in wanted for entry in re.split(r"^- ", body, flags=re.MULTILINE)[1:]]
    return any(f"`{change.where}`" in entry and f"`{change.what}`" in entry for entry in entries)


def _is_open(title: str, version: str) -> bool:
    return title.split(" ")[0].strip("[]") in ("Unreleased", version)


# In the place of flask-smorest's, which keeps the order in which things were registered.
@openapi_cli.command("write")
@click.argument("file", type=click.File("w", encoding="utf-8"))
def write(file: TextIO) -> None:
    """Write the document to FILE, sorted, so that two copies can be compared."""
    file.write(stored_form(derived()))


@openapi_cli.command("check")
@click.option(
    "--against", type=click.Path(path_type=Path), default=STORED, show_default=True, help="The document before."
)
@click.option(
    "--changelog", type=click.Path(path_type=Path), default=CHANGELOG, show_default=True, help="What was told."
)
def check(against: Path, changelog: Path) -> None:
    """Name every change of the document that breaks clients, and whether the changelog tells of it.

    It does where an entry below Unreleased has the operationId (or the schema) and what changes there, both in
    backticks. Exit code 1 where one is not told of.
    """
    document, before, told = derived(), _document_in(against), _text_in(changelog)
    changes = breaking_changes(before, document)
    untold = [change for change in changes if not is_announced(change, told, document["info"]["version"])]
    for change in changes:
        click.echo(f"{'not in the changelog' if change in untold else 'told'}: {change}")
    if untold:
        raise click.ClickException(f"{changelog} does not tell of {len(untold)} of {len(changes)} breaking changes")
    click.echo(f"{len(changes)} breaking changes against {against}" + (", all told." if changes else "."))


def _document_in(path: Path) -> dict[str, Any]:
    try:
        return json.loads(_text_in(path))
    except ValueError as error:
        raise click.ClickException(f"{path} is no JSON: {error}") from error


def _text_in(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}") from error

"""The log-ins of the demo accounts: made once, kept in a file of the instance folder, printed at every start."""

import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from library.cli import demo
from library.cli.common import operator
from library.cli.demo_people import ACCOUNTS, Account
from library.database import transaction
from library.models import User
from library.rules import users

FILE = "quickstart.json"
_CONSONANTS, _VOWELS = "bdfghjklmnprstvz", "aeiou"
LEAST_WORDS = 3


@dataclass(frozen=True)
class Login:
    """What is printed of an account; `password` is None where the one that was kept no longer fits."""

    role: str
    username: str
    email: str
    password: str | None


def prepare(session: Session, instance: Path, shortest: int) -> list[Login]:
    """Fill an empty database, and find or make the passwords of the demo accounts; none where it has no such accounts.

    `shortest` is the least length of a password. Passwords cannot be read back from their hashes, so they are kept in
    a file that only its owner may read; where it is gone, the accounts get new ones.
    """
    path = instance / FILE
    with transaction(session, write=False):
        is_empty = demo.is_empty(session)
    if is_empty:
        return _fill(session, path, shortest)
    with transaction(session, write=False):
        known = {account: user for account in ACCOUNTS if (user := _user_of(session, account)) is not None}
    kept = _read(path)
    if known and not kept:
        kept = _reset(session, list(known), shortest)
        _keep(path, kept)
    return [_login(session, account, kept.get(account.username)) for account in known]


def new_password(shortest: int) -> str:
    """A password that can be typed from a screen: `bafoki-relune-mita-42`, about 70 bits."""
    words = [_word() for _ in range(LEAST_WORDS)]
    while sum(map(len, words)) + len(words) + 2 < shortest:
        words.append(_word())
    return "-".join([*words, f"{secrets.randbelow(100):02d}"])


def _word() -> str:
    return "".join(secrets.choice(_CONSONANTS) + secrets.choice(_VOWELS) for _ in range(3))


def _fill(session: Session, path: Path, shortest: int) -> list[Login]:
    passwords = {account.username: new_password(shortest) for account in ACCOUNTS}
    hashes = {name: users.hash_password(password) for name, password in passwords.items()}
    with transaction(session, write=True):
        # Another process may have been quicker while the passwords were hashed.
        is_ours = demo.is_empty(session)
        if is_ours:
            demo.fill(session, hashes, datetime.now(UTC))
    if is_ours:
        _keep(path, passwords)
    return [_login(session, account, _read(path).get(account.username)) for account in ACCOUNTS]


def _user_of(session: Session, account: Account) -> User | None:
    """The user of a demo account, by all its marks: somebody's own `admin` is left alone."""
    marks = {"username_key": account.username, "email_key": account.email, "card_barcode": account.card}
    return session.scalars(select(User).filter_by(**marks)).one_or_none()


def _reset(session: Session, accounts: list[Account], shortest: int) -> dict[str, str]:
    passwords = {account.username: new_password(shortest) for account in accounts}
    hashes = {name: users.hash_password(password) for name, password in passwords.items()}
    with transaction(session, write=True):
        for account in accounts:
            user = _user_of(session, account)
            if user is not None:
                users.change_user(session, operator(), user, {"password_hash": hashes[account.username]})
    return passwords


def _login(session: Session, account: Account, password: str | None) -> Login:
    with transaction(session, write=False):
        found = users.find_login(session, account.username)
    fits = password is not None and users.password_fits(found, password)
    return Login(account.role.value, account.username, account.email, password if fits else None)


def _read(path: Path) -> dict[str, str]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _keep(path: Path, passwords: dict[str, str]) -> None:
    """Write the file anew, readable by its owner only from its first moment on."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
        json.dump(passwords, file, indent=2)

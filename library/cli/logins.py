"""The log-ins of the demo accounts: made once, kept in a file of the instance folder, printed at every start."""

import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from library.cli import demo
from library.cli.common import operator
from library.cli.demo_people import ACCOUNTS, Account
from library.database import transaction
from library.models import User
from library.rules import audit, users

FILE = "quickstart.json"
# As the audit names it.
ACTION = "quickstart"
_CONSONANTS, _VOWELS = "bdfghjklmnprstvz", "aeiou"
LEAST_WORDS = 3
# So many of an account's name, address and card say whose it is.
MARKS_ENOUGH = 2


@dataclass(frozen=True)
class Login:
    """What is printed of an account, as it is called now; `password` may be a remark why none can be told."""

    role: str
    username: str
    email: str
    password: str


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
    kept = _read(path)
    known = _known(session, kept)
    if known and not kept:
        kept = _reset(session, known, shortest)
        _keep(path, kept)
    shown = (account for account in ACCOUNTS if account in known or account.username in kept)
    return [_login(session, account, kept.get(account.username)) for account in shown] if known else []


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
            audit.write_done(session, ACTION, audit.COMMAND, datetime.now(UTC))
    if is_ours:
        _keep(path, passwords)
    return [_login(session, account, _read(path).get(account.username)) for account in ACCOUNTS]


def _known(session: Session, kept: dict[str, str]) -> list[Account]:
    with transaction(session, write=False):
        return [account for account in ACCOUNTS if _user_of(session, account, kept.get(account.username)) is not None]


def _user_of(session: Session, account: Account, password: str | None) -> User | None:
    """The user of a demo account. Of its name, address and card one may be another by now, and with the password that
    was kept even two: it proves whose account it is. Somebody's own `admin` is left alone."""
    wanted = (account.username, account.email, account.card)
    columns = (User.username_key, User.email_key, User.card_barcode)
    some = or_(*(column == value for column, value in zip(columns, wanted, strict=True)))
    shared: dict[User, int] = {}
    for user in session.scalars(select(User).where(some)):
        pairs = zip((user.username_key, user.email_key, user.card_barcode), wanted, strict=True)
        shared[user] = sum(mark == value for mark, value in pairs)
    for user in sorted(shared, key=lambda user: -shared[user]):
        if shared[user] >= MARKS_ENOUGH or (password is not None and _fits(user, password)):
            return user
    return None


def _fits(user: User, password: str) -> bool:
    # Whether an account is active is another question than whose it is.
    return users.password_fits(users.Login(user.id, user.password_hash or "", True), password)


def _reset(session: Session, accounts: list[Account], shortest: int) -> dict[str, str]:
    passwords = {account.username: new_password(shortest) for account in accounts}
    hashes = {name: users.hash_password(password) for name, password in passwords.items()}
    with transaction(session, write=True):
        for account in accounts:
            user = _user_of(session, account, None)
            if user is not None:
                values = {"password_hash": hashes[account.username]}
                users.change_user(session, operator(), user, values, datetime.now(UTC))
                audit.write_done(session, ACTION, audit.COMMAND, datetime.now(UTC), "users", user.id)
    return passwords


def _login(session: Session, account: Account, password: str | None) -> Login:
    with transaction(session, write=False):
        user = _user_of(session, account, password)
        if user is None:
            return Login(account.role.value, account.username, account.email, "(no such account any more)")
        if password is None or not _fits(user, password):
            password = "(was changed)"
        elif not user.active:
            password = "(the account is inactive)"
        return Login(user.role.value, user.username, user.email or "-", password)


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

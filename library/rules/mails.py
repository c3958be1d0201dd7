"""The outbox: mails that wait, whom they go to and what they say; words and tokens are made when one is sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from textwrap import TextWrapper
from typing import Any

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.orm import Session

from library.models import Mail, MailKind, OneTimeToken, User
from library.rules import one_time_tokens

MOST_TRIES = 10
LONGEST_PAUSE = timedelta(hours=4)
# Who makes the library write to somebody else again and again gets so many through; the last ones are still good.
MOST_IN_AN_HOUR = 5
HOUR = timedelta(hours=1)
# How long it can be seen that a mail was sent; and one that nobody ever sends is kept no longer than that.
KEPT, UNSENT_KEPT = timedelta(days=1), timedelta(days=7)

# By kind, and whether there is an account: the subject, and the sentences. `{way}` says what to do with the token.
_IF_NOT = "If it was not you, do nothing"
WORDS: dict[tuple[MailKind, bool], tuple[str, str]] = {
    (MailKind.PASSWORD_RESET, True): (
        "Choose a new password",
        "Somebody, you we hope, has forgotten the password of the account with this address.\n\n{way}\n\n"
        f"It is good once, and for one hour. {_IF_NOT}: the password stays as it is.",
    ),
    (MailKind.EMAIL_VERIFICATION, True): (
        "Confirm your address",
        "Somebody, you we hope, has made an account with this address. Confirm that it is yours.\n\n{way}\n\n"
        f"It is good once, and for 24 hours. {_IF_NOT}: nobody can log in with the account.",
    ),
    (MailKind.REGISTRATION_REFUSED, True): (
        "You have an account already",
        "Somebody, maybe you, wanted to make an account with this address, which has one. Log in with that one; if its "
        "password is forgotten, or this address was never confirmed, ask for a new password: that confirms the address "
        f"too. {_IF_NOT}: nothing was changed.",
    ),
    (MailKind.REGISTRATION_REFUSED, False): (
        "No account was made",
        "Somebody, you we hope, wanted to make an account with this address. The username cannot be had: choose "
        f"another one and register again. {_IF_NOT}: this address is not kept.",
    ),
    (MailKind.PASSWORD_CHANGED, True): (
        "Your password was changed",
        "The account with this address has a new password, and its other sessions and API keys have ended. If it was "
        "not you, ask for a new password at once, and tell the library.",
    ),
    (MailKind.EMAIL_CHANGED, True): (
        "Your address was changed",
        "The account that had this address no longer has it: whoever forgets its password is written to elsewhere. If "
        "you did not ask for this, tell the library at once.",
    ),
}
# A link is never broken.
_LINES = TextWrapper(72, break_long_words=False, break_on_hyphens=False)
# What each token is sent back to: a page below PUBLIC_URL, and an operation.
PLACES = {
    MailKind.PASSWORD_RESET: ("password-reset", "POST /password-resets/redeem, with the new password"),
    MailKind.EMAIL_VERIFICATION: ("email-verification", "POST /email-verifications/redeem"),
}


@dataclass(frozen=True)
class Letter:
    """A mail that is to be sent now."""

    mail_id: int
    kind: MailKind
    address: str
    has_account: bool
    token: str | None

    def subject(self, library: str) -> str:
        """The subject, beginning with the library's name."""
        return f"{library}: {WORDS[self.kind, self.has_account][0]}"

    def text(self, public_url: str) -> str:
        """What the mail says; it links to the library's pages where there are some, with the token where no server
        sees it."""
        page, call = PLACES.get(self.kind, ("", ""))
        if public_url:
            way = f"Go on here:\n\n{public_url.rstrip('/')}/{page}#token={self.token}"
        else:
            way = f"Send this token to {call}:\n\n{self.token}"
        paragraphs = WORDS[self.kind, self.has_account][1].format(way=way).split("\n\n")
        return "\n\n".join(_LINES.fill(paragraph) for paragraph in paragraphs) + "\n"


def queue(
    session: Session,
    kind: MailKind,
    now: datetime,
    user_id: int | None = None,
    address: str | None = None,
    token: OneTimeToken | None = None,
) -> None:
    """Write down that a mail is to be sent, to an account or to an address; to nobody, it never is.

    With both it goes to the address, and goes away with the account.
    """
    has_reader = user_id is not None or address is not None
    token_id = token.id if token else None
    mail = Mail(kind=kind, user_id=user_id, address=address, token_id=token_id, created_at=now)
    mail.next_try_at = now if has_reader else None
    session.add(mail)
    session.flush()


def tell_of_new_password(session: Session, user: User, now: datetime, old_address: str | None = None) -> None:
    """Have the owner of an account told that its password is another, where there is an address.

    `old_address` is the one it had until now, where that is another.
    """
    if user.email or old_address:
        queue(session, MailKind.PASSWORD_CHANGED, now, user.id, old_address)


def tell_of_other_address(session: Session, user: User, now: datetime) -> None:
    """Have it told where mails went until now that they go elsewhere; call it before the address changes."""
    if user.email:
        queue(session, MailKind.EMAIL_CHANGED, now, user.id, user.email)


def due(session: Session, now: datetime, at_most: int) -> Sequence[int]:
    """Keys of the mails that are to be tried, those that have waited longest first."""
    waiting = select(Mail.id).where(Mail.next_try_at <= now).order_by(Mail.next_try_at, Mail.id)
    return session.scalars(waiting.limit(at_most)).all()


def claim(session: Session, key: int, now: datetime, keys: Sequence[str]) -> Letter | None:
    """Take a mail to send it; None where another took it, or where it has nothing to say any more.

    Its next try is set before this one: a sender that dies on the way is no mail lost. `keys` are the library's
    secrets.
    """
    taken = update(Mail).where(Mail.id == key, Mail.next_try_at <= now).values(tries=Mail.tries + 1)
    if not session.connection().execute(taken.values(next_try_at=now + _pause(1))).rowcount:
        return None
    mail = session.get_one(Mail, key, populate_existing=True)
    mail.next_try_at = now + _pause(mail.tries)
    letter = _letter(session, mail, now, keys)
    if letter is None:
        _close(mail)
    session.flush()
    return letter


def sent(session: Session, key: int, now: datetime) -> None:
    """A mail is on its way: its address is forgotten."""
    mail = session.get(Mail, key)
    if mail is not None:
        mail.sent_at = now
        _close(mail)
        session.flush()


def give_up(session: Session, key: int) -> None:
    """A mail can never arrive."""
    mail = session.get(Mail, key)
    if mail is not None:
        _close(mail)
        session.flush()


def outworn(now: datetime) -> Select[Any]:
    """Mails that were sent, or never will be, long enough ago."""
    ended = Mail.next_try_at.is_(None) & (Mail.created_at < now - KEPT)
    return select(Mail).where(or_(ended, Mail.created_at < now - UNSENT_KEPT))


def _letter(session: Session, mail: Mail, now: datetime, keys: Sequence[str]) -> Letter | None:
    user = session.get(User, mail.user_id, populate_existing=True) if mail.user_id else None
    address = mail.address or (user.email if user else None)
    token = session.get(OneTimeToken, mail.token_id, populate_existing=True) if mail.token_id else None
    text = one_time_tokens.text_of(token, keys) if token and one_time_tokens.is_open(token, now) else None
    unsaid = address is None or (mail.kind in PLACES and text is None)
    if unsaid or mail.tries > MOST_TRIES or _sent_lately(session, mail, now) >= MOST_IN_AN_HOUR:
        return None
    return Letter(mail.id, mail.kind, str(address), user is not None, text)


def _sent_lately(session: Session, mail: Mail, now: datetime) -> int:
    """How many of its kind its account was sent within the hour; an address without one has only its limits."""
    if mail.user_id is None:
        return 0
    alike = (Mail.kind == mail.kind, Mail.user_id == mail.user_id, Mail.sent_at > now - HOUR)
    return session.scalar(select(func.count()).where(*alike)) or 0


def _pause(tries: int) -> timedelta:
    """Two minutes after the first try, twice as long after each other: longer than any try lasts."""
    return min(timedelta(minutes=2) * 2 ** (tries - 1), LONGEST_PAUSE)


def _close(mail: Mail) -> None:
    mail.next_try_at = mail.address = None

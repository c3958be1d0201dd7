"""Sends what waits in the outbox: by SMTP, to the console, or into a folder, as `MAIL_URL` says."""

import logging
import smtplib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import policy
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid, parseaddr
from typing import Any

from sqlalchemy.orm import Session

from library.config import secret_keys
from library.database import transaction
from library.postmen import Postman, Undeliverable, postman_of
from library.rules import mails
from library.rules.mails import Letter
from library.working import patiently

AT_ONCE = 50
logger = logging.getLogger(__name__)


@dataclass
class Tally:
    """How many mails went out, will be tried again, and were given up."""

    sent: int = 0
    failed: int = 0
    given_up: int = 0

    def __str__(self) -> str:
        return f"sent {self.sent}, to be tried again {self.failed}, given up {self.given_up}"


@dataclass(frozen=True)
class Office:
    """How this library sends mail: from whom, in whose name, with links where to, and its secrets, the newest first."""

    postman: Postman
    sender: str
    library: str
    public_url: str
    keys: Sequence[str]

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Office | None":
        """As the settings say; None where the library sends no mail."""
        if not settings["MAIL_URL"]:
            return None
        keys = secret_keys(settings)
        postman = postman_of(settings["MAIL_URL"])
        return cls(postman, settings["MAIL_FROM"], settings["NAME"], settings["PUBLIC_URL"], keys)

    def message(self, letter: Letter) -> EmailMessage:
        """A letter as it is sent; raises Undeliverable where its address is none that mail knows."""
        message = EmailMessage(policy.SMTP)
        name, domain = letter.address.rsplit("@", 1)
        try:
            message["From"] = self.sender
            message["To"] = f"{name}@{domain if domain.isascii() else domain.encode('idna').decode()}"
            if len(message["To"].addresses) != 1:
                raise Undeliverable("not one address")
            message["Subject"] = " ".join(letter.subject(self.library).split())
        except (ValueError, MessageError, IndexError) as error:
            raise Undeliverable(type(error).__name__) from None
        message["Date"] = format_datetime(datetime.now(UTC))
        message["Message-ID"] = make_msgid(domain=parseaddr(self.sender)[1].rpartition("@")[2])
        # No holiday note answers it (RFC 3834).
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(letter.text(self.public_url))
        return message


def send_due(session: Session, office: Office, stop: Sequence[int] = ()) -> Tally:
    """Send what is due, one mail at a time, until nothing is, a signal came in, or the post takes none.

    A mail is sent outside any transaction. One whose sender died is sent again: twice is better than never.
    """
    tally = Tally()
    while not stop:
        with transaction(session, write=False):
            keys = mails.due(session, datetime.now(UTC), AT_ONCE)
        session.expunge_all()
        for key in keys:
            if not _send(session, office, key, tally):
                return tally
        if len(keys) < AT_ONCE:
            break
    return tally


def _send(session: Session, office: Office, key: int, tally: Tally) -> bool:
    """Send one mail; False where the post itself fails, and the others had better wait."""
    letter = patiently(session, lambda: mails.claim(session, key, datetime.now(UTC), office.keys))
    session.expunge_all()
    if letter is None:
        return True
    try:
        office.postman(office.message(letter))
    except Undeliverable as error:
        logger.warning("mail %s is given up: %s", key, error)
        patiently(session, lambda: mails.give_up(session, key))
        tally.given_up += 1
        return True
    except (OSError, smtplib.SMTPException) as error:
        # What a server says may hold the address.
        logger.warning("mail %s is tried again later: %s", key, type(error).__name__)
        tally.failed += 1
        return isinstance(error, smtplib.SMTPRecipientsRefused)
    finally:
        session.expunge_all()
    patiently(session, lambda: mails.sent(session, key, datetime.now(UTC)))
    session.expunge_all()
    tally.sent += 1
    return True

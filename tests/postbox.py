"""What a library's outbox sends, taken at the door; and the tokens in it."""

import re
from email.message import EmailMessage

from flask import Flask

from library.database import make_session
from library.extensions import db
from library.mailing import Office, send_due
from library.rules.one_time_tokens import FORM


def post_of(app: Flask, **changes: object) -> list[EmailMessage]:
    """The mails that are due now, as they would leave the house."""
    taken: list[EmailMessage] = []
    with app.app_context(), make_session(db.engine) as session:
        office = Office.of(app.config)
        assert office is not None
        send_due(session, Office(**{**vars(office), "postman": taken.append, **changes}))
    return taken


def token_in(message: EmailMessage) -> str:
    """The token that a mail holds."""
    return re.findall(rf"(?<![\w-]){FORM}(?![\w-])", message.get_content())[0]

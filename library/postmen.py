"""Who carries a mail: a server by SMTP, the console, a folder; named by one URL."""

import os
import smtplib
import ssl
import sys
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

TIMEOUT_SECONDS = 10
_PORTS = {"smtp": 25, "smtps": 465}
_FOR_GOOD = range(500, 600)

Postman = Callable[[EmailMessage], None]


class Undeliverable(Exception):
    """This mail can never arrive: trying again is of no use."""


def postman_of(url: str) -> Postman:
    """Who carries the mails under a `MAIL_URL`; raises ValueError for one that cannot be understood."""
    parts = urlsplit(url)
    if parts.scheme in _PORTS and parts.hostname and parts.port != 0 and not parts.path.strip("/"):
        return lambda message: _by_smtp(parts, message)
    if parts.scheme == "file" and not parts.netloc and Path(parts.path).is_absolute():
        return lambda message: _into_folder(Path(unquote(parts.path)), message)
    if url == "console:":
        return _to_console
    raise ValueError("smtp://, smtps://, file:/// or console:")


def _by_smtp(parts: SplitResult, message: EmailMessage) -> None:
    with _connected(parts) as server:
        server.ehlo_or_helo_if_needed()
        if parts.scheme == "smtp" and server.has_extn("starttls"):
            server.starttls(context=ssl.create_default_context())
            server.ehlo()
        if parts.username:
            if not isinstance(server.sock, ssl.SSLSocket):
                raise smtplib.SMTPNotSupportedError("a password is not sent in the clear")
            server.login(unquote(parts.username), unquote(parts.password or ""))
        try:
            server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            if all(code in _FOR_GOOD for code, _ in error.recipients.values()):
                raise Undeliverable("the address is refused") from None
            raise
        except smtplib.SMTPNotSupportedError:
            raise Undeliverable("the server takes no address in such letters") from None
        except smtplib.SMTPDataError as error:
            if error.smtp_code in _FOR_GOOD:
                raise Undeliverable("the mail is refused") from None
            raise


def _connected(parts: SplitResult) -> smtplib.SMTP:
    host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
    if parts.scheme == "smtps":
        return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context())
    return smtplib.SMTP(host, port, timeout=TIMEOUT_SECONDS)


def _into_folder(folder: Path, message: EmailMessage) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = "".join(letter for letter in message["Message-ID"] if letter.isalnum() or letter in ".-")
    hidden = folder / f".{name}"
    # Whoever looks into the folder finds whole mails only, and nobody else does: they hold tokens.
    with open(os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(message.as_bytes())
    hidden.rename(folder / f"{name}.eml")


def _to_console(message: EmailMessage) -> None:
    text = message.get_content()
    sys.stdout.write(f"--- mail to {message['To']}: {message['Subject']}\n{text}---\n")
    sys.stdout.flush()

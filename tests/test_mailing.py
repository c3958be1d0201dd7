"""Mails on their way: a real server that takes, refuses, hangs or is gone; folders and the console."""

import os
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from postbox import token_in
from sqlalchemy import select, update

from library import postmen
from library.mailing import Office, send_due
from library.models import Mail, MailKind
from library.postmen import postman_of
from library.rules import mails, password_resets

KEY = "a key of the library's own, long enough"


class Post:
    """What a server does with mails: keeps them, or answers what it is told to."""

    def __init__(self) -> None:
        self.kept: list = []
        self.to_recipient = self.to_mail = "250 OK"
        self.logins: list[tuple[bytes, bytes]] = []

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 - its name
        if self.to_recipient.startswith("250"):
            envelope.rcpt_tos.append(address)
        return self.to_recipient

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - its name
        if self.to_mail.startswith("250"):
            self.kept.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=default)))
        return self.to_mail

    def authenticate(self, server, session, envelope, mechanism, given) -> AuthResult:
        self.logins.append((given.login, given.password))
        return AuthResult(success=(given.login, given.password) == (b"post", b"s@cret"), handled=False)


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def listening(post: Post) -> Iterator:
    """Call it with a controller's options for the port of a server."""
    running: list[Controller] = []

    def listen(**options) -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        running.append(Controller(post, hostname="127.0.0.1", port=port, **options))
        running[-1].start()
        return port

    yield listen
    for one in running:
        one.stop()


@pytest.fixture
def mute() -> Iterator[socket.socket]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def send(session):
    """Call it with a MAIL_URL: what becomes of the mails that are due."""

    def send_all(url: str, **changes):
        told = {"sender": "Town <town@example.org>", "library": "Town", "public_url": "", "keys": [KEY]}
        session.rollback()
        tally = send_due(session, Office(**{"postman": postman_of(url), **told, **changes}))
        session.rollback()
        return tally.sent, tally.failed, tally.given_up

    return send_all


@pytest.fixture
def waiting(session, make):
    """Call it with an address for the key of a mail with a token that waits."""

    def queue(email: str = "jane@example.org") -> int:
        make.user(email=email)
        password_resets.request(session, KEY, email, datetime.now(UTC))
        session.commit()
        return session.scalars(select(Mail.id).order_by(Mail.id.desc())).first()

    return queue


def again(session) -> None:
    """The time for the next try has come."""
    due = update(Mail).where(Mail.next_try_at.is_not(None)).values(next_try_at=datetime.now(UTC))
    session.execute(due)
    session.commit()
    session.expire_all()


def test_a_mail_arrives_once(session, post, listening, send, waiting):
    key, port = waiting(), listening()
    assert send(f"smtp://127.0.0.1:{port}") == (1, 0, 0)
    [(recipients, message)] = post.kept
    assert recipients == ["jane@example.org"]
    assert (message["From"], message["To"]) == ("Town <town@example.org>", "jane@example.org")
    assert message["Subject"] == "Town: Choose a new password"
    assert (message["Auto-Submitted"], message["Message-ID"].endswith("@example.org>")) == ("auto-generated", True)
    assert abs(message["Date"].datetime - datetime.now(UTC)) < timedelta(minutes=1)
    assert password_resets.find_holder(session, token_in(message), datetime.now(UTC)).email == "jane@example.org"
    mail = session.get_one(Mail, key)
    assert (mail.sent_at is not None, mail.next_try_at, mail.tries) == (True, None, 1)
    assert send(f"smtp://127.0.0.1:{port}") == (0, 0, 0)


def test_an_address_that_is_refused_for_good_is_given_up(session, post, listening, send):
    mails.queue(session, MailKind.REGISTRATION_REFUSED, datetime.now(UTC), address="gone@example.org")
    session.commit()
    post.to_recipient = "550 no such mailbox"
    assert send(f"smtp://127.0.0.1:{listening()}") == (0, 0, 1)
    mail = session.scalars(select(Mail)).one()
    assert (mail.address, mail.next_try_at, mail.sent_at) == (None, None, None)


def test_an_address_that_is_refused_for_now_is_tried_again_and_does_not_hold_up_others(
    session, post, listening, send, waiting
):
    key, _ = waiting(), waiting("john@example.org")
    url = f"smtp://127.0.0.1:{listening()}"
    post.to_recipient = "450 greylisted"
    assert send(url) == (0, 2, 0)
    assert send(url) == (0, 0, 0)
    mail = session.get_one(Mail, key)
    assert (mail.tries, mail.sent_at, mail.next_try_at > datetime.now(UTC)) == (1, None, True)
    post.to_recipient = "250 OK"
    again(session)
    assert send(url) == (2, 0, 0)


@pytest.mark.parametrize(("answer", "tally"), [("554 spam", (0, 0, 1)), ("452 disk full", (0, 1, 0))])
def test_a_mail_that_is_refused(post, listening, send, waiting, answer, tally):
    waiting()
    post.to_mail = answer
    assert send(f"smtp://127.0.0.1:{listening()}") == tally


@pytest.mark.parametrize("fault", ["gone", "mute"])
def test_a_server_that_fails_costs_one_try_and_the_others_wait(
    session, post, listening, mute, send, waiting, monkeypatch, fault
):
    monkeypatch.setattr(postmen, "TIMEOUT_SECONDS", 0.2)
    first, second = waiting(), waiting("john@example.org")
    port = mute.getsockname()[1]
    if fault == "gone":
        mute.close()
    assert send(f"smtp://127.0.0.1:{port}") == (0, 1, 0)
    for key, tries in ((first, 1), (second, 0)):
        mail = session.get_one(Mail, key)
        assert (mail.tries, mail.sent_at) == (tries, None)
    again(session)
    assert send(f"smtp://127.0.0.1:{listening()}") == (2, 0, 0)
    assert {recipients[0] for recipients, _ in post.kept} == {"jane@example.org", "john@example.org"}


def test_a_server_may_take_ten_seconds_for_each_word():
    assert postmen.TIMEOUT_SECONDS == 10


def test_a_call_speaks_to_no_server(app, client, make, mute, monkeypatch):
    monkeypatch.setitem(app.config, "MAIL_URL", f"smtp://127.0.0.1:{mute.getsockname()[1]}")
    make.user(email="jane@example.org")
    assert client.post("/password-resets", json={"email": "jane@example.org"}).status_code == 202
    mute.setblocking(False)
    with pytest.raises(BlockingIOError):
        mute.accept()


def test_a_sender_that_dies_on_the_way_loses_no_mail(session, post, listening, send, waiting):
    waiting()

    def die(_message):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        send("console:", postman=die)
    session.rollback()
    assert send(f"smtp://127.0.0.1:{listening()}") == (0, 0, 0)
    again(session)
    assert send(f"smtp://127.0.0.1:{listening()}") == (1, 0, 0)


@pytest.fixture
def certified(tmp_path, monkeypatch) -> ssl.SSLContext:
    """What a server of 127.0.0.1 shows, by an authority that this process trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


def test_a_password_is_sent_under_starttls(post, listening, send, waiting, certified):
    waiting()
    port = listening(tls_context=certified, authenticator=post.authenticate, auth_required=True)
    assert send(f"smtp://post:s%40cret@127.0.0.1:{port}") == (1, 0, 0)
    assert post.logins == [(b"post", b"s@cret")]


def test_a_wrong_password_makes_mails_wait(post, listening, send, waiting, certified):
    waiting()
    port = listening(tls_context=certified, authenticator=post.authenticate, auth_required=True)
    assert send(f"smtp://post:wrong@127.0.0.1:{port}") == (0, 1, 0)


def test_a_password_is_never_sent_in_the_clear(post, listening, send, waiting):
    waiting()
    port = listening(authenticator=post.authenticate, auth_require_tls=False)
    assert send(f"smtp://post:s%40cret@127.0.0.1:{port}") == (0, 1, 0)
    assert (post.logins, post.kept) == ([], [])


def test_a_server_that_nobody_vouches_for_gets_nothing(post, listening, send, waiting, certified, monkeypatch):
    waiting()
    port = listening(tls_context=certified)
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull)
    assert send(f"smtp://127.0.0.1:{port}") == (0, 1, 0)
    assert post.kept == []


def test_smtps_speaks_tls_from_the_first_word(post, listening, send, waiting, certified):
    waiting()
    assert send(f"smtps://127.0.0.1:{listening(ssl_context=certified)}") == (1, 0, 0)
    assert len(post.kept) == 1


def test_a_folder_gets_whole_mails_that_only_their_owner_reads(send, waiting, tmp_path):
    waiting()
    waiting("john@example.org")
    folder = tmp_path / "out going"
    assert send(f"file://{str(folder).replace(' ', '%20')}") == (2, 0, 0)
    paths = list(folder.iterdir())
    assert [path.suffix for path in paths] == [".eml", ".eml"]
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    told = {message_from_bytes(path.read_bytes(), policy=default)["To"] for path in paths}
    assert told == {"jane@example.org", "john@example.org"}


def test_a_folder_that_cannot_be_written_makes_mails_wait(send, waiting, tmp_path):
    waiting()
    (tmp_path / "file").write_text("no folder")
    assert send(f"file://{tmp_path}/file") == (0, 1, 0)


def test_the_console_shows_what_is_said(send, waiting, capsys):
    waiting()
    assert send("console:") == (1, 0, 0)
    printed = capsys.readouterr().out
    assert "--- mail to jane@example.org: Town: Choose a new password\n" in printed
    assert "POST /password-resets/redeem" in printed


@pytest.mark.parametrize(
    ("email", "sent_to"),
    [
        ("jane@bücher.example", "jane@xn--bcher-kva.example"),
        ("o'neil+books@example.org", "o'neil+books@example.org"),
        ("jürgen@example.org", None),
        ("a..b@example.org", "a..b@example.org"),
        (f"jane@{'ü' * 70}.example", None),
        ("jane,john@example.org", None),
    ],
)
def test_odd_addresses_arrive_or_are_given_up(post, listening, send, waiting, email, sent_to):
    waiting(email)
    assert send(f"smtp://127.0.0.1:{listening(enable_SMTPUTF8=False)}") == ((1, 0, 0) if sent_to else (0, 0, 1))
    assert [recipients for recipients, _ in post.kept] == ([[sent_to]] if sent_to else [])


def test_a_librarys_name_makes_no_header(send, waiting):
    waiting()
    taken: list = []
    assert send("console:", postman=taken.append, library="Town\r\nBcc: all@example.org") == (1, 0, 0)
    (message,) = taken
    assert (message["Bcc"], message["Subject"]) == (None, "Town Bcc: all@example.org: Choose a new password")


def test_the_log_names_no_address_and_no_token(post, listening, send, waiting, caplog):
    for at, answer in enumerate(("550 jane is not here", "450 not now, jane")):
        waiting(f"jane{at}@example.org")
        post.to_recipient = answer
        send(f"smtp://127.0.0.1:{listening()}")
    assert "jane" not in caplog.text
    assert [record.getMessage() for record in caplog.records] == [
        "mail 1 is given up: the address is refused",
        "mail 2 is tried again later: SMTPRecipientsRefused",
    ]


@pytest.mark.parametrize(
    "url",
    [
        "smtp://",
        "smtp://host:0",
        "smtp://host:99999",
        "smtp://host/path",
        "http://host",
        "file://host/x",
        "file:x",
        "x",
    ],
)
def test_what_names_no_way_is_refused(url):
    with pytest.raises(ValueError, match=r".+"):
        postman_of(url)


def test_every_way_is_understood(tmp_path: Path):
    for url in ("smtp://mail.example.org", "smtps://u:p@mail.example.org:465/", f"file://{tmp_path}", "console:"):
        assert callable(postman_of(url))

"""Traces: what tells of a person without pointing at them, and goes with them."""

from sqlalchemy import ColumnElement, and_, delete, or_, select, update
from sqlalchemy.orm import Session

from library.models import Job, JobKind, JobResult, Mail, User
from library.rules import idempotency


def roster_lines(user_id: int) -> ColumnElement[bool]:
    """Lines of rosters that became a person, or were known as them, or failed and name their card."""
    card = select(User.card_barcode).where(User.id == user_id).scalar_subquery()
    of_rosters = JobResult.job_id.in_(select(Job.id).where(Job.kind == JobKind.IMPORT_USERS))
    # A line that failed points at nobody, and names the card all the same.
    named = and_(JobResult.user_id.is_(None), JobResult.reference == card, of_rosters)
    return or_(JobResult.user_id == user_id, named)


def follow_card(session: Session, user: User) -> None:
    """Let the lines of rosters that name a person's card point at them, before the card becomes another."""
    session.connection().execute(update(JobResult).where(roster_lines(user.id)).values(user_id=user.id))


def forget(session: Session, user: User) -> None:
    """Forget a person in the reports of rosters, in the answers that are kept for others, in mails to their address."""
    connection = session.connection()
    # The reason quotes what stood in the line.
    connection.execute(update(JobResult).where(roster_lines(user.id)).values(reference="", reason=""))
    idempotency.forget(session, user.id)
    # No database folds like Python does; addresses without an account are few, and gone once they are written to.
    written_to = connection.execute(select(Mail.id, Mail.address).where(Mail.address.is_not(None)))
    theirs = [key for key, address in written_to if address and address.strip().casefold() == user.email_key]
    connection.execute(delete(Mail).where(Mail.id.in_(theirs)))

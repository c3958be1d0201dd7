"""Traces: what tells of a person without pointing at them, and goes with them."""

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from library.models import Job, JobKind, JobResult, Mail, User
from library.rules import idempotency


def forget(session: Session, user: User) -> None:
    """Forget a person in the reports of rosters, in the answers that are kept for others, in mails to their address."""
    connection = session.connection()
    # A line that failed points at nobody, and names the card all the same.
    of_rosters = JobResult.job_id.in_(select(Job.id).where(Job.kind == JobKind.IMPORT_USERS))
    named = or_(JobResult.user_id == user.id, (JobResult.reference == user.card_barcode) & of_rosters)
    connection.execute(update(JobResult).where(named).values(reference=""))
    idempotency.forget(session, user.id)
    if user.email:
        connection.execute(delete(Mail).where(func.lower(Mail.address) == user.email.lower()))

"""Jobs: nightly work that is started by hand, and how far it has come."""

from typing import Any

from flask import g
from flask.views import MethodView
from sqlalchemy import Select

from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.fields import Choice, Id
from library.api.plumbing.gate import actor
from library.api.plumbing.schemas import QuerySchema, RequestSchema, Schema, shown
from library.extensions import db
from library.models import Job, JobKind, JobState
from library.rules import jobs

blp = Blueprint("jobs", "job", "Running the library")


class JobSchema(Schema):
    """Work that goes on after the answer, and how far it has come."""

    class Meta(Schema.Meta):
        model = Job

    id = shown()
    kind = shown()
    state = shown()
    created_at = shown()
    created_by_id = Id(dump_only=True, allow_none=True, metadata={"description": "Who asked for it."})
    runs_as_of = shown()
    started_at = shown()
    ended_at = shown()
    found = shown()
    done = shown()
    skipped = shown()
    error = shown()


class JobInputSchema(RequestSchema):
    """What is to be done."""

    example: dict[str, Any] | None = {"kind": "nightly"}

    kind = Choice(JobKind, required=True, metadata={"description": "`nightly` is all the others in their order."})


class JobQuerySchema(QuerySchema):
    """How jobs are narrowed."""

    kind = Choice(JobKind)
    state = Choice(JobState)


@blp.route("/jobs")
class Jobs(MethodView):
    @blp.allow("jobs.read")
    @blp.arguments(JobQuerySchema, location="query")
    @blp.lists(JobSchema, jobs.JOB_SORTS)
    def get(self, filters: dict[str, Any]) -> Select[Any]:
        """List jobs."""
        return jobs.find_jobs(**filters)

    @blp.allow("jobs.start")
    @blp.operation("start_job")
    @blp.arguments(JobInputSchema)
    @blp.response(202, JobSchema)
    def post(self, values: dict[str, Any]) -> Job:
        """Start nightly work, all of it or one step; a worker does it."""
        as_of = g.now if g.now != g.real_now else None
        return jobs.start(db.session, actor(), values["kind"], g.real_now, as_of)


@blp.route("/jobs/<id:job_id>")
class JobById(MethodView):
    @blp.allow("jobs.read")
    @blp.finds(Job)
    @blp.response(200, JobSchema)
    def get(self, job: Job) -> Job:
        """Read how far a job has come."""
        return job

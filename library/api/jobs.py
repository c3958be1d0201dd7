"""Jobs: nightly work and imports, how far they have come, and what became of each record of a file."""

from enum import StrEnum
from typing import Any

from flask import g
from flask.views import MethodView
from sqlalchemy import Select

from library.api.plumbing.blueprint import Blueprint
from library.api.plumbing.fields import Choice, Id, Nested, Whole
from library.api.plumbing.gate import actor
from library.api.plumbing.schemas import QuerySchema, RequestSchema, Schema, shown
from library.extensions import db
from library.models import Import, Job, JobKind, JobResult, JobState, Outcome
from library.rules import jobs, uploads

blp = Blueprint("jobs", "job", "Running the library")
# What is started by hand; a file is taken in by sending it.
NightlyKind = StrEnum("NightlyKind", [(kind.name, kind.value) for kind in JobKind if kind not in uploads.IMPORTS])  # type: ignore[misc]
NightlyKind.__doc__ = "What the night does; `nightly` is all the others in their order."


class ImportSchema(Schema):
    """What an import takes in, and the counts so far."""

    class Meta(Schema.Meta):
        model = Import

    shown_example = {"file_name": "books.mrc", "size": 1048576, "bytes_read": 524288, "progress_percent": 50}
    file_name = shown()
    format = shown()
    on_duplicate = shown()
    dry_run = shown()
    size = shown()
    bytes_read = shown()
    progress_percent = Whole(0, 100, dump_only=True, metadata={"description": "How much of the file was read."})
    position = shown()
    added = shown()
    updated = shown()
    skipped = shown()
    failed = shown()


class JobSchema(Schema):
    """Work that goes on after the answer, and how far it has come."""

    class Meta(Schema.Meta):
        model = Job

    shown_example = {"found": 0, "done": 0, "skipped": 0}
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
    cancel_asked_at = shown()
    import_ = Nested(
        ImportSchema,
        attribute="intake",
        data_key="import",
        allow_none=True,
        dump_only=True,
        metadata={"description": "The file that is taken in; null for nightly work."},
    )


class JobResultSchema(Schema):
    """What became of one record of a file."""

    class Meta(Schema.Meta):
        model = JobResult

    shown_example = {"reference": "2001627090", "reason": "", "user_id": None}
    id = shown()
    position = shown()
    outcome = shown()
    reference = shown(min_length=0)
    reason = shown(min_length=0)
    book_id = Id(dump_only=True, allow_none=True, metadata={"description": "The book it became or is known as."})
    user_id = Id(dump_only=True, allow_none=True, metadata={"description": "The patron it became or is known as."})


class JobInputSchema(RequestSchema):
    """What is to be done."""

    example: dict[str, Any] | None = {"kind": "nightly"}

    kind = Choice(NightlyKind, required=True, metadata={"description": "`nightly` is all the others in their order."})


class JobQuerySchema(QuerySchema):
    """How jobs are narrowed."""

    kind = Choice(JobKind, metadata={"description": "Jobs of this kind."})
    state = Choice(JobState, metadata={"description": "How far the job has come."})


class JobResultQuerySchema(QuerySchema):
    """How the results of an import are narrowed."""

    outcome = Choice(Outcome, metadata={"description": "Only records with this outcome: `failed`."})


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
        return jobs.start(db.session, actor(), JobKind(values["kind"]), g.real_now, as_of)


@blp.route("/jobs/<id:job_id>")
class JobById(MethodView):
    @blp.allow("jobs.read")
    @blp.finds(Job, *jobs.job_parts())
    @blp.response(200, JobSchema)
    def get(self, job: Job) -> Job:
        """Read how far a job has come."""
        return job


@blp.route("/jobs/<id:job_id>/results")
class JobResults(MethodView):
    @blp.allow("jobs.read")
    @blp.operation("list_job_results")
    @blp.finds(Job)
    @blp.arguments(JobResultQuerySchema, location="query")
    @blp.lists(JobResultSchema, uploads.RESULT_SORTS)
    def get(self, job: Job, filters: dict[str, Any]) -> Select[Any]:
        """List what became of each record of a file."""
        return uploads.find_results(job, **filters)


@blp.route("/jobs/<id:job_id>/cancel")
class JobCancel(MethodView):
    @blp.allow("jobs.cancel")
    @blp.operation("cancel_job")
    @blp.finds(Job, *jobs.job_parts())
    @blp.obeys(jobs.cancel)
    @blp.response(200, JobSchema)
    def post(self, job: Job) -> Job:
        """Stop a job: one that waits ends at once, one at work after its batch; what is done stays done."""
        return jobs.cancel(db.session, actor(), job, g.real_now)

"""imports

Revision ID: 0004
Revises: 0003
Create Date: 2026-11-22 23:50:41.118273
"""

import sqlalchemy as sa
from alembic import op

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None

KINDS_BEFORE = "'nightly', 'expire_holds', 'resume_holds', 'age_to_lost', 'renew', 'cut_history', 'write_notices'"
KINDS_NOW = f"{KINDS_BEFORE}, 'purge', 'import_books', 'import_users'"
STATES_BEFORE = "'queued', 'running', 'done', 'failed'"
STATES_NOW = f"{STATES_BEFORE}, 'cancelled'"

# SQLite cannot alter a constraint: the table is made anew, with the column that this step adds at its end.
SQLITE_JOBS = """CREATE TABLE {name} (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    kind VARCHAR(30) NOT NULL,
    state VARCHAR(30) NOT NULL,
    created_at DATETIME NOT NULL,
    created_by_id INTEGER,
    runs_as_of DATETIME,
    started_at DATETIME,
    heartbeat_at DATETIME,
    ended_at DATETIME,
    found INTEGER NOT NULL,
    done INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    error VARCHAR(200),
    {column}
    CONSTRAINT ck_jobs_kind CHECK (kind IN ({kinds})),
    CONSTRAINT ck_jobs_state CHECK (state IN ({states})),
    CONSTRAINT fk_jobs_created_by_id FOREIGN KEY(created_by_id) REFERENCES users (id) ON DELETE SET NULL
)"""
COLUMNS = "id, kind, state, created_at, created_by_id, runs_as_of, started_at, heartbeat_at, ended_at, found, done, " \
    "skipped, error"


def rebuild(column, kinds, states):
    """Make the table of jobs anew on SQLite; nothing points at it, and the counter of its keys goes on."""
    new = "_alembic_tmp_jobs"
    op.execute(SQLITE_JOBS.format(name=new, column=column, kinds=kinds, states=states))
    op.execute(f"INSERT INTO {new} ({COLUMNS}) SELECT {COLUMNS} FROM jobs")
    op.execute(f"DELETE FROM sqlite_sequence WHERE name = '{new}'")
    op.execute(f"INSERT INTO sqlite_sequence SELECT '{new}', seq FROM sqlite_sequence WHERE name = 'jobs'")
    op.execute("DROP TABLE jobs")
    op.execute(f"ALTER TABLE {new} RENAME TO jobs")
    op.execute("CREATE INDEX ix_jobs_state_id ON jobs (state, id)")


def constrain(kinds, states):
    """The words of kinds and states on PostgreSQL."""
    for name, words in (("kind", kinds), ("state", states)):
        op.drop_constraint(op.f(f"ck_jobs_{name}"), "jobs", type_="check")
        op.execute(f"ALTER TABLE jobs ADD CONSTRAINT ck_jobs_{name} CHECK ({name} IN ({words}))")


def upgrade():
    if op.get_bind().dialect.name == "sqlite":
        rebuild("cancel_asked_at DATETIME,", KINDS_NOW, STATES_NOW)
    else:
        op.add_column('jobs', sa.Column('cancel_asked_at', sa.DateTime(timezone=True), nullable=True))
        constrain(KINDS_NOW, STATES_NOW)
    op.create_table('imports',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('job_id', sa.Integer(), nullable=False),
    sa.Column('file_name', sa.String(length=200), nullable=False),
    sa.Column('format', sa.Enum('marc21', 'marcxml', 'csv', name='format', native_enum=False, create_constraint=True, length=30), nullable=False),
    sa.Column('on_duplicate', sa.Enum('skip', 'update', 'add', name='on_duplicate', native_enum=False, create_constraint=True, length=30), nullable=False),
    sa.Column('dry_run', sa.Boolean(), nullable=False),
    sa.Column('size', sa.Integer(), nullable=False),
    sa.Column('bytes_read', sa.Integer(), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('added', sa.Integer(), nullable=False),
    sa.Column('updated', sa.Integer(), nullable=False),
    sa.Column('skipped', sa.Integer(), nullable=False),
    sa.Column('failed', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['job_id'], ['jobs.id'], name=op.f('fk_imports_job_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_imports')),
    sa.UniqueConstraint('job_id', name=op.f('uq_imports_job_id')),
    sqlite_autoincrement=True
    )
    op.create_table('upload_parts',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('job_id', sa.Integer(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('content', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['job_id'], ['jobs.id'], name=op.f('fk_upload_parts_job_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_upload_parts')),
    sa.UniqueConstraint('job_id', 'number', name=op.f('uq_upload_parts_job_id_number')),
    sqlite_autoincrement=True
    )
    op.create_table('job_results',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('job_id', sa.Integer(), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('outcome', sa.Enum('added', 'updated', 'skipped', 'failed', name='outcome', native_enum=False, create_constraint=True, length=30), nullable=False),
    sa.Column('reference', sa.String(length=254), nullable=False),
    sa.Column('reason', sa.String(length=500), nullable=False),
    sa.Column('book_id', sa.Integer(), nullable=True),
    sa.Column('user_id', sa.Integer(), nullable=True),
    sa.ForeignKeyConstraint(['book_id'], ['books.id'], name=op.f('fk_job_results_book_id'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['job_id'], ['jobs.id'], name=op.f('fk_job_results_job_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_job_results_user_id'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_job_results')),
    sa.UniqueConstraint('job_id', 'position', name=op.f('uq_job_results_job_id_position')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_job_results_book_id'), 'job_results', ['book_id'], unique=False)
    op.create_index('ix_job_results_job_id_outcome', 'job_results', ['job_id', 'outcome', 'id'], unique=False)
    op.create_index(op.f('ix_job_results_user_id'), 'job_results', ['user_id'], unique=False)


def downgrade():
    op.drop_index(op.f('ix_job_results_user_id'), table_name='job_results')
    op.drop_index('ix_job_results_job_id_outcome', table_name='job_results')
    op.drop_index(op.f('ix_job_results_book_id'), table_name='job_results')
    op.drop_table('job_results')
    op.drop_table('upload_parts')
    op.drop_table('imports')
    # What these were nobody below this step knows.
    op.execute(f"DELETE FROM jobs WHERE kind NOT IN ({KINDS_BEFORE}) OR state NOT IN ({STATES_BEFORE})")
    if op.get_bind().dialect.name == "sqlite":
        rebuild("", KINDS_BEFORE, STATES_BEFORE)
    else:
        constrain(KINDS_BEFORE, STATES_BEFORE)
        op.drop_column('jobs', 'cancel_asked_at')

"""security

Revision ID: 0005
Revises: 0004
Create Date: 2026-11-23 02:51:23.869716
"""

import sqlalchemy as sa
from alembic import op

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None

SQLITE_AUDIT = tuple(
    f"CREATE TRIGGER audit_events_{change} BEFORE {change} ON audit_events BEGIN"
    " SELECT RAISE(ABORT, 'the audit is append-only'); END"
    for change in ("update", "delete")
)
# Of the ledger's lines one thing may go: what was written to it about somebody who is erased.
ENTRY_COLUMNS = "id patron_id kind amount_cents reason method reverses_id branch_id actor_id steps made_at".split()
SQLITE_LEDGER = (
    "DROP TRIGGER account_entries_update",
    "CREATE TRIGGER account_entries_update BEFORE UPDATE ON account_entries WHEN new.note IS NOT NULL"
    " OR NOT EXISTS (SELECT 1 FROM users WHERE users.id = old.patron_id AND users.erased_at IS NOT NULL)"
    f" OR {' OR '.join(f'new.{name} IS NOT old.{name}' for name in ENTRY_COLUMNS)}"
    " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END",
)
SQLITE_LEDGER_BEFORE = (
    "DROP TRIGGER account_entries_update",
    "CREATE TRIGGER account_entries_update BEFORE UPDATE ON account_entries BEGIN"
    " SELECT RAISE(ABORT, 'the ledger is append-only'); END",
)
POSTGRESQL_LEDGER = (
    "CREATE FUNCTION refuse_entry_change() RETURNS trigger LANGUAGE plpgsql AS"
    " 'BEGIN IF TG_OP = ''UPDATE'' AND new.note IS NULL"
    " AND EXISTS (SELECT 1 FROM users WHERE users.id = old.patron_id AND users.erased_at IS NOT NULL)"
    " AND to_jsonb(new) - ''note'' = to_jsonb(old) - ''note'' THEN RETURN new; END IF;"
    " RAISE EXCEPTION ''the ledger is append-only''; END'",
    "DROP TRIGGER account_entries_change ON account_entries",
    "CREATE TRIGGER account_entries_change BEFORE UPDATE OR DELETE ON account_entries"
    " FOR EACH ROW EXECUTE FUNCTION refuse_entry_change()",
    # No trigger for rows sees a TRUNCATE.
    *(
        f"CREATE TRIGGER {table}_truncate BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        for table in ("account_entries", "allocations")
    ),
)
POSTGRESQL_LEDGER_BEFORE = (
    "DROP TRIGGER account_entries_truncate ON account_entries",
    "DROP TRIGGER allocations_truncate ON allocations",
    "DROP TRIGGER account_entries_change ON account_entries",
    "CREATE TRIGGER account_entries_change BEFORE UPDATE OR DELETE ON account_entries"
    " FOR EACH ROW EXECUTE FUNCTION refuse_change()",
    "DROP FUNCTION refuse_entry_change()",
)
POSTGRESQL_AUDIT = (
    "CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS"
    " 'BEGIN RAISE EXCEPTION ''the audit is append-only''; END'",
    "CREATE TRIGGER audit_events_change BEFORE UPDATE OR DELETE ON audit_events"
    " FOR EACH ROW EXECUTE FUNCTION refuse_audit_change()",
    "CREATE TRIGGER audit_events_truncate BEFORE TRUNCATE ON audit_events"
    " FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()",
)


def upgrade():
    op.create_table('audit_events',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('action', sa.String(length=100), nullable=False),
    sa.Column('outcome', sa.Enum('done', 'refused', name='outcome', native_enum=False, create_constraint=True, length=30), nullable=False),
    sa.Column('status', sa.Integer(), nullable=True),
    sa.Column('codes', sa.JSON(), nullable=False),
    sa.Column('actor_id', sa.Integer(), nullable=True),
    sa.Column('actor_role', sa.String(length=30), nullable=True),
    sa.Column('api_key_id', sa.Integer(), nullable=True),
    sa.Column('object_kind', sa.String(length=60), nullable=True),
    sa.Column('object_id', sa.Integer(), nullable=True),
    sa.Column('members', sa.JSON(), nullable=False),
    sa.Column('request_id', sa.String(length=128), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_audit_events')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_audit_events_action'), 'audit_events', ['action'], unique=False)
    op.create_index(op.f('ix_audit_events_actor_id'), 'audit_events', ['actor_id'], unique=False)
    op.create_index(op.f('ix_audit_events_at'), 'audit_events', ['at'], unique=False)
    op.create_index('ix_audit_events_object_kind_object_id', 'audit_events', ['object_kind', 'object_id', 'id'], unique=False)
    op.create_table('api_keys',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('user_id', sa.Integer(), nullable=False),
    sa.Column('name', sa.String(length=100), nullable=False),
    sa.Column('prefix', sa.String(length=20), nullable=False),
    sa.Column('key_hash', sa.String(length=64), nullable=False),
    sa.Column('scopes', sa.JSON(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('last_used_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_api_keys_user_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_api_keys')),
    sa.UniqueConstraint('key_hash', name=op.f('uq_api_keys_key_hash')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_api_keys_user_id'), 'api_keys', ['user_id'], unique=False)
    op.create_table('one_time_tokens',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('user_id', sa.Integer(), nullable=True),
    sa.Column('purpose', sa.Enum('password_reset', 'email_verification', name='purpose', native_enum=False, create_constraint=True, length=30), nullable=False),
    sa.Column('nonce', sa.String(length=64), nullable=False),
    sa.Column('token_hash', sa.String(length=64), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_one_time_tokens_user_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_one_time_tokens')),
    sa.UniqueConstraint('token_hash', name=op.f('uq_one_time_tokens_token_hash')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_one_time_tokens_expires_at'), 'one_time_tokens', ['expires_at'], unique=False)
    op.create_index(op.f('ix_one_time_tokens_user_id'), 'one_time_tokens', ['user_id'], unique=False)
    op.create_table('mails',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('kind', sa.Enum('password_reset', 'email_verification', 'registration_refused', 'password_changed', 'email_changed', name='kind', native_enum=False, create_constraint=True, length=30), nullable=False),
    sa.Column('user_id', sa.Integer(), nullable=True),
    sa.Column('token_id', sa.Integer(), nullable=True),
    sa.Column('address', sa.String(length=254), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('sent_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('tries', sa.Integer(), nullable=False),
    sa.Column('next_try_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['token_id'], ['one_time_tokens.id'], name=op.f('fk_mails_token_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_mails_user_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_mails')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_mails_next_try_at'), 'mails', ['next_try_at'], unique=False)
    op.create_index(op.f('ix_mails_token_id'), 'mails', ['token_id'], unique=False)
    op.create_index(op.f('ix_mails_user_id'), 'mails', ['user_id'], unique=False)
    op.add_column('user_sessions', sa.Column('client', sa.String(length=100), nullable=True))
    op.add_column('users', sa.Column('email_verified_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('users', sa.Column('erased_at', sa.DateTime(timezone=True), nullable=True))
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in (*SQLITE_AUDIT, *SQLITE_LEDGER) if on_sqlite else (*POSTGRESQL_AUDIT, *POSTGRESQL_LEDGER):
        op.execute(statement)


def downgrade():
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    # SQLite drops no column that a trigger names.
    for statement in SQLITE_LEDGER_BEFORE if on_sqlite else POSTGRESQL_LEDGER_BEFORE:
        op.execute(statement)
    op.drop_column('users', 'erased_at')
    op.drop_column('users', 'email_verified_at')
    op.drop_column('user_sessions', 'client')
    op.drop_index(op.f('ix_mails_user_id'), table_name='mails')
    op.drop_index(op.f('ix_mails_token_id'), table_name='mails')
    op.drop_index(op.f('ix_mails_next_try_at'), table_name='mails')
    op.drop_table('mails')
    op.drop_index(op.f('ix_one_time_tokens_user_id'), table_name='one_time_tokens')
    op.drop_index(op.f('ix_one_time_tokens_expires_at'), table_name='one_time_tokens')
    op.drop_table('one_time_tokens')
    op.drop_index(op.f('ix_api_keys_user_id'), table_name='api_keys')
    op.drop_table('api_keys')
    op.drop_index('ix_audit_events_object_kind_object_id', table_name='audit_events')
    op.drop_index(op.f('ix_audit_events_at'), table_name='audit_events')
    op.drop_index(op.f('ix_audit_events_actor_id'), table_name='audit_events')
    op.drop_index(op.f('ix_audit_events_action'), table_name='audit_events')
    op.drop_table('audit_events')
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_audit_change()")

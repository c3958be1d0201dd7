"""the desk

Revision ID: 0002
Revises: 0001
Create Date: 2026-11-22 20:08:33.698707
"""

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None

CLOSED_BEFORE = "closed_as IN ('returned')"
CLOSED_NOW = "closed_as IN ('returned', 'lost_paid', 'claim_found')"
CELLS = {
    "out": "place <> 'on_loan' OR condition IN ('usable', 'lost', 'claimed_returned')",
    "claimed_is_out": "place = 'on_loan' OR condition <> 'claimed_returned'",
    "set_aside_is_usable": "place <> 'on_hold_shelf' OR condition = 'usable'",
    "travelling_is_known": "place <> 'in_transit' OR condition <> 'missing'",
    "lost_was_lent": "place IN ('available', 'on_loan') OR condition <> 'lost'",
}
APPEND_ONLY = ("account_entries", "allocations")
SQLITE_LEDGER = tuple(
    f"CREATE TRIGGER {table}_{change} BEFORE {change} ON {table} BEGIN"
    " SELECT RAISE(ABORT, 'the ledger is append-only'); END"
    for table in APPEND_ONLY
    for change in ("update", "delete")
)
POSTGRESQL_LEDGER = (
    "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS"
    " 'BEGIN RAISE EXCEPTION ''the ledger is append-only''; END'",
    *(
        f"CREATE TRIGGER {table}_change BEFORE UPDATE OR DELETE ON {table}"
        " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        for table in APPEND_ONLY
    ),
)


# SQLite cannot alter a constraint: these tables are made anew, with the columns that this step has added at their end.
SQLITE_LOANS = """CREATE TABLE {name} (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    copy_id INTEGER NOT NULL,
    patron_id INTEGER,
    branch_id INTEGER NOT NULL,
    time_zone VARCHAR(64) NOT NULL,
    checked_out_at DATETIME NOT NULL,
    checked_out_by_id INTEGER,
    due_at DATETIME NOT NULL,
    due_on DATE NOT NULL,
    closed_at DATETIME,
    closed_as VARCHAR(30),
    closed_by_id INTEGER,
    returned_branch_id INTEGER,
    version INTEGER NOT NULL,
    due_steps JSON DEFAULT '[]' NOT NULL,
    renewals INTEGER DEFAULT '0' NOT NULL,
    closing_noted_at DATETIME,
    lent_condition VARCHAR(30),
    fined_until_at DATETIME,
    lost_at DATETIME,
    claimed_at DATETIME,
    claim_note VARCHAR(500),
    fine_pauses JSON DEFAULT '[]' NOT NULL,
    CONSTRAINT ck_loans_closed_somehow CHECK ((closed_at IS NULL) = (closed_as IS NULL)),
    CONSTRAINT ck_loans_closed_after_start CHECK (closed_at >= checked_out_at),
    CONSTRAINT ck_loans_due_after_start CHECK (due_at > checked_out_at),
    CONSTRAINT fk_loans_branch_id FOREIGN KEY(branch_id) REFERENCES branches (id) ON DELETE RESTRICT,
    CONSTRAINT fk_loans_checked_out_by_id FOREIGN KEY(checked_out_by_id) REFERENCES users (id) ON DELETE SET NULL,
    CONSTRAINT fk_loans_closed_by_id FOREIGN KEY(closed_by_id) REFERENCES users (id) ON DELETE SET NULL,
    CONSTRAINT fk_loans_copy_id FOREIGN KEY(copy_id) REFERENCES copies (id) ON DELETE RESTRICT,
    CONSTRAINT fk_loans_patron_id FOREIGN KEY(patron_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT fk_loans_returned_branch_id FOREIGN KEY(returned_branch_id) REFERENCES branches (id) ON DELETE RESTRICT,
    {checks}
)"""
SQLITE_COPIES = """CREATE TABLE {name} (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    barcode VARCHAR(50) NOT NULL,
    book_id INTEGER NOT NULL,
    home_branch_id INTEGER NOT NULL,
    current_branch_id INTEGER NOT NULL,
    transit_to_branch_id INTEGER,
    item_type_id INTEGER,
    place VARCHAR(30) NOT NULL,
    condition VARCHAR(30) NOT NULL,
    shelf_mark VARCHAR(100),
    price_cents INTEGER,
    not_for_loan BOOLEAN NOT NULL,
    check_note VARCHAR(200),
    last_seen_at DATETIME,
    last_seen_branch_id INTEGER,
    created_at DATETIME NOT NULL,
    version INTEGER NOT NULL,
    condition_note VARCHAR(500),
    CONSTRAINT ck_copies_transit_has_a_goal CHECK ((place = 'in_transit') = (transit_to_branch_id IS NOT NULL)),
    CONSTRAINT ck_copies_price CHECK (price_cents >= 0),
    CONSTRAINT fk_copies_book_id FOREIGN KEY(book_id) REFERENCES books (id) ON DELETE RESTRICT,
    CONSTRAINT fk_copies_current_branch_id FOREIGN KEY(current_branch_id) REFERENCES branches (id) ON DELETE RESTRICT,
    CONSTRAINT fk_copies_home_branch_id FOREIGN KEY(home_branch_id) REFERENCES branches (id) ON DELETE RESTRICT,
    CONSTRAINT fk_copies_item_type_id FOREIGN KEY(item_type_id) REFERENCES item_types (id) ON DELETE RESTRICT,
    CONSTRAINT fk_copies_last_seen_branch_id
        FOREIGN KEY(last_seen_branch_id) REFERENCES branches (id) ON DELETE RESTRICT,
    CONSTRAINT fk_copies_transit_to_branch_id
        FOREIGN KEY(transit_to_branch_id) REFERENCES branches (id) ON DELETE RESTRICT,
    CONSTRAINT uq_copies_barcode UNIQUE (barcode),
    CONSTRAINT ck_copies_place CHECK (place IN
        ('available', 'on_loan', 'on_hold_shelf', 'in_transit', 'in_process', 'on_order')),
    CONSTRAINT ck_copies_condition CHECK (condition IN
        ('usable', 'damaged', 'missing', 'lost', 'claimed_returned', 'withdrawn'))
    {checks}
)"""
SQLITE_INDEXES = {
    "loans": (
        "CREATE INDEX ix_loans_branch_id ON loans (branch_id)",
        "CREATE INDEX ix_loans_copy_id ON loans (copy_id)",
        "CREATE INDEX ix_loans_due_at ON loans (due_at)",
        "CREATE INDEX ix_loans_patron_id_closed_at ON loans (patron_id, closed_at)",
        "CREATE UNIQUE INDEX uq_loans_open_copy ON loans (copy_id) WHERE closed_at IS NULL",
    ),
    "copies": (
        "CREATE INDEX ix_copies_book_id ON copies (book_id)",
        "CREATE INDEX ix_copies_current_branch_id ON copies (current_branch_id)",
        "CREATE INDEX ix_copies_home_branch_id ON copies (home_branch_id)",
        "CREATE INDEX ix_copies_item_type_id ON copies (item_type_id)",
        "CREATE INDEX ix_copies_place_condition ON copies (place, condition)",
        "CREATE INDEX ix_copies_transit_to_branch_id ON copies (transit_to_branch_id)",
    ),
}


def rebuild(table, definition, checks):
    """Make a table of SQLite anew with other checks; the counter of its keys goes on, so that none comes back."""
    new = f"_alembic_tmp_{table}"
    op.execute(definition.format(name=new, checks=checks))
    op.execute(f"INSERT INTO {new} SELECT * FROM {table}")
    op.execute(f"DELETE FROM sqlite_sequence WHERE name = '{new}'")
    op.execute(f"INSERT INTO sqlite_sequence SELECT '{new}', seq FROM sqlite_sequence WHERE name = '{table}'")
    op.execute(f"DROP TABLE {table}")
    op.execute(f"ALTER TABLE {new} RENAME TO {table}")
    for index in SQLITE_INDEXES[table]:
        op.execute(index)


def closed_as(values):
    return f"CONSTRAINT ck_loans_closed_as CHECK ({values})"


def upgrade():
    op.create_table('calendar_exceptions',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('branch_id', sa.Integer(), nullable=True),
    sa.Column('from_on', sa.Date(), nullable=False),
    sa.Column('to_on', sa.Date(), nullable=False),
    sa.Column('is_open', sa.Boolean(), nullable=False),
    sa.Column('opens', sa.String(length=5), nullable=True),
    sa.Column('closes', sa.String(length=5), nullable=True),
    sa.Column('reason', sa.String(length=200), nullable=True),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.CheckConstraint('(opens IS NULL) = (closes IS NULL)', name=op.f('ck_calendar_exceptions_both_hours')),
    sa.CheckConstraint('from_on <= to_on', name=op.f('ck_calendar_exceptions_in_order')),
    sa.CheckConstraint('is_open OR opens IS NULL', name=op.f('ck_calendar_exceptions_hours_when_open')),
    sa.ForeignKeyConstraint(['branch_id'], ['branches.id'], name=op.f('fk_calendar_exceptions_branch_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_calendar_exceptions')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_calendar_exceptions_branch_id'), 'calendar_exceptions', ['branch_id'], unique=False)
    op.create_table('policies',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('kind', sa.Enum('max_loans', 'max_loans_per_item_type', 'max_loans_per_owner', 'max_overdue', 'max_debt_cents', 'max_holds', 'max_holds_per_day', 'max_holds_per_book', 'loan_period', 'renewal_period', 'shelf_period', 'max_renewals', 'renew_from', 'renew_overdue', 'renew_when_debt', 'renew_when_held', 'renew_too_soon_days', 'auto_renew', 'forgive_on_renewal', 'due_on_closed_day', 'hours_loan_ends', 'hard_due_on', 'holds_allowed', 'holds_on_shelf', 'expire_ready_when_not_needed', 'expire_on_closed_days', 'fine_rate', 'grace', 'grace_counts', 'fine_cap_cents', 'cap_at_price', 'fine_on_closed_days', 'lost_after', 'processing_fee_cents', 'processing_fee_refundable', 'lost_refund', 'lost_refund_days', 'fine_on_lost_return', 'running_fines_count_as_debt', 'minimum_age', name='kind', native_enum=False, create_constraint=True, length=30), nullable=False),
    sa.Column('branch_id', sa.Integer(), nullable=True),
    sa.Column('patron_category_id', sa.Integer(), nullable=True),
    sa.Column('item_type_id', sa.Integer(), nullable=True),
    sa.Column('scope_key', sa.String(length=40), nullable=False),
    sa.Column('value', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['branch_id'], ['branches.id'], name=op.f('fk_policies_branch_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['item_type_id'], ['item_types.id'], name=op.f('fk_policies_item_type_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['patron_category_id'], ['patron_categories.id'], name=op.f('fk_policies_patron_category_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_policies')),
    sa.UniqueConstraint('kind', 'scope_key', name=op.f('uq_policies_kind_scope_key')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_policies_branch_id'), 'policies', ['branch_id'], unique=False)
    op.create_index(op.f('ix_policies_item_type_id'), 'policies', ['item_type_id'], unique=False)
    op.create_index(op.f('ix_policies_patron_category_id'), 'policies', ['patron_category_id'], unique=False)
    op.create_table('transfer_limits',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('from_branch_id', sa.Integer(), nullable=False),
    sa.Column('to_branch_id', sa.Integer(), nullable=False),
    sa.Column('item_type_id', sa.Integer(), nullable=True),
    sa.Column('scope_key', sa.String(length=40), nullable=False),
    sa.CheckConstraint('from_branch_id <> to_branch_id', name=op.f('ck_transfer_limits_somewhere_else')),
    sa.ForeignKeyConstraint(['from_branch_id'], ['branches.id'], name=op.f('fk_transfer_limits_from_branch_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['item_type_id'], ['item_types.id'], name=op.f('fk_transfer_limits_item_type_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['to_branch_id'], ['branches.id'], name=op.f('fk_transfer_limits_to_branch_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_transfer_limits')),
    sa.UniqueConstraint('scope_key', name=op.f('uq_transfer_limits_scope_key')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_transfer_limits_from_branch_id'), 'transfer_limits', ['from_branch_id'], unique=False)
    op.create_index(op.f('ix_transfer_limits_item_type_id'), 'transfer_limits', ['item_type_id'], unique=False)
    op.create_index(op.f('ix_transfer_limits_to_branch_id'), 'transfer_limits', ['to_branch_id'], unique=False)
    op.create_table('account_entries',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('patron_id', sa.Integer(), nullable=False),
    sa.Column('kind', sa.Enum('charge', 'payment', 'waiver', 'refund', 'reversal', name='kind', native_enum=False, create_constraint=True, length=30), nullable=False),
    sa.Column('amount_cents', sa.Integer(), nullable=False),
    sa.Column('reason', sa.Enum('overdue', 'replacement', 'processing', 'manual', name='reason', native_enum=False, create_constraint=True, length=30), nullable=True),
    sa.Column('method', sa.Enum('cash', 'card', 'transfer', 'online', 'credit', name='method', native_enum=False, create_constraint=True, length=30), nullable=True),
    sa.Column('reverses_id', sa.Integer(), nullable=True),
    sa.Column('branch_id', sa.Integer(), nullable=True),
    sa.Column('actor_id', sa.Integer(), nullable=True),
    sa.Column('note', sa.String(length=500), nullable=True),
    sa.Column('steps', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('made_at', sa.DateTime(timezone=True), nullable=False),
    sa.CheckConstraint("(kind = 'charge') = (reason IS NOT NULL)", name=op.f('ck_account_entries_charge_has_a_reason')),
    sa.CheckConstraint("(kind = 'reversal') = (reverses_id IS NOT NULL)", name=op.f('ck_account_entries_reverses_something')),
    sa.CheckConstraint("(kind IN ('payment', 'refund')) = (method IS NOT NULL)", name=op.f('ck_account_entries_money_has_a_way')),
    sa.CheckConstraint("kind NOT IN ('charge', 'refund') OR amount_cents > 0", name=op.f('ck_account_entries_raises')),
    sa.CheckConstraint("kind NOT IN ('payment', 'waiver') OR amount_cents < 0", name=op.f('ck_account_entries_lowers')),
    sa.CheckConstraint('amount_cents <> 0', name=op.f('ck_account_entries_moves_money')),
    sa.ForeignKeyConstraint(['actor_id'], ['users.id'], name=op.f('fk_account_entries_actor_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['branch_id'], ['branches.id'], name=op.f('fk_account_entries_branch_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['patron_id'], ['users.id'], name=op.f('fk_account_entries_patron_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['reverses_id'], ['account_entries.id'], name=op.f('fk_account_entries_reverses_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_account_entries')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_account_entries_actor_id'), 'account_entries', ['actor_id'], unique=False)
    op.create_index(op.f('ix_account_entries_branch_id'), 'account_entries', ['branch_id'], unique=False)
    op.create_index('ix_account_entries_patron_id_kind', 'account_entries', ['patron_id', 'kind'], unique=False)
    op.create_index(op.f('ix_account_entries_reverses_id'), 'account_entries', ['reverses_id'], unique=False)
    op.create_table('holds',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('patron_id', sa.Integer(), nullable=True),
    sa.Column('book_id', sa.Integer(), nullable=False),
    sa.Column('copy_id', sa.Integer(), nullable=True),
    sa.Column('assigned_copy_id', sa.Integer(), nullable=True),
    sa.Column('pickup_branch_id', sa.Integer(), nullable=False),
    sa.Column('state', sa.Enum('queued', 'in_transit', 'ready', 'fulfilled', 'cancelled', 'expired', name='state', native_enum=False, create_constraint=True, length=30), nullable=False),
    sa.Column('sort_key', sa.BigInteger(), nullable=True),
    sa.Column('placed_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('placed_on', sa.Date(), nullable=False),
    sa.Column('placed_by_id', sa.Integer(), nullable=True),
    sa.Column('not_needed_after', sa.Date(), nullable=True),
    sa.Column('suspended', sa.Boolean(), nullable=False),
    sa.Column('suspended_until', sa.Date(), nullable=True),
    sa.Column('ready_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('shelf_until_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('shelf_until_on', sa.Date(), nullable=True),
    sa.Column('time_zone', sa.String(length=64), nullable=True),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ended_why', sa.Enum('borrowed', 'cancelled_by_patron', 'cancelled_by_staff', 'not_collected', 'not_needed', name='ended_why', native_enum=False, create_constraint=True, length=30), nullable=True),
    sa.Column('ended_by_id', sa.Integer(), nullable=True),
    sa.Column('end_reason', sa.String(length=200), nullable=True),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.CheckConstraint("(state = 'queued') = (sort_key IS NOT NULL)", name=op.f('ck_holds_queued_has_a_place')),
    sa.CheckConstraint("(state IN ('fulfilled', 'cancelled', 'expired')) = (ended_at IS NOT NULL)", name=op.f('ck_holds_ended')),
    sa.CheckConstraint("state <> 'queued' OR assigned_copy_id IS NULL", name=op.f('ck_holds_queued_has_no_copy')),
    sa.CheckConstraint("state <> 'ready' OR shelf_until_at IS NOT NULL", name=op.f('ck_holds_ready_until')),
    sa.CheckConstraint("state NOT IN ('in_transit', 'ready') OR assigned_copy_id IS NOT NULL", name=op.f('ck_holds_copy_set_aside')),
    sa.CheckConstraint('(ended_at IS NULL) = (ended_why IS NULL)', name=op.f('ck_holds_ended_somehow')),
    sa.ForeignKeyConstraint(['assigned_copy_id'], ['copies.id'], name=op.f('fk_holds_assigned_copy_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['book_id'], ['books.id'], name=op.f('fk_holds_book_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['copy_id'], ['copies.id'], name=op.f('fk_holds_copy_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['ended_by_id'], ['users.id'], name=op.f('fk_holds_ended_by_id'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['patron_id'], ['users.id'], name=op.f('fk_holds_patron_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['pickup_branch_id'], ['branches.id'], name=op.f('fk_holds_pickup_branch_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['placed_by_id'], ['users.id'], name=op.f('fk_holds_placed_by_id'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_holds')),
    sa.UniqueConstraint('book_id', 'sort_key', name=op.f('uq_holds_book_id_sort_key')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_holds_copy_id'), 'holds', ['copy_id'], unique=False)
    op.create_index('ix_holds_patron_id_state', 'holds', ['patron_id', 'state'], unique=False)
    op.create_index(op.f('ix_holds_pickup_branch_id'), 'holds', ['pickup_branch_id'], unique=False)
    op.create_index('ix_holds_state_shelf_until_at', 'holds', ['state', 'shelf_until_at'], unique=False)
    op.create_index('uq_holds_assigned_copy', 'holds', ['assigned_copy_id'], unique=True, sqlite_where=sa.text('ended_at IS NULL'), postgresql_where=sa.text('ended_at IS NULL'))
    op.create_table('jobs',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('kind', sa.Enum('nightly', 'expire_holds', 'resume_holds', 'age_to_lost', 'renew', 'cut_history', 'write_notices', name='kind', native_enum=False, create_constraint=True, length=30), nullable=False),
    sa.Column('state', sa.Enum('queued', 'running', 'done', 'failed', name='state', native_enum=False, create_constraint=True, length=30), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('created_by_id', sa.Integer(), nullable=True),
    sa.Column('runs_as_of', sa.DateTime(timezone=True), nullable=True),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('heartbeat_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('found', sa.Integer(), nullable=False),
    sa.Column('done', sa.Integer(), nullable=False),
    sa.Column('skipped', sa.Integer(), nullable=False),
    sa.Column('error', sa.String(length=200), nullable=True),
    sa.ForeignKeyConstraint(['created_by_id'], ['users.id'], name=op.f('fk_jobs_created_by_id'), ondelete='SET NULL'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_jobs')),
    sqlite_autoincrement=True
    )
    op.create_index('ix_jobs_state_id', 'jobs', ['state', 'id'], unique=False)
    op.create_table('patron_blocks',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('user_id', sa.Integer(), nullable=False),
    sa.Column('scope', sa.Enum('all', 'loans', 'holds', 'renewals', name='scope', native_enum=False, create_constraint=True, length=30), nullable=False),
    sa.Column('until_on', sa.Date(), nullable=True),
    sa.Column('reason', sa.String(length=500), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('created_by_id', sa.Integer(), nullable=True),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['created_by_id'], ['users.id'], name=op.f('fk_patron_blocks_created_by_id'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_patron_blocks_user_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_patron_blocks')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_patron_blocks_user_id'), 'patron_blocks', ['user_id'], unique=False)
    op.create_table('allocations',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('entry_id', sa.Integer(), nullable=False),
    sa.Column('charge_id', sa.Integer(), nullable=False),
    sa.Column('amount_cents', sa.Integer(), nullable=False),
    sa.CheckConstraint('amount_cents <> 0', name=op.f('ck_allocations_moves_money')),
    sa.ForeignKeyConstraint(['charge_id'], ['account_entries.id'], name=op.f('fk_allocations_charge_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['entry_id'], ['account_entries.id'], name=op.f('fk_allocations_entry_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_allocations')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_allocations_charge_id'), 'allocations', ['charge_id'], unique=False)
    op.create_index(op.f('ix_allocations_entry_id'), 'allocations', ['entry_id'], unique=False)
    op.create_table('charge_loans',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('entry_id', sa.Integer(), nullable=False),
    sa.Column('loan_id', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['entry_id'], ['account_entries.id'], name=op.f('fk_charge_loans_entry_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['loan_id'], ['loans.id'], name=op.f('fk_charge_loans_loan_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_charge_loans')),
    sa.UniqueConstraint('entry_id', name=op.f('uq_charge_loans_entry_id')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_charge_loans_loan_id'), 'charge_loans', ['loan_id'], unique=False)
    op.create_table('due_changes',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('loan_id', sa.Integer(), nullable=False),
    sa.Column('changed_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('actor_id', sa.Integer(), nullable=True),
    sa.Column('was_due_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('reason', sa.String(length=500), nullable=False),
    sa.ForeignKeyConstraint(['actor_id'], ['users.id'], name=op.f('fk_due_changes_actor_id'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['loan_id'], ['loans.id'], name=op.f('fk_due_changes_loan_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_due_changes')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_due_changes_loan_id'), 'due_changes', ['loan_id'], unique=False)
    op.create_table('notices',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('patron_id', sa.Integer(), nullable=False),
    sa.Column('kind', sa.Enum('hold_ready', 'hold_expired', 'due_soon', 'overdue', 'renewed', 'not_renewed', 'lost', name='kind', native_enum=False, create_constraint=True, length=30), nullable=False),
    sa.Column('occasion', sa.String(length=100), nullable=False),
    sa.Column('loan_id', sa.Integer(), nullable=True),
    sa.Column('hold_id', sa.Integer(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('sent_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['hold_id'], ['holds.id'], name=op.f('fk_notices_hold_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['loan_id'], ['loans.id'], name=op.f('fk_notices_loan_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['patron_id'], ['users.id'], name=op.f('fk_notices_patron_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_notices')),
    sa.UniqueConstraint('occasion', name=op.f('uq_notices_occasion')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_notices_hold_id'), 'notices', ['hold_id'], unique=False)
    op.create_index(op.f('ix_notices_loan_id'), 'notices', ['loan_id'], unique=False)
    op.create_index('ix_notices_patron_id_id', 'notices', ['patron_id', 'id'], unique=False)
    op.create_table('overrides',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('action', sa.String(length=30), nullable=False),
    sa.Column('code', sa.String(length=50), nullable=False),
    sa.Column('reason', sa.String(length=500), nullable=False),
    sa.Column('actor_id', sa.Integer(), nullable=True),
    sa.Column('loan_id', sa.Integer(), nullable=True),
    sa.Column('hold_id', sa.Integer(), nullable=True),
    sa.Column('made_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['actor_id'], ['users.id'], name=op.f('fk_overrides_actor_id'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['hold_id'], ['holds.id'], name=op.f('fk_overrides_hold_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['loan_id'], ['loans.id'], name=op.f('fk_overrides_loan_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_overrides')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_overrides_actor_id'), 'overrides', ['actor_id'], unique=False)
    op.create_index(op.f('ix_overrides_hold_id'), 'overrides', ['hold_id'], unique=False)
    op.create_index(op.f('ix_overrides_loan_id'), 'overrides', ['loan_id'], unique=False)
    op.create_table('renewals',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('loan_id', sa.Integer(), nullable=False),
    sa.Column('renewed_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('actor_id', sa.Integer(), nullable=True),
    sa.Column('channel', sa.Enum('desk', 'own', 'automatic', name='channel', native_enum=False, create_constraint=True, length=30), nullable=False),
    sa.Column('was_due_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['actor_id'], ['users.id'], name=op.f('fk_renewals_actor_id'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['loan_id'], ['loans.id'], name=op.f('fk_renewals_loan_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_renewals')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_renewals_loan_id'), 'renewals', ['loan_id'], unique=False)
    op.add_column('copies', sa.Column('condition_note', sa.String(length=500), nullable=True))
    op.add_column('loans', sa.Column('due_steps', sa.JSON(), server_default='[]', nullable=False))
    op.add_column('loans', sa.Column('renewals', sa.Integer(), server_default='0', nullable=False))
    op.add_column('loans', sa.Column('closing_noted_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('loans', sa.Column('lent_condition', sa.String(length=30), nullable=True))
    op.add_column('loans', sa.Column('fined_until_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('loans', sa.Column('lost_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('loans', sa.Column('claimed_at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('loans', sa.Column('claim_note', sa.String(length=500), nullable=True))
    op.add_column('loans', sa.Column('fine_pauses', sa.JSON(), server_default='[]', nullable=False))
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    op.execute(
        "ALTER TABLE users ADD COLUMN history VARCHAR(30) DEFAULT 'cut' NOT NULL"
        " CONSTRAINT ck_users_history CHECK (history IN ('cut', 'delayed', 'kept'))"
    )
    if on_sqlite:
        rebuild("loans", SQLITE_LOANS, closed_as(CLOSED_NOW))
        cells = "".join(f", CONSTRAINT ck_copies_{name} CHECK ({check})" for name, check in CELLS.items())
        rebuild("copies", SQLITE_COPIES, cells)
        for statement in SQLITE_LEDGER:
            op.execute(statement)
    else:
        op.drop_constraint(op.f("ck_loans_closed_as"), "loans", type_="check")
        op.execute(f"ALTER TABLE loans ADD CONSTRAINT ck_loans_closed_as CHECK ({CLOSED_NOW})")
        for name, check in CELLS.items():
            op.create_check_constraint(op.f(f"ck_copies_{name}"), "copies", check)
        for statement in POSTGRESQL_LEDGER:
            op.execute(statement)


def downgrade():
    op.execute("UPDATE loans SET closed_as = 'returned' WHERE closed_as IS NOT NULL")
    if op.get_bind().dialect.name == "sqlite":
        for table in APPEND_ONLY:
            for change in ("update", "delete"):
                op.execute(f"DROP TRIGGER {table}_{change}")
        rebuild("loans", SQLITE_LOANS, closed_as(CLOSED_BEFORE))
        rebuild("copies", SQLITE_COPIES, "")
    else:
        op.drop_constraint(op.f("ck_loans_closed_as"), "loans", type_="check")
        op.execute(f"ALTER TABLE loans ADD CONSTRAINT ck_loans_closed_as CHECK ({CLOSED_BEFORE})")
        for name in CELLS:
            op.drop_constraint(op.f(f"ck_copies_{name}"), "copies", type_="check")
        for table in APPEND_ONLY:
            op.execute(f"DROP TRIGGER {table}_change ON {table}")
        op.execute("DROP FUNCTION refuse_change()")
    op.drop_column('copies', 'condition_note')
    op.drop_column('users', 'history')
    op.drop_column('loans', 'fine_pauses')
    op.drop_column('loans', 'claim_note')
    op.drop_column('loans', 'claimed_at')
    op.drop_column('loans', 'lost_at')
    op.drop_column('loans', 'fined_until_at')
    op.drop_column('loans', 'lent_condition')
    op.drop_column('loans', 'closing_noted_at')
    op.drop_column('loans', 'renewals')
    op.drop_column('loans', 'due_steps')
    op.drop_index(op.f('ix_renewals_loan_id'), table_name='renewals')
    op.drop_table('renewals')
    op.drop_index(op.f('ix_overrides_loan_id'), table_name='overrides')
    op.drop_index(op.f('ix_overrides_hold_id'), table_name='overrides')
    op.drop_index(op.f('ix_overrides_actor_id'), table_name='overrides')
    op.drop_table('overrides')
    op.drop_index('ix_notices_patron_id_id', table_name='notices')
    op.drop_index(op.f('ix_notices_loan_id'), table_name='notices')
    op.drop_index(op.f('ix_notices_hold_id'), table_name='notices')
    op.drop_table('notices')
    op.drop_index(op.f('ix_due_changes_loan_id'), table_name='due_changes')
    op.drop_table('due_changes')
    op.drop_index(op.f('ix_charge_loans_loan_id'), table_name='charge_loans')
    op.drop_table('charge_loans')
    op.drop_index(op.f('ix_allocations_entry_id'), table_name='allocations')
    op.drop_index(op.f('ix_allocations_charge_id'), table_name='allocations')
    op.drop_table('allocations')
    op.drop_index(op.f('ix_patron_blocks_user_id'), table_name='patron_blocks')
    op.drop_table('patron_blocks')
    op.drop_index('ix_jobs_state_id', table_name='jobs')
    op.drop_table('jobs')
    op.drop_index('uq_holds_assigned_copy', table_name='holds', sqlite_where=sa.text('ended_at IS NULL'), postgresql_where=sa.text('ended_at IS NULL'))
    op.drop_index('ix_holds_state_shelf_until_at', table_name='holds')
    op.drop_index(op.f('ix_holds_pickup_branch_id'), table_name='holds')
    op.drop_index('ix_holds_patron_id_state', table_name='holds')
    op.drop_index(op.f('ix_holds_copy_id'), table_name='holds')
    op.drop_table('holds')
    op.drop_index(op.f('ix_account_entries_reverses_id'), table_name='account_entries')
    op.drop_index('ix_account_entries_patron_id_kind', table_name='account_entries')
    op.drop_index(op.f('ix_account_entries_branch_id'), table_name='account_entries')
    op.drop_index(op.f('ix_account_entries_actor_id'), table_name='account_entries')
    op.drop_table('account_entries')
    op.drop_index(op.f('ix_transfer_limits_to_branch_id'), table_name='transfer_limits')
    op.drop_index(op.f('ix_transfer_limits_item_type_id'), table_name='transfer_limits')
    op.drop_index(op.f('ix_transfer_limits_from_branch_id'), table_name='transfer_limits')
    op.drop_table('transfer_limits')
    op.drop_index(op.f('ix_policies_patron_category_id'), table_name='policies')
    op.drop_index(op.f('ix_policies_item_type_id'), table_name='policies')
    op.drop_index(op.f('ix_policies_branch_id'), table_name='policies')
    op.drop_table('policies')
    op.drop_index(op.f('ix_calendar_exceptions_branch_id'), table_name='calendar_exceptions')
    op.drop_table('calendar_exceptions')

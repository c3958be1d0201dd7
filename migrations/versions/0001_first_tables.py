"""first tables

Revision ID: 0001
Revises: 
Create Date: 2026-11-22 17:32:02.567944
"""

import sqlalchemy as sa
from alembic import op

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None

# The words were cut by our own tokeniser: the ascii tokenizer parts them at blanks and takes any other sign as a letter.
SQLITE_SEARCH = (
    "CREATE VIRTUAL TABLE book_search USING fts5(words, content='books', content_rowid='id', tokenize='ascii', prefix='2 3')",
    "CREATE TRIGGER book_search_insert AFTER INSERT ON books BEGIN"
    " INSERT INTO book_search(rowid, words) VALUES (new.id, new.words); END",
    "CREATE TRIGGER book_search_delete AFTER DELETE ON books BEGIN"
    " INSERT INTO book_search(book_search, rowid, words) VALUES ('delete', old.id, old.words); END",
    "CREATE TRIGGER book_search_update AFTER UPDATE OF words ON books WHEN old.words <> new.words BEGIN"
    " INSERT INTO book_search(book_search, rowid, words) VALUES ('delete', old.id, old.words);"
    " INSERT INTO book_search(rowid, words) VALUES (new.id, new.words); END",
)
POSTGRESQL_SEARCH = (
    "CREATE INDEX ix_books_words ON books USING gin (array_to_tsvector(string_to_array(words, ' ')))"
)


def upgrade():
    op.create_table('authors',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('name', sa.String(length=500), nullable=False),
    sa.Column('name_key', sa.String(length=500).with_variant(sa.String(length=500, collation='C'), 'postgresql'), nullable=False),
    sa.Column('dates', sa.String(length=100), nullable=False),
    sa.Column('kind', sa.Enum('person', 'body', name='kind', native_enum=False, create_constraint=True, length=30), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_authors')),
    sa.UniqueConstraint('name', 'dates', name=op.f('uq_authors_name_dates')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_authors_name_key'), 'authors', ['name_key'], unique=False)
    op.create_table('books',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('material_type', sa.Enum('book', 'serial', 'manuscript', 'map', 'score', 'sound', 'video', 'image', 'computer_file', 'kit', 'object', 'mixed', name='material_type', native_enum=False, create_constraint=True, length=30), nullable=False),
    sa.Column('title', sa.String(length=2000), nullable=False),
    sa.Column('title_key', sa.String(length=200).with_variant(sa.String(length=200, collation='C'), 'postgresql'), nullable=False),
    sa.Column('subtitle', sa.String(length=2000), nullable=True),
    sa.Column('publisher', sa.String(length=500), nullable=True),
    sa.Column('year', sa.Integer(), nullable=True),
    sa.Column('year_text', sa.String(length=200), nullable=True),
    sa.Column('edition', sa.String(length=500), nullable=True),
    sa.Column('language', sa.String(length=3), nullable=True),
    sa.Column('pages', sa.Integer(), nullable=True),
    sa.Column('series', sa.String(length=500), nullable=True),
    sa.Column('description', sa.Text(), nullable=True),
    sa.Column('control_number', sa.String(length=100), nullable=True),
    sa.Column('words', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_books')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_books_control_number'), 'books', ['control_number'], unique=False)
    op.create_index(op.f('ix_books_language'), 'books', ['language'], unique=False)
    op.create_index('ix_books_title_key', 'books', ['title_key', 'id'], unique=False)
    op.create_index('ix_books_year', 'books', ['year', 'id'], unique=False)
    op.create_table('branches',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('name', sa.String(length=100), nullable=False),
    sa.Column('time_zone', sa.String(length=64), nullable=False),
    sa.Column('hours', sa.JSON(), nullable=False),
    sa.Column('pickup_point', sa.Boolean(), nullable=False),
    sa.Column('address', sa.String(length=500), nullable=True),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_branches')),
    sa.UniqueConstraint('name', name=op.f('uq_branches_name')),
    sqlite_autoincrement=True
    )
    op.create_table('generations',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('name', sa.String(length=30), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_generations')),
    sa.UniqueConstraint('name', name=op.f('uq_generations_name')),
    sqlite_autoincrement=True
    )
    op.create_table('item_types',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('name', sa.String(length=100), nullable=False),
    sa.Column('default_price_cents', sa.Integer(), nullable=True),
    sa.Column('not_for_loan', sa.Boolean(), nullable=False),
    sa.Column('holdable', sa.Boolean(), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.CheckConstraint('default_price_cents >= 0', name=op.f('ck_item_types_default_price')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_item_types')),
    sa.UniqueConstraint('name', name=op.f('uq_item_types_name')),
    sqlite_autoincrement=True
    )
    op.create_table('patron_categories',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('name', sa.String(length=100), nullable=False),
    sa.Column('self_registration', sa.Boolean(), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_patron_categories')),
    sa.UniqueConstraint('name', name=op.f('uq_patron_categories_name')),
    sqlite_autoincrement=True
    )
    op.create_table('subjects',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('name', sa.String(length=500), nullable=False),
    sa.Column('name_key', sa.String(length=500).with_variant(sa.String(length=500, collation='C'), 'postgresql'), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_subjects')),
    sa.UniqueConstraint('name', name=op.f('uq_subjects_name')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_subjects_name_key'), 'subjects', ['name_key'], unique=False)
    op.create_table('book_subjects',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('book_id', sa.Integer(), nullable=False),
    sa.Column('subject_id', sa.Integer(), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['book_id'], ['books.id'], name=op.f('fk_book_subjects_book_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['subject_id'], ['subjects.id'], name=op.f('fk_book_subjects_subject_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_book_subjects')),
    sa.UniqueConstraint('book_id', 'subject_id', name=op.f('uq_book_subjects_book_id_subject_id')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_book_subjects_subject_id'), 'book_subjects', ['subject_id'], unique=False)
    op.create_table('contributions',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('book_id', sa.Integer(), nullable=False),
    sa.Column('author_id', sa.Integer(), nullable=False),
    sa.Column('role', sa.Enum('author', 'editor', 'translator', 'illustrator', 'compiler', 'composer', 'performer', 'narrator', 'director', 'photographer', 'contributor', name='role', native_enum=False, create_constraint=True, length=30), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['author_id'], ['authors.id'], name=op.f('fk_contributions_author_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['book_id'], ['books.id'], name=op.f('fk_contributions_book_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_contributions')),
    sa.UniqueConstraint('book_id', 'author_id', 'role', name=op.f('uq_contributions_book_id_author_id_role')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_contributions_author_id'), 'contributions', ['author_id'], unique=False)
    op.create_table('copies',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('barcode', sa.String(length=50), nullable=False),
    sa.Column('book_id', sa.Integer(), nullable=False),
    sa.Column('home_branch_id', sa.Integer(), nullable=False),
    sa.Column('current_branch_id', sa.Integer(), nullable=False),
    sa.Column('transit_to_branch_id', sa.Integer(), nullable=True),
    sa.Column('item_type_id', sa.Integer(), nullable=True),
    sa.Column('place', sa.Enum('available', 'on_loan', 'on_hold_shelf', 'in_transit', 'in_process', 'on_order', name='place', native_enum=False, create_constraint=True, length=30), nullable=False),
    sa.Column('condition', sa.Enum('usable', 'damaged', 'missing', 'lost', 'claimed_returned', 'withdrawn', name='condition', native_enum=False, create_constraint=True, length=30), nullable=False),
    sa.Column('shelf_mark', sa.String(length=100), nullable=True),
    sa.Column('price_cents', sa.Integer(), nullable=True),
    sa.Column('not_for_loan', sa.Boolean(), nullable=False),
    sa.Column('check_note', sa.String(length=200), nullable=True),
    sa.Column('last_seen_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('last_seen_branch_id', sa.Integer(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.CheckConstraint("(place = 'in_transit') = (transit_to_branch_id IS NOT NULL)", name=op.f('ck_copies_transit_has_a_goal')),
    sa.CheckConstraint('price_cents >= 0', name=op.f('ck_copies_price')),
    sa.ForeignKeyConstraint(['book_id'], ['books.id'], name=op.f('fk_copies_book_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['current_branch_id'], ['branches.id'], name=op.f('fk_copies_current_branch_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['home_branch_id'], ['branches.id'], name=op.f('fk_copies_home_branch_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['item_type_id'], ['item_types.id'], name=op.f('fk_copies_item_type_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['last_seen_branch_id'], ['branches.id'], name=op.f('fk_copies_last_seen_branch_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['transit_to_branch_id'], ['branches.id'], name=op.f('fk_copies_transit_to_branch_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_copies')),
    sa.UniqueConstraint('barcode', name=op.f('uq_copies_barcode')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_copies_book_id'), 'copies', ['book_id'], unique=False)
    op.create_index(op.f('ix_copies_current_branch_id'), 'copies', ['current_branch_id'], unique=False)
    op.create_index(op.f('ix_copies_home_branch_id'), 'copies', ['home_branch_id'], unique=False)
    op.create_index(op.f('ix_copies_item_type_id'), 'copies', ['item_type_id'], unique=False)
    op.create_index('ix_copies_place_condition', 'copies', ['place', 'condition'], unique=False)
    op.create_index(op.f('ix_copies_transit_to_branch_id'), 'copies', ['transit_to_branch_id'], unique=False)
    op.create_table('identifiers',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('book_id', sa.Integer(), nullable=False),
    sa.Column('scheme', sa.Enum('isbn', 'issn', 'lccn', 'oclc', 'other', name='scheme', native_enum=False, create_constraint=True, length=30), nullable=False),
    sa.Column('value', sa.String(length=100), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['book_id'], ['books.id'], name=op.f('fk_identifiers_book_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_identifiers')),
    sa.UniqueConstraint('book_id', 'scheme', 'value', name=op.f('uq_identifiers_book_id_scheme_value')),
    sqlite_autoincrement=True
    )
    op.create_index('ix_identifiers_scheme_value', 'identifiers', ['scheme', 'value'], unique=False)
    op.create_table('source_records',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('book_id', sa.Integer(), nullable=False),
    sa.Column('format', sa.String(length=30), nullable=False),
    sa.Column('content', sa.LargeBinary(), nullable=False),
    sa.ForeignKeyConstraint(['book_id'], ['books.id'], name=op.f('fk_source_records_book_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_source_records')),
    sa.UniqueConstraint('book_id', name=op.f('uq_source_records_book_id')),
    sqlite_autoincrement=True
    )
    op.create_table('users',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('username', sa.String(length=100), nullable=False),
    sa.Column('username_key', sa.String(length=300).with_variant(sa.String(length=300, collation='C'), 'postgresql'), nullable=False),
    sa.Column('email', sa.String(length=254), nullable=True),
    sa.Column('email_key', sa.String(length=762).with_variant(sa.String(length=762, collation='C'), 'postgresql'), nullable=True),
    sa.Column('password_hash', sa.String(length=200), nullable=True),
    sa.Column('first_name', sa.String(length=100), nullable=True),
    sa.Column('last_name', sa.String(length=100), nullable=True),
    sa.Column('phone', sa.String(length=50), nullable=True),
    sa.Column('address', sa.String(length=500), nullable=True),
    sa.Column('birth_date', sa.Date(), nullable=True),
    sa.Column('language', sa.String(length=35), nullable=True),
    sa.Column('staff_note', sa.Text(), nullable=True),
    sa.Column('role', sa.Enum('patron', 'librarian', 'admin', name='role', native_enum=False, create_constraint=True, length=30), nullable=False),
    sa.Column('active', sa.Boolean(), nullable=False),
    sa.Column('confirmed', sa.Boolean(), nullable=False),
    sa.Column('card_barcode', sa.String(length=50), nullable=False),
    sa.Column('expires_on', sa.Date(), nullable=True),
    sa.Column('patron_category_id', sa.Integer(), nullable=True),
    sa.Column('home_branch_id', sa.Integer(), nullable=True),
    sa.Column('guarantor_id', sa.Integer(), nullable=True),
    sa.Column('words', sa.Text(), nullable=False),
    sa.Column('token_version', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['guarantor_id'], ['users.id'], name=op.f('fk_users_guarantor_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['home_branch_id'], ['branches.id'], name=op.f('fk_users_home_branch_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['patron_category_id'], ['patron_categories.id'], name=op.f('fk_users_patron_category_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_users')),
    sa.UniqueConstraint('card_barcode', name=op.f('uq_users_card_barcode')),
    sa.UniqueConstraint('email_key', name=op.f('uq_users_email_key')),
    sa.UniqueConstraint('username_key', name=op.f('uq_users_username_key')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_users_guarantor_id'), 'users', ['guarantor_id'], unique=False)
    op.create_index(op.f('ix_users_home_branch_id'), 'users', ['home_branch_id'], unique=False)
    op.create_index(op.f('ix_users_patron_category_id'), 'users', ['patron_category_id'], unique=False)
    op.create_table('loans',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('copy_id', sa.Integer(), nullable=False),
    sa.Column('patron_id', sa.Integer(), nullable=True),
    sa.Column('branch_id', sa.Integer(), nullable=False),
    sa.Column('time_zone', sa.String(length=64), nullable=False),
    sa.Column('checked_out_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('checked_out_by_id', sa.Integer(), nullable=True),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('due_on', sa.Date(), nullable=False),
    sa.Column('closed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('closed_as', sa.Enum('returned', name='closed_as', native_enum=False, create_constraint=True, length=30), nullable=True),
    sa.Column('closed_by_id', sa.Integer(), nullable=True),
    sa.Column('returned_branch_id', sa.Integer(), nullable=True),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.CheckConstraint('(closed_at IS NULL) = (closed_as IS NULL)', name=op.f('ck_loans_closed_somehow')),
    sa.CheckConstraint('closed_at >= checked_out_at', name=op.f('ck_loans_closed_after_start')),
    sa.CheckConstraint('due_at > checked_out_at', name=op.f('ck_loans_due_after_start')),
    sa.ForeignKeyConstraint(['branch_id'], ['branches.id'], name=op.f('fk_loans_branch_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['checked_out_by_id'], ['users.id'], name=op.f('fk_loans_checked_out_by_id'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['closed_by_id'], ['users.id'], name=op.f('fk_loans_closed_by_id'), ondelete='SET NULL'),
    sa.ForeignKeyConstraint(['copy_id'], ['copies.id'], name=op.f('fk_loans_copy_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['patron_id'], ['users.id'], name=op.f('fk_loans_patron_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['returned_branch_id'], ['branches.id'], name=op.f('fk_loans_returned_branch_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_loans')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_loans_branch_id'), 'loans', ['branch_id'], unique=False)
    op.create_index(op.f('ix_loans_copy_id'), 'loans', ['copy_id'], unique=False)
    op.create_index('ix_loans_due_at', 'loans', ['due_at'], unique=False)
    op.create_index('ix_loans_patron_id_closed_at', 'loans', ['patron_id', 'closed_at'], unique=False)
    op.create_index('uq_loans_open_copy', 'loans', ['copy_id'], unique=True, sqlite_where=sa.text('closed_at IS NULL'), postgresql_where=sa.text('closed_at IS NULL'))
    op.create_table('orders',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('user_id', sa.Integer(), nullable=False),
    sa.Column('status', sa.Enum('draft', name='status', native_enum=False, create_constraint=True, length=30), nullable=False),
    sa.Column('note', sa.String(length=2000), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_orders_user_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_orders')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_orders_user_id'), 'orders', ['user_id'], unique=False)
    op.create_table('user_sessions',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('user_id', sa.Integer(), nullable=False),
    sa.Column('refresh_jti', sa.String(length=64), nullable=False),
    sa.Column('started_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('rotated_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_user_sessions_user_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_user_sessions')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_user_sessions_expires_at'), 'user_sessions', ['expires_at'], unique=False)
    op.create_index(op.f('ix_user_sessions_user_id'), 'user_sessions', ['user_id'], unique=False)
    op.create_table('order_lines',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('order_id', sa.Integer(), nullable=False),
    sa.Column('book_id', sa.Integer(), nullable=False),
    sa.Column('quantity', sa.Integer(), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.CheckConstraint('quantity > 0', name=op.f('ck_order_lines_quantity')),
    sa.ForeignKeyConstraint(['book_id'], ['books.id'], name=op.f('fk_order_lines_book_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['order_id'], ['orders.id'], name=op.f('fk_order_lines_order_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_order_lines')),
    sqlite_autoincrement=True
    )
    op.create_index(op.f('ix_order_lines_book_id'), 'order_lines', ['book_id'], unique=False)
    op.create_index(op.f('ix_order_lines_order_id'), 'order_lines', ['order_id'], unique=False)
    op.bulk_insert(
        sa.table("generations", sa.column("name", sa.String), sa.column("number", sa.Integer)),
        [{"name": "catalogue", "number": 0}],
    )
    if op.get_bind().dialect.name == "sqlite":
        for statement in SQLITE_SEARCH:
            op.execute(statement)
    else:
        op.execute(POSTGRESQL_SEARCH)


def downgrade():
    if op.get_bind().dialect.name == "sqlite":
        for trigger in ("insert", "update", "delete"):
            op.execute(f"DROP TRIGGER book_search_{trigger}")
        op.execute("DROP TABLE book_search")
    else:
        op.execute("DROP INDEX ix_books_words")
    op.drop_index(op.f('ix_order_lines_order_id'), table_name='order_lines')
    op.drop_index(op.f('ix_order_lines_book_id'), table_name='order_lines')
    op.drop_table('order_lines')
    op.drop_index(op.f('ix_user_sessions_user_id'), table_name='user_sessions')
    op.drop_index(op.f('ix_user_sessions_expires_at'), table_name='user_sessions')
    op.drop_table('user_sessions')
    op.drop_index(op.f('ix_orders_user_id'), table_name='orders')
    op.drop_table('orders')
    op.drop_index('uq_loans_open_copy', table_name='loans', sqlite_where=sa.text('closed_at IS NULL'), postgresql_where=sa.text('closed_at IS NULL'))
    op.drop_index('ix_loans_patron_id_closed_at', table_name='loans')
    op.drop_index('ix_loans_due_at', table_name='loans')
    op.drop_index(op.f('ix_loans_copy_id'), table_name='loans')
    op.drop_index(op.f('ix_loans_branch_id'), table_name='loans')
    op.drop_table('loans')
    op.drop_index(op.f('ix_users_patron_category_id'), table_name='users')
    op.drop_index(op.f('ix_users_home_branch_id'), table_name='users')
    op.drop_index(op.f('ix_users_guarantor_id'), table_name='users')
    op.drop_table('users')
    op.drop_table('source_records')
    op.drop_index('ix_identifiers_scheme_value', table_name='identifiers')
    op.drop_table('identifiers')
    op.drop_index(op.f('ix_copies_transit_to_branch_id'), table_name='copies')
    op.drop_index('ix_copies_place_condition', table_name='copies')
    op.drop_index(op.f('ix_copies_item_type_id'), table_name='copies')
    op.drop_index(op.f('ix_copies_home_branch_id'), table_name='copies')
    op.drop_index(op.f('ix_copies_current_branch_id'), table_name='copies')
    op.drop_index(op.f('ix_copies_book_id'), table_name='copies')
    op.drop_table('copies')
    op.drop_index(op.f('ix_contributions_author_id'), table_name='contributions')
    op.drop_table('contributions')
    op.drop_index(op.f('ix_book_subjects_subject_id'), table_name='book_subjects')
    op.drop_table('book_subjects')
    op.drop_index(op.f('ix_subjects_name_key'), table_name='subjects')
    op.drop_table('subjects')
    op.drop_table('patron_categories')
    op.drop_table('item_types')
    op.drop_table('generations')
    op.drop_table('branches')
    op.drop_index('ix_books_year', table_name='books')
    op.drop_index('ix_books_title_key', table_name='books')
    op.drop_index(op.f('ix_books_language'), table_name='books')
    op.drop_index(op.f('ix_books_control_number'), table_name='books')
    op.drop_table('books')
    op.drop_index(op.f('ix_authors_name_key'), table_name='authors')
    op.drop_table('authors')

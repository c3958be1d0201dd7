"""pages and walks

Revision ID: 0006
Revises: 0005
Create Date: 2026-11-23 09:28:40.512309
"""

from alembic import op

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None

# PostgreSQL takes its own functions to cost nothing, and made a vector of every record rather than ask the index.
POSTGRESQL_WORDS = (
    "CREATE FUNCTION words_vector(words text) RETURNS tsvector LANGUAGE plpgsql IMMUTABLE STRICT"
    " PARALLEL RESTRICTED COST 1000 AS 'BEGIN RETURN array_to_tsvector(string_to_array(words, '' '')); END'",
    "DROP INDEX ix_books_words",
    "CREATE INDEX ix_books_words ON books USING gin (words_vector(words))",
)
POSTGRESQL_WORDS_BEFORE = (
    "DROP INDEX ix_books_words",
    "DROP FUNCTION words_vector(text)",
    "CREATE INDEX ix_books_words ON books USING gin (array_to_tsvector(string_to_array(words, ' ')))",
)


def upgrade():
    op.create_index('ix_book_subjects_book_id_position', 'book_subjects', ['book_id', 'position'], unique=False)
    op.create_index('ix_books_created_at', 'books', ['created_at', 'id'], unique=False)
    op.create_index('ix_books_updated_at', 'books', ['updated_at', 'id'], unique=False)
    op.create_index('ix_contributions_book_id_position', 'contributions', ['book_id', 'position'], unique=False)
    op.create_index('ix_identifiers_book_id_position', 'identifiers', ['book_id', 'position'], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        for statement in POSTGRESQL_WORDS:
            op.execute(statement)


def downgrade():
    if op.get_bind().dialect.name == "postgresql":
        for statement in POSTGRESQL_WORDS_BEFORE:
            op.execute(statement)
    op.drop_index('ix_identifiers_book_id_position', table_name='identifiers')
    op.drop_index('ix_contributions_book_id_position', table_name='contributions')
    op.drop_index('ix_books_updated_at', table_name='books')
    op.drop_index('ix_books_created_at', table_name='books')
    op.drop_index('ix_book_subjects_book_id_position', table_name='book_subjects')

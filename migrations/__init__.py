"""The history of the tables, for Alembic; shipped inside the wheel as library.migrations."""

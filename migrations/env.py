"""How migrations run: all of them in one transaction, on SQLite with foreign keys off outside it."""

from alembic import context
from flask import current_app

from library.database import WRITES

extension = current_app.extensions["migrate"]
engine = extension.db.engine
# Any number: two upgrades at once must queue on PostgreSQL as they do on SQLite.
ONE_AT_A_TIME = 7_316_004


def run_offline() -> None:
    """Write the SQL instead of running it."""
    context.configure(
        url=engine.url.render_as_string(hide_password=False),
        target_metadata=extension.db.metadata,
        literal_binds=True,
        dialect_opts={"paramstyle": "named"},
        **extension.configure_args,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Run the steps that are missing, or none of them."""
    with engine.connect().execution_options(**{WRITES: True}) as connection:
        if engine.dialect.name == "sqlite":
            _run_on_sqlite(connection)
        else:
            with connection.begin():
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
                connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ONE_AT_A_TIME})")
                _run(connection)


def _run_on_sqlite(connection) -> None:
    # Inside a transaction the pragma does nothing, and a table rebuilt with foreign keys on empties its children.
    raw = connection.connection.dbapi_connection
    raw.execute("PRAGMA foreign_keys=OFF")
    try:
        with connection.begin():
            left_over = "SELECT name FROM sqlite_master WHERE name LIKE '\\_alembic\\_tmp\\_%' ESCAPE '\\'"
            for (name,) in connection.exec_driver_sql(left_over).fetchall():
                connection.exec_driver_sql(f'DROP TABLE "{name}"')
            _run(connection)
            orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
            if orphans:
                raise RuntimeError(f"the migration would leave {len(orphans)} rows without what they refer to")
    finally:
        raw.execute("PRAGMA foreign_keys=ON")


def _drop_empty(migration_context, _revision, directives) -> None:
    """Write no file where models and tables agree."""
    if migration_context.opts.get("x_autogenerate") and directives and directives[0].upgrade_ops.is_empty():
        directives[:] = []
        print("No changes: models and tables agree.")


def _run(connection) -> None:
    options = extension.configure_args | {"process_revision_directives": _drop_empty}
    autogenerate = getattr(context.config.cmd_opts, "autogenerate", False)
    context.configure(
        connection=connection, target_metadata=extension.db.metadata, x_autogenerate=autogenerate, **options
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()

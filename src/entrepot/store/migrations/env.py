"""What Alembic runs: the migrations on the connection that ``entrepot.store.schema`` hands over."""

from alembic import context

from entrepot.store.schema import metadata

# Batch mode: SQLite cannot alter most of a table, so Alembic copies it (alembic.sqlalchemy.org, "Batch Migrations").
context.configure(connection=context.config.attributes["connection"], target_metadata=metadata(), render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()

"""Alembic runs this file for each command; `migrate` has put its connection into the config."""

from alembic import context

from frontend.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite changes a table by writing it again; for new migrations that are generated
    render_as_batch=context.config.attributes.get("batch", False),
)
context.run_migrations()

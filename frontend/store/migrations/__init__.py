"""The steps that bring a database from one revision of the tables to the next, run by Alembic."""

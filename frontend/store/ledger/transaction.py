"""A transaction over the ledger's tables, and statements for many ids within it."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Row, Select
from sqlalchemy.dialects import postgresql, sqlite

_MANY = 500
"""Ids in one statement: SQLite's default bound for parameters is much higher."""


class Transaction:
    """The connection and the statements that the ledger's tables share within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        postgres = connection.dialect.name == "postgresql"
        # SQLAlchemy has upserts only in its dialects
        self.insert: Any = postgresql.insert if postgres else sqlite.insert

    def of_many(self, statement: Select[Any] | Any, ids: Collection[str]) -> list[Row[Any]]:
        """The rows that a statement finds for many ids, in their order."""
        # sorted, so that two gateways lock the same rows in the same order
        ordered, rows = sorted(ids), list[Row[Any]]()
        for start in range(0, len(ordered), _MANY):
            part = {"ids": ordered[start : start + _MANY]}
            rows += self.connection.execute(statement, part).all()
        return rows

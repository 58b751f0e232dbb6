"""The metadata that all tables belong to, and the few kinds of columns that they share.

Instants are integer microseconds since 1970 in UTC (`…_at_us`), durations say their unit, money and
credits are integer millionths (`…_micro`), ids are ULIDs. No column holds a float or a local time.
"""

from typing import Any

from sqlalchemy import BigInteger, Column, ForeignKey, MetaData, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def identifier() -> Column[str]:
    """The primary key of most tables."""
    return Column("id", Text, primary_key=True)


def text(name: str, *, default: str | None = None) -> Column[str]:
    """Text that is always there; `default` is the database's own."""
    return Column(name, Text, nullable=False, server_default=default)


def instant(name: str) -> Column[int]:
    """A time that is always set, in microseconds since 1970."""
    return Column(name, BigInteger, nullable=False)


def optional_instant(name: str) -> Column[int]:
    """A time that may not be set, in microseconds since 1970."""
    return Column(name, BigInteger)


def count(name: str) -> Column[int]:
    """A number of something, which starts at 0."""
    return Column(name, BigInteger, nullable=False, server_default="0")


def belongs(name: str, target: str, *, optional: bool = False) -> Column[str]:
    """A reference that keeps its target from being deleted."""
    return Column(name, Text, ForeignKey(target), nullable=optional, index=True)


class AsciiLower(FunctionElement[str]):
    """A text with the letters A to Z in lower case, and no other one: PostgreSQL's `lower` follows
    the locale, and turns letters of other alphabets, such as the Kelvin sign, into ASCII ones."""

    type = Text()
    inherit_cache = True


@compiles(AsciiLower)
def _ascii_lower(element: AsciiLower, compiler: Any, **options: Any) -> str:
    return f"lower({compiler.process(element.clauses, **options)})"


@compiles(AsciiLower, "postgresql")
def _ascii_lower_postgres(element: AsciiLower, compiler: Any, **options: Any) -> str:
    return f'lower({compiler.process(element.clauses, **options)} COLLATE "C")'

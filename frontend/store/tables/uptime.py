"""Which minutes of an hour a gateway checked whether models answer, and in which they did.

Bit n of a column stands for minute n, so that several gateways can write the same row.
"""

from sqlalchemy import BigInteger, Column, Table

from frontend.store.tables.columns import count, metadata

uptime = Table(
    "uptime",
    metadata,
    Column("hour_us", BigInteger, primary_key=True, autoincrement=False),
    count("checked"),
    count("ready"),
)

"""connections: psycopg's, with pgembed's types."""

from __future__ import annotations

import psycopg
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from pgembed import __version__
from pgembed.psycopg import as_numpy, bits, register, register_async


def read(url: str) -> None:
    with psycopg.connect(url) as connection, connection.cursor(binary=True) as cursor:
        register(connection)
        as_numpy(cursor)
        cursor.execute("SELECT code FROM product WHERE bits = %s", [bits(b"\x50", 4)])
    with ConnectionPool(url, configure=register) as pool, pool.connection() as one:
        one.execute("SELECT %s", [__version__])


async def read_async(url: str) -> None:
    async with AsyncConnectionPool(url, configure=register_async) as pool, pool.connection() as connection:
        await connection.execute("SELECT 1")

"""psycopg: pgembed's types for psycopg 3, beside pgvector's own, which its registration brings.

Nothing is registered by importing. numpy is imported when an array is met, pgvector when `register` is called.
"""

from __future__ import annotations

from pgembed.psycopg.codes import bits
from pgembed.psycopg.registering import as_numpy, register, register_async

__all__ = ["register", "register_async", "as_numpy", "bits"]

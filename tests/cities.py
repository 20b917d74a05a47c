"""Two tables to be joined, and what SQL that compares every pair says of them."""

from __future__ import annotations

from typing import Any

import psycopg

Connection = psycopg.Connection[Any]
Pairs = list[tuple[Any, ...]]

TABLES = """
    CREATE TABLE city (id int PRIMARY KEY, name text, country text, size numeric, founded date, embedding vector(3));
    CREATE TABLE capital (id int PRIMARY KEY, name text, country text, size numeric, founded date, embedding vector(3));
    INSERT INTO city SELECT n, 'city ' || n, chr(97 + n % 4), n % 7, '2000-01-01'::date + n,
        ARRAY[cos(n), sin(n * 1.7), n % 3 + n / 100.0]::vector FROM generate_series(1, 30) AS n;
    INSERT INTO city VALUES (31, 'nowhere', 'a', 1, NULL, NULL), (32, 'no country', NULL, 2, NULL, '[1,1,0.5]');
    INSERT INTO capital SELECT n, 'capital ' || n, chr(97 + n % 5), n % 6, '2000-01-01'::date + n % 9,
        ARRAY[cos(n * 1.1), sin(n * 1.3), n % 4]::vector FROM generate_series(1, 25) AS n;
    INSERT INTO capital VALUES (26, 'void', 'b', 3, NULL, NULL);
    SELECT pgembed.adopt_embedding('city', 'embedding'), pgembed.adopt_embedding('capital', 'embedding');
"""


class Near(float):
    """A distance that is equal to another as far as float32 goes."""

    __hash__ = float.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and abs(float(self) - float(other)) < 1e-5


def make(db: Connection) -> Connection:
    """Tables city and capital, with vectors of no model in three dimensions, all distances different."""
    db.execute(TABLES)
    return db


def joined(db: Connection, options: str = "", sides: str = "'city', 'capital'") -> Pairs:
    """Keys, distance and rank of the pairs, in the order of left key and rank; keys as numbers."""
    return [
        (int(left), int(right), Near(distance), rank)
        for left, right, distance, rank in db.execute(
            f"SELECT left_key, right_key, distance, rank FROM pgembed.semantic_join_keys({sides}{options}) ORDER BY left_key::int, rank"
        ).fetchall()
    ]


def compared(
    db: Connection, k: int, condition: str = "true", *, left: str = "city", right: str = "capital", operator: str = "<=>"
) -> Pairs:
    """The same by comparing all pairs."""
    return [
        (left_id, right_id, Near(distance), rank)
        for left_id, right_id, distance, rank in db.execute(
            f"SELECT * FROM (SELECT l.id, r.id AS other, l.embedding {operator} r.embedding AS distance,"
            f" row_number() OVER (PARTITION BY l.id ORDER BY l.embedding {operator} r.embedding) AS rank FROM {left} AS l JOIN {right} AS r"
            f" ON l.embedding IS NOT NULL AND r.embedding IS NOT NULL AND ({condition})) AS p WHERE rank <= {k} ORDER BY 1, rank"
        ).fetchall()
    ]


def mapped(pairs: Pairs) -> set[tuple[int, int]]:
    """The one-to-one mapping in which the nearest pair of all comes first, by looking at them one after the other."""
    chosen: set[tuple[int, int]] = set()
    for left, right, _, _ in sorted(pairs, key=lambda pair: (pair[2], pair[0], pair[1])):
        if all(left != one and right != other for one, other in chosen):
            chosen.add((left, right))
    return chosen

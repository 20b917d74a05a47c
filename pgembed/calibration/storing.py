"""storing: a calibration in the registry."""

from __future__ import annotations

import json
from dataclasses import asdict

from pgembed.calibration.measuring import K, Measured
from pgembed.columns import Column, Writer
from pgembed.database import Database
from pgembed.planner import costs


def keep(db: Database, write: Writer, column: Column, found: Measured) -> None:
    """Write what was measured, in place of what was measured before, with what it holds for.

    Raises:
        errors.InsufficientPrivilege: the caller does not own the table.
    """
    # what is so as a rule is left out
    points = [
        {name: value for name, value in asdict(point).items() if name != "k" and value is not None and value is not False}
        for point in found.points
    ]
    code = found.code
    write(
        column.table,
        "INSERT INTO pgembed._calibration AS c (table_name, column_name, points, costs, k, queries, rows, fingerprint, metric, codec,"
        " trained_at, code_index, vector_index, measured_at)"
        " VALUES ($1::oid::regclass, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::timestamptz,"
        " pgembed._index_definition($1::oid::regclass, $12), pgembed._index_definition($1::oid::regclass, $13), now())"
        " ON CONFLICT (table_name, column_name) DO UPDATE SET points = excluded.points, costs = excluded.costs, k = excluded.k,"
        " queries = excluded.queries, rows = excluded.rows, fingerprint = excluded.fingerprint, metric = excluded.metric,"
        " codec = excluded.codec, trained_at = excluded.trained_at, code_index = excluded.code_index,"
        " vector_index = excluded.vector_index, measured_at = excluded.measured_at",
        ["oid", "name", "jsonb", "jsonb", "int4", "int4", "int8", *["text"] * 6],
        [
            column.table.oid,
            column.name,
            json.dumps(points),
            json.dumps(costs.kept(found.costs)),
            K,
            found.queries,
            found.rows,
            column.fingerprint,
            column.metric,
            None if code is None else code.codec.name,
            None if code is None else code.codec.trained_at,
            None if code is None else code.index_name,
            column.index_name,
        ],
    )
    db.check_interrupts()

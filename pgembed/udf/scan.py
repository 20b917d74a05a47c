"""Scans of codes: bodies of ``sql/functions/scan.sql``."""

from __future__ import annotations

from pgembed import columns, errors, planner, vectors
from pgembed.codes import catalogue, scanning
from pgembed.codes.catalogue import Code
from pgembed.columns import Column
from pgembed.planner import shortage
from pgembed.udf import boundary, requests
from pgembed.udf.connection import DATABASE


@boundary
def embedding_of_codes(target: str | None, code: str | None) -> str:
    """Body of `pgembed._embedding_of_codes`."""
    found, _ = columns.table(DATABASE, target)
    return catalogue.code(DATABASE, found, code).embedding_column


@boundary
def codes(
    target: str | None,
    query: bytes | None,
    k: int | None,
    condition: str | None,
    params: str | None,
    code: str | None,
    rescore: int | None,
) -> list[tuple[str, float, int]]:
    """Body of `pgembed._scan_codes`.

    Raises:
        errors.InvalidParameter: k or rescore is out of range.
    """
    found, _ = columns.table(DATABASE, target)
    coded = catalogue.code(DATABASE, found, code)
    column = columns.column(DATABASE, target, coded.embedding_column)
    asked = requests.request(query, k, condition, params)
    planner.check(asked, column)
    assert query is not None
    assert k is not None
    if rescore is not None and rescore != 0 and rescore < k:
        raise errors.InvalidParameter(
            f"rescore must be 0 or at least k, which is {k}, not {rescore}",
            hint="So many of the rows nearest by code are compared exactly; 0 gives the estimated distances.",
        )
    column.one_vector("scan_codes()")
    if not column.table.keys:
        raise column.table.no_key()
    planner.check_rights(DATABASE, column, "key")
    scanning.must_read(DATABASE, coded, column)
    passes = planner.proven(DATABASE, column.table, condition)
    best = scanning.default_rescore(coded.codec, k) if rescore is None else rescore
    coded.codec.load(DATABASE)  # before numpy is used: it imports it as it must be
    vector = vectors.from_send(query)
    scanned = scanning.scan(DATABASE, coded, column.vector_schema, vector, passes, params, max(best, k))
    if best:
        nearest = scanning.nearest_of(DATABASE, column, scanned.places, vectors.to_image(vector), k)
    else:
        nearest = list(zip(scanned.places, scanned.distances.tolist(), strict=True))[:k]
    missing = _tell_missing(column, coded, passes, params) if scanned.without_code else 0
    if len(nearest) < k:
        passing, unembedded = shortage.count(DATABASE, shortage.statement(column, passes, asked), params, None, k)
        if unembedded or not missing:
            table, filtered = column.table.shown, passes != "true"
            shortage.tell(DATABASE, shortage.Short(table, table, len(nearest), k, filtered, None, True, passing - missing, unembedded))
    return [(key, distance, rank) for rank, (key, distance) in enumerate(nearest, start=1)]


def _tell_missing(column: Column, code: Code, passes: str, params: str | None) -> int:
    """Tell how many rows were not seen because their code is missing; returns how many."""
    alias = column.table.alias
    missing = (
        f"SELECT pg_catalog.count(*) AS n FROM {column.table.sql} AS {alias}"
        f" WHERE {passes} AND {alias}.{code.sql} IS NULL AND {alias}.{column.sql} IS NOT NULL"
    )
    count: int = DATABASE.execute(missing, ["pg_catalog.jsonb"], [params])[0]["n"]
    if count:
        DATABASE.notice(
            f"{count} row{'s' if count > 1 else ''} of {column.table.shown} that pass{'' if count > 1 else 'es'} the filter"
            f" {'have' if count > 1 else 'has'} no code in {code.name} yet and could not be found",
            hint=f"CALL pgembed.fill_code('{column.table.shown}', '{code.name}') encodes them.",
        )
    return count

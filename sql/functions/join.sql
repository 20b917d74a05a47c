-- The pairs are found in Python and come back as places of rows (table, ctid), which hold for the time of one statement: these functions
-- are STABLE, so all that they run sees the one snapshot of the calling statement.

CREATE OR REPLACE FUNCTION pgembed._join_pairs(
    left_table regclass, right_table regclass, left_column name, right_column name, k int, max_distance float8, mapping text,
    condition text, params jsonb, "precision" float8,
    OUT left_tables oid[], OUT left_places text[], OUT right_tables oid[], OUT right_places text[], OUT distances float8[],
    OUT ranks int[], OUT matches boolean[], OUT statement text
)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 100000
AS $python$
from pgembed.udf import join
return join.pairs(
    left_table, right_table, left_column, right_column, k, max_distance, mapping, condition, params, precision
)
$python$;

COMMENT ON FUNCTION pgembed._join_pairs(regclass, regclass, name, name, int, float8, text, text, jsonb, float8) IS
    'internal: the pairs of a semantic join, and the statement that fetches their rows';

CREATE OR REPLACE FUNCTION pgembed.semantic_join(
    "left" anyelement, "right" anycompatible, left_column name DEFAULT NULL, right_column name DEFAULT NULL, k int DEFAULT 1,
    max_distance float8 DEFAULT NULL, mapping text DEFAULT 'many', condition text DEFAULT NULL, params jsonb DEFAULT NULL,
    "precision" float8 DEFAULT NULL
)
RETURNS TABLE (left_row anyelement, right_row anycompatible, distance float8, rank int, is_match boolean)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
COST 100000 ROWS 1000
AS $$
DECLARE
    found record;
BEGIN
    SELECT * INTO found FROM pgembed._join_pairs(
        pgembed._relation_of(pg_catalog.pg_typeof("left")), pgembed._relation_of(pg_catalog.pg_typeof("right")), left_column,
        right_column, k, max_distance, mapping, condition, params, "precision"
    );
    RETURN QUERY EXECUTE found.statement USING
        found.left_tables, found.left_places, found.right_tables, found.right_places, found.distances, found.ranks, found.matches;
END;
$$;

COMMENT ON FUNCTION pgembed.semantic_join(anyelement, anycompatible, name, name, int, float8, text, text, jsonb, float8) IS
    'pairs of rows of two tables that mean the same: the k nearest right rows of each left row';

-- Which columns of this database could be joined with these. What the caller may not read is not looked at: pg_stats shows statistics of
-- columns that the caller may read, and none where row security would hide rows.

CREATE OR REPLACE FUNCTION pgembed.joinable_columns(
    target regclass, column_name name DEFAULT NULL, k int DEFAULT 10, sampled boolean DEFAULT false, semantic boolean DEFAULT true
)
RETURNS TABLE (
    own_column name, other_table regclass, other_column name, kind text, containment float8, similarity float8, score float8,
    evidence text[], statement text
)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 100000 ROWS 10
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import joinable
return joinable.joinable_columns(target, column_name, k, sampled, semantic)
$python$;

COMMENT ON FUNCTION pgembed.joinable_columns(regclass, name, int, boolean, boolean) IS
    'columns that could be joined with a column, or with those of a table, by values or by meaning; from statistics alone; sampled => true looks at some of the values';

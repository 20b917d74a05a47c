-- check_query runs as the caller and pins no search_path: the query means what it means to the caller, so everything else in it is
-- schema-qualified. VOLATILE, for in a stable function PostgreSQL refuses EXPLAIN. PARALLEL UNSAFE: settings change for the query's time.
CREATE OR REPLACE FUNCTION pgembed.check_query(query text, params text[] DEFAULT NULL, measure boolean DEFAULT false)
RETURNS TABLE (level text, finding text, detail text, remedy text)
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
COST 100000 ROWS 5
AS $python$
from pgembed.udf import check_query
return check_query.check_query(query, params, measure)
$python$;

COMMENT ON FUNCTION pgembed.check_query(text, text[], boolean) IS
    'whether a SELECT ordered by a distance can lose rows, what helps, and the query rewritten; params are the values of $1, $2 ... as text; measure => true runs it, read-only, and tells its recall';

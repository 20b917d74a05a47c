-- scan_codes compares a query with the codes of every row that passes a filter. As the kin of search it runs as the caller, and because
-- the filter means what it means to the caller no search_path is pinned: everything else is schema-qualified.

CREATE OR REPLACE FUNCTION pgembed._embedding_of_codes(target regclass, code text)
RETURNS name
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 1000
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import scan
return scan.embedding_of_codes(target, code)
$python$;

COMMENT ON FUNCTION pgembed._embedding_of_codes(regclass, text) IS 'internal: the embedded column that a column of codes encodes';

CREATE OR REPLACE FUNCTION pgembed._scan_codes(
    target regclass, query bytea, k int, filter text, params jsonb, code text, rescore int
)
RETURNS TABLE (key text, distance float8, rank int)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 100000 ROWS 10
AS $python$
from pgembed.udf import scan
return scan.codes(target, query, k, filter, params, code, rescore)
$python$;

COMMENT ON FUNCTION pgembed._scan_codes(regclass, bytea, int, text, jsonb, text, int) IS 'internal: scan_codes() with a vector as vector_send() makes it';

CREATE OR REPLACE FUNCTION pgembed.scan_codes(
    target regclass, query vector, k int DEFAULT 10, filter text DEFAULT NULL, params jsonb DEFAULT NULL, code text DEFAULT NULL,
    rescore int DEFAULT NULL
)
RETURNS TABLE (key text, distance float8, rank int)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
COST 100000 ROWS 10
AS $$
BEGIN
    RETURN QUERY SELECT s.key, s.distance, s.rank FROM pgembed._scan_codes(
        target, pgembed._sent(query), k, filter, params, code, rescore
    ) AS s;
END;
$$;

COMMENT ON FUNCTION pgembed.scan_codes(regclass, vector, int, text, jsonb, text, int) IS
    'the k rows nearest to a vector by the codes of all rows that pass a filter; the best are compared exactly; rescore => 0 estimates';

CREATE OR REPLACE FUNCTION pgembed.scan_codes(
    target regclass, query text, k int DEFAULT 10, filter text DEFAULT NULL, params jsonb DEFAULT NULL, code text DEFAULT NULL,
    rescore int DEFAULT NULL
)
RETURNS TABLE (key text, distance float8, rank int)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
COST 100000 ROWS 10
AS $$
BEGIN
    RETURN QUERY SELECT s.key, s.distance, s.rank FROM pgembed.scan_codes(
        target, pgembed._query_vector(target, query, pgembed._embedding_of_codes(target, code)), k, filter, params, code, rescore
    ) AS s;
END;
$$;

COMMENT ON FUNCTION pgembed.scan_codes(regclass, text, int, text, jsonb, text, int) IS
    'the k rows nearest to a text by the codes of all rows that pass a filter; the best are compared exactly; rescore => 0 estimates';

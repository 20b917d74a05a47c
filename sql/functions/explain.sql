-- explain_search tells how search would answer, and by default also runs it, as the caller and with what the caller may see. The filter means
-- what it means to the caller, so no search_path is pinned, and everything else is schema-qualified.

CREATE OR REPLACE FUNCTION pgembed._explain_search(
    target regclass, query bytea, vector text, question text, embedding float8, k int, filter text, params jsonb, column_name name,
    max_distance float8, recall float8, exact boolean, execute boolean, consistency text
)
RETURNS TABLE (property text, value text)
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE  -- in a stable function PostgreSQL refuses EXPLAIN, which changes nothing
COST 100000 ROWS 20
AS $python$
from pgembed.udf import explain
return explain.search(
    target, query, vector, question, embedding, k, filter, params, column_name, max_distance, recall, exact, execute, consistency
)
$python$;

COMMENT ON FUNCTION pgembed._explain_search(
    regclass, bytea, text, text, float8, int, text, jsonb, name, float8, float8, boolean, boolean, text
) IS 'internal: explain_search() with a vector as vector_send() makes it and as text, and what it took to embed the question';

CREATE OR REPLACE FUNCTION pgembed.explain_search(
    of anyelement, query vector, k int DEFAULT 10, filter text DEFAULT NULL, params jsonb DEFAULT NULL,
    column_name name DEFAULT NULL, max_distance float8 DEFAULT NULL, recall float8 DEFAULT NULL, exact boolean DEFAULT false,
    execute boolean DEFAULT true, consistency text DEFAULT 'any'
)
RETURNS TABLE (property text, value text)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
COST 100000 ROWS 20
AS $$
BEGIN
    RETURN QUERY SELECT e.property, e.value FROM pgembed._explain_search(
        pgembed._relation_of(pg_catalog.pg_typeof(of)), pgembed._sent(query), query::pg_catalog.text, NULL, NULL,
        k, filter, params, column_name, max_distance, recall, exact, execute, consistency
    ) AS e;
END;
$$;

COMMENT ON FUNCTION pgembed.explain_search(anyelement, vector, int, text, jsonb, name, float8, float8, boolean, boolean, text) IS
    'how search() answers, why, and what it takes; execute => false runs nothing of the filter';

CREATE OR REPLACE FUNCTION pgembed.explain_search(
    of anyelement, query text, k int DEFAULT 10, filter text DEFAULT NULL, params jsonb DEFAULT NULL,
    column_name name DEFAULT NULL, max_distance float8 DEFAULT NULL, recall float8 DEFAULT NULL, exact boolean DEFAULT false,
    execute boolean DEFAULT true, consistency text DEFAULT 'any'
)
RETURNS TABLE (property text, value text)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
COST 100000 ROWS 20
AS $$
DECLARE
    relation regclass := pgembed._relation_of(pg_catalog.pg_typeof(of));
    begun timestamptz := pg_catalog.clock_timestamp();
    image record;
BEGIN
    SELECT pgembed._sent(q.q) AS sent, q.q::pg_catalog.text AS shown INTO image
    FROM (SELECT pgembed._query_vector(relation, query, column_name) AS q OFFSET 0) AS q;
    RETURN QUERY SELECT e.property, e.value FROM pgembed._explain_search(
        relation, image.sent, image.shown, query, 1000 OPERATOR(pg_catalog.*) EXTRACT(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) begun),
        k, filter, params, column_name, max_distance, recall, exact, execute, consistency
    ) AS e;
END;
$$;

COMMENT ON FUNCTION pgembed.explain_search(anyelement, text, int, text, jsonb, name, float8, float8, boolean, boolean, text) IS
    'how search() answers, why, and what it takes; execute => false runs nothing of the filter';

CREATE OR REPLACE FUNCTION pgembed.explain_search(
    of text, query text, k int DEFAULT 10, filter text DEFAULT NULL, params jsonb DEFAULT NULL,
    column_name name DEFAULT NULL, max_distance float8 DEFAULT NULL, recall float8 DEFAULT NULL, exact boolean DEFAULT false,
    execute boolean DEFAULT true, consistency text DEFAULT 'any'
)
RETURNS TABLE (property text, value text)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
AS $$
BEGIN
    PERFORM pgembed._no_row(of, 'explain_search');
END;
$$;

COMMENT ON FUNCTION pgembed.explain_search(text, text, int, text, jsonb, name, float8, float8, boolean, boolean, text) IS
    'refused, with a hint: the table is named by its row type, NULL::product';

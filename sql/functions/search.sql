-- search and its kin run as the caller: privileges, column privileges and row security hold, and are part of the filter before k is
-- chosen. Those that carry a filter pin no search_path, for it means what it means to the caller; so everything else in them is
-- schema-qualified. PARALLEL UNSAFE: settings of the index scan are changed for the one statement and put back.
-- chunk, start_char and end_char are the nearest part of the row's text, in a column over chunks; else they are NULL.

CREATE OR REPLACE FUNCTION pgembed._relation_of(of regtype, place text DEFAULT 'first')
RETURNS regclass
LANGUAGE plpgsql
STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    relation regclass;
BEGIN
    SELECT c.oid::regclass INTO relation FROM pg_type AS t JOIN pg_class AS c ON c.oid = t.typrelid
    WHERE t.oid = of AND c.relkind IN ('r', 'p', 'v', 'm', 'f');
    IF NOT found THEN
        RAISE wrong_object_type USING
            MESSAGE = format('pgembed: the %s argument must be of a table''s row type, not %s', place, coalesce(of::text, 'NULL')),
            HINT = 'Write NULL::product to search the table product, NULL::public.point where a type has the table''s name.';
    END IF;
    RETURN relation;
END;
$$;

COMMENT ON FUNCTION pgembed._relation_of(regtype, text) IS 'internal: the table whose row type this is';

-- A table's name where a row belongs: PostgreSQL itself could only say that it cannot determine a polymorphic type. So search and its kin
-- have a form that takes a text first, which nothing else fits, and refuses it by this.
CREATE OR REPLACE FUNCTION pgembed._no_row(given text, calls text)
RETURNS void
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
AS $$
DECLARE
    relation regclass;
BEGIN
    BEGIN
        relation := pg_catalog.to_regclass(given);
    EXCEPTION WHEN OTHERS THEN
        NULL;  -- it is no name
    END;
    RAISE wrong_object_type USING
        MESSAGE = pg_catalog.format('pgembed: the first argument must be of a table''s row type, not the text %L', pg_catalog.left(given, 60)),
        HINT = pg_catalog.format('Write pgembed.%s(NULL::%s, ...).', calls, coalesce(relation::text, 'product'));
END;
$$;

COMMENT ON FUNCTION pgembed._no_row(text, text) IS 'internal: refuses a table that is named by a text';

-- What to look for before the table: likewise. The names of the arguments are others than in the form that works, for a call by names fits
-- that one, in whatever order.
CREATE OR REPLACE FUNCTION pgembed._turned(given text, of regtype, calls text)
RETURNS void
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
AS $$
BEGIN
    RAISE wrong_object_type USING
        MESSAGE = 'pgembed: the table''s row type must be the first argument, not the second',
        HINT = pg_catalog.format(
            'Write pgembed.%s(NULL::%s, %L, ...).', calls, of,
            CASE WHEN pg_catalog.length(given) > 60 THEN '...' ELSE given END
        );
END;
$$;

COMMENT ON FUNCTION pgembed._turned(text, regtype, text) IS 'internal: refuses a text that stands before the table';

-- Says when the statement that calls it was planned, for an immutable function is evaluated then: see pgembed.planner.facts.
CREATE OR REPLACE FUNCTION pgembed._planned()
RETURNS timestamptz
LANGUAGE plpgsql
IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN clock_timestamp();
END;
$$;

COMMENT ON FUNCTION pgembed._planned() IS 'internal: when the statement that calls it was planned';

CREATE OR REPLACE FUNCTION pgembed._sent(query vector)
RETURNS bytea
LANGUAGE sql
IMMUTABLE PARALLEL SAFE
RETURN vector_send(query);

COMMENT ON FUNCTION pgembed._sent(vector) IS 'internal: vector_send() of pgvector, in whichever schema it lives';

-- The statement is one SELECT over the caller's table; its parameters are $1 params, $2 query vector, $3 k, $4 max_distance, $5 the
-- key to leave out, $6 the query's code as text, $7 its mask, and $8 and $9 keys and vectors of rows that were embedded for this search.
CREATE OR REPLACE FUNCTION pgembed._plan_search(
    target regclass, output text, query bytea, k int, filter text, params jsonb, column_name name, max_distance float8,
    recall float8, exact boolean, leave_out text, by_path text, consistency text DEFAULT 'any',
    OUT statement text, OUT path text, OUT reason text, OUT estimated_rows float8, OUT settings text[], OUT shortage text,
    OUT code text, OUT mask text, OUT stale text
)
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE  -- in a stable function PostgreSQL refuses EXPLAIN, which changes nothing
COST 1000
AS $python$
from pgembed.udf import search
return search.plan(
    target, output, query, k, filter, params, column_name, max_distance, recall, exact, leave_out, by_path, consistency
)
$python$;

COMMENT ON FUNCTION pgembed._plan_search(regclass, text, bytea, int, text, jsonb, name, float8, float8, boolean, text, text, text) IS
    'internal: the statement that answers a search, and why';

-- Rows whose vectors are of older texts, or that have none: found as the caller, by a statement with the caller's filter. Stable, so that
-- it sees what the statement after it sees.
CREATE OR REPLACE FUNCTION pgembed._embed_stale(
    target regclass, column_name name, statement text, params jsonb, leave_out text, OUT keys text[], OUT vectors text[]
)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 1000
AS $python$
from pgembed.udf import search
return search.embed_stale(target, column_name, statement, params, leave_out)
$python$;

COMMENT ON FUNCTION pgembed._embed_stale(regclass, name, text, jsonb, text) IS
    'internal: vectors of rows that need work, where they are few and the caller may evaluate their source; tells what is left out';

CREATE OR REPLACE FUNCTION pgembed._set(settings text[])
RETURNS text[]
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    undo text[] := '{}';
BEGIN
    -- pairs of name and value, for the transaction; returns the pairs that put back what was
    FOR i IN 1 .. coalesce(cardinality(settings), 0) BY 2 LOOP
        undo := undo || ARRAY[settings[i], current_setting(settings[i])];
        PERFORM set_config(settings[i], settings[i + 1], true);
    END LOOP;
    RETURN undo;
END;
$$;

COMMENT ON FUNCTION pgembed._set(text[]) IS 'internal: change settings for one statement';

CREATE OR REPLACE FUNCTION pgembed._tell_shortage(
    shortage text, params jsonb, leave_out text, found bigint, k int, filter text, max_distance float8, path text, target regclass,
    now_keys text[] DEFAULT NULL, is_fresh boolean DEFAULT false
)
RETURNS void
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
AS $python$
from pgembed.udf import search
return search.tell_shortage(shortage, params, leave_out, found, k, filter, max_distance, path, target, now_keys, is_fresh)
$python$;

COMMENT ON FUNCTION pgembed._tell_shortage(text, jsonb, text, bigint, int, text, float8, text, regclass, text[], boolean) IS
    'internal: says why a search has fewer rows than were asked for';

CREATE OR REPLACE FUNCTION pgembed._row_image(target regclass, key text, column_name name, consistency text)
RETURNS bytea
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import search
return search.row_image(target, key, column_name, consistency)
$python$;

COMMENT ON FUNCTION pgembed._row_image(regclass, text, name, text) IS 'internal: image of the vector of one row';

CREATE OR REPLACE FUNCTION pgembed._search(
    of anyelement, query vector, k int, filter text, params jsonb, column_name name, max_distance float8, recall float8, exact boolean,
    leave_out text, consistency text
)
RETURNS TABLE (item anyelement, distance float8, rank int, chunk text, start_char int, end_char int)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
COST 10000 ROWS 10
AS $$
DECLARE
    relation regclass := pgembed._relation_of(pg_catalog.pg_typeof(of));
    plan record;
    undo text[];
    found bigint;
    now_keys text[];
    now_vectors text[];
BEGIN
    SELECT * INTO plan FROM pgembed._plan_search(
        relation, 'item', pgembed._sent(query), k, filter, params, column_name, max_distance, recall, exact, leave_out, NULL, consistency
    );
    IF plan.stale IS NOT NULL THEN
        SELECT e.keys, e.vectors INTO now_keys, now_vectors FROM pgembed._embed_stale(relation, column_name, plan.stale, params, leave_out) AS e;
    END IF;
    undo := pgembed._set(plan.settings);
    RETURN QUERY EXECUTE plan.statement USING params, query, k, max_distance, leave_out, plan.code, plan.mask, now_keys, now_vectors;
    GET DIAGNOSTICS found = ROW_COUNT;
    PERFORM pgembed._set(undo);
    IF found OPERATOR(pg_catalog.<) k THEN
        PERFORM pgembed._tell_shortage(
            plan.shortage, params, leave_out, found, k, filter, max_distance, plan.path, relation, now_keys, plan.stale IS NOT NULL
        );
    END IF;
END;
$$;

COMMENT ON FUNCTION pgembed._search(anyelement, vector, int, text, jsonb, name, float8, float8, boolean, text, text) IS
    'internal: plans a search and runs it; the row with the key leave_out is no result';

CREATE OR REPLACE FUNCTION pgembed.search(
    of anyelement, query vector, k int DEFAULT 10, filter text DEFAULT NULL, params jsonb DEFAULT NULL,
    column_name name DEFAULT NULL, max_distance float8 DEFAULT NULL, recall float8 DEFAULT NULL, exact boolean DEFAULT false,
    consistency text DEFAULT 'any'
)
RETURNS TABLE (item anyelement, distance float8, rank int, chunk text, start_char int, end_char int)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
COST 10000 ROWS 10
AS $$
BEGIN
    RETURN QUERY SELECT s.item, s.distance, s.rank, s.chunk, s.start_char, s.end_char FROM pgembed._search(
        of, query, k, filter, params, column_name, max_distance, recall, exact, NULL, consistency
    ) AS s;
END;
$$;

COMMENT ON FUNCTION pgembed.search(anyelement, vector, int, text, jsonb, name, float8, float8, boolean, text) IS
    'the k rows nearest to a vector among those that pass a filter';

CREATE OR REPLACE FUNCTION pgembed.search(
    of anyelement, query text, k int DEFAULT 10, filter text DEFAULT NULL, params jsonb DEFAULT NULL,
    column_name name DEFAULT NULL, max_distance float8 DEFAULT NULL, recall float8 DEFAULT NULL, exact boolean DEFAULT false,
    consistency text DEFAULT 'any'
)
RETURNS TABLE (item anyelement, distance float8, rank int, chunk text, start_char int, end_char int)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
COST 20000 ROWS 10
AS $$
BEGIN
    RETURN QUERY SELECT s.item, s.distance, s.rank, s.chunk, s.start_char, s.end_char FROM pgembed.search(
        of, pgembed._query_vector(pgembed._relation_of(pg_catalog.pg_typeof(of)), query, column_name),
        k, filter, params, column_name, max_distance, recall, exact, consistency
    ) AS s;
END;
$$;

COMMENT ON FUNCTION pgembed.search(anyelement, text, int, text, jsonb, name, float8, float8, boolean, text) IS
    'the k rows nearest to a text among those that pass a filter';

CREATE OR REPLACE FUNCTION pgembed.search_like(
    of anyelement, key text, k int DEFAULT 10, filter text DEFAULT NULL, params jsonb DEFAULT NULL,
    column_name name DEFAULT NULL, max_distance float8 DEFAULT NULL, recall float8 DEFAULT NULL, exact boolean DEFAULT false,
    consistency text DEFAULT 'any'
)
RETURNS TABLE (item anyelement, distance float8, rank int, chunk text, start_char int, end_char int)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
COST 10000 ROWS 10
AS $$
BEGIN
    RETURN QUERY SELECT s.item, s.distance, s.rank, s.chunk, s.start_char, s.end_char FROM pgembed._search(
        of, pgembed._vector(pgembed._row_image(pgembed._relation_of(pg_catalog.pg_typeof(of)), key, column_name, consistency)),
        k, filter, params, column_name, max_distance, recall, exact, key, consistency
    ) AS s;
END;
$$;

COMMENT ON FUNCTION pgembed.search_like(anyelement, text, int, text, jsonb, name, float8, float8, boolean, text) IS
    'the k rows nearest to a row, itself left out; a composite key is a JSON array; a row in chunks is where their mean is';

CREATE OR REPLACE FUNCTION pgembed._search_keys(
    target regclass, query vector, k int, filter text, params jsonb, column_name name, max_distance float8, recall float8, exact boolean,
    by_path text, consistency text DEFAULT 'any'
)
RETURNS TABLE (key text, distance float8, rank int)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
COST 10000 ROWS 10
AS $$
DECLARE
    relation regclass := target;
    plan record;
    undo text[];
    found bigint;
    now_keys text[];
    now_vectors text[];
BEGIN
    SELECT * INTO plan FROM pgembed._plan_search(
        relation, 'key', pgembed._sent(query), k, filter, params, column_name, max_distance, recall, exact, NULL, by_path, consistency
    );
    IF plan.stale IS NOT NULL THEN
        SELECT e.keys, e.vectors INTO now_keys, now_vectors FROM pgembed._embed_stale(relation, column_name, plan.stale, params, NULL) AS e;
    END IF;
    undo := pgembed._set(plan.settings);
    RETURN QUERY EXECUTE plan.statement USING params, query, k, max_distance, NULL::text, plan.code, plan.mask, now_keys, now_vectors;
    GET DIAGNOSTICS found = ROW_COUNT;
    PERFORM pgembed._set(undo);
    IF found OPERATOR(pg_catalog.<) k THEN
        PERFORM pgembed._tell_shortage(
            plan.shortage, params, NULL, found, k, filter, max_distance, plan.path, relation, now_keys, plan.stale IS NOT NULL
        );
    END IF;
END;
$$;

COMMENT ON FUNCTION pgembed._search_keys(regclass, vector, int, text, jsonb, name, float8, float8, boolean, text, text) IS
    'internal: search_keys() by one of the planner''s paths, for measuring; NULL leaves the choice to it';

CREATE OR REPLACE FUNCTION pgembed.search_keys(
    target regclass, query vector, k int DEFAULT 10, filter text DEFAULT NULL, params jsonb DEFAULT NULL,
    column_name name DEFAULT NULL, max_distance float8 DEFAULT NULL, recall float8 DEFAULT NULL, exact boolean DEFAULT false,
    consistency text DEFAULT 'any'
)
RETURNS TABLE (key text, distance float8, rank int)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
COST 10000 ROWS 10
AS $$
BEGIN
    RETURN QUERY SELECT s.key, s.distance, s.rank FROM pgembed._search_keys(
        target, query, k, filter, params, column_name, max_distance, recall, exact, NULL, consistency
    ) AS s;
END;
$$;

COMMENT ON FUNCTION pgembed.search_keys(regclass, vector, int, text, jsonb, name, float8, float8, boolean, text) IS
    'keys and distances of the k rows nearest to a vector, for callers who may not read every column';

CREATE OR REPLACE FUNCTION pgembed.search_keys(
    target regclass, query text, k int DEFAULT 10, filter text DEFAULT NULL, params jsonb DEFAULT NULL,
    column_name name DEFAULT NULL, max_distance float8 DEFAULT NULL, recall float8 DEFAULT NULL, exact boolean DEFAULT false,
    consistency text DEFAULT 'any'
)
RETURNS TABLE (key text, distance float8, rank int)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
COST 20000 ROWS 10
AS $$
BEGIN
    RETURN QUERY SELECT s.key, s.distance, s.rank FROM pgembed.search_keys(
        target, pgembed._query_vector(target, query, column_name),
        k, filter, params, column_name, max_distance, recall, exact, consistency
    ) AS s;
END;
$$;

COMMENT ON FUNCTION pgembed.search_keys(regclass, text, int, text, jsonb, name, float8, float8, boolean, text) IS
    'keys and distances of the k rows nearest to a text, for callers who may not read every column';

CREATE OR REPLACE FUNCTION pgembed.search(
    of text, query text, k int DEFAULT 10, filter text DEFAULT NULL, params jsonb DEFAULT NULL,
    column_name name DEFAULT NULL, max_distance float8 DEFAULT NULL, recall float8 DEFAULT NULL, exact boolean DEFAULT false,
    consistency text DEFAULT 'any'
)
RETURNS TABLE (item text, distance float8, rank int, chunk text, start_char int, end_char int)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
AS $$
BEGIN
    PERFORM pgembed._no_row(of, 'search');
END;
$$;

COMMENT ON FUNCTION pgembed.search(text, text, int, text, jsonb, name, float8, float8, boolean, text) IS
    'refused, with a hint: the table is named by its row type, NULL::product';

CREATE OR REPLACE FUNCTION pgembed.search(
    given text, row_type anyelement, k int DEFAULT 10, filter text DEFAULT NULL, params jsonb DEFAULT NULL,
    column_name name DEFAULT NULL, max_distance float8 DEFAULT NULL, recall float8 DEFAULT NULL, exact boolean DEFAULT false,
    consistency text DEFAULT 'any'
)
RETURNS TABLE (item anyelement, distance float8, rank int, chunk text, start_char int, end_char int)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
AS $$
BEGIN
    PERFORM pgembed._turned(given, pg_catalog.pg_typeof(row_type), 'search');
END;
$$;

COMMENT ON FUNCTION pgembed.search(text, anyelement, int, text, jsonb, name, float8, float8, boolean, text) IS
    'refused, with a hint: the table comes first';

CREATE OR REPLACE FUNCTION pgembed.search_like(
    of text, key text, k int DEFAULT 10, filter text DEFAULT NULL, params jsonb DEFAULT NULL,
    column_name name DEFAULT NULL, max_distance float8 DEFAULT NULL, recall float8 DEFAULT NULL, exact boolean DEFAULT false,
    consistency text DEFAULT 'any'
)
RETURNS TABLE (item text, distance float8, rank int, chunk text, start_char int, end_char int)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
AS $$
BEGIN
    PERFORM pgembed._no_row(of, 'search_like');
END;
$$;

COMMENT ON FUNCTION pgembed.search_like(text, text, int, text, jsonb, name, float8, float8, boolean, text) IS
    'refused, with a hint: the table is named by its row type, NULL::product';

CREATE OR REPLACE FUNCTION pgembed.search_like(
    given text, row_type anyelement, k int DEFAULT 10, filter text DEFAULT NULL, params jsonb DEFAULT NULL,
    column_name name DEFAULT NULL, max_distance float8 DEFAULT NULL, recall float8 DEFAULT NULL, exact boolean DEFAULT false,
    consistency text DEFAULT 'any'
)
RETURNS TABLE (item anyelement, distance float8, rank int, chunk text, start_char int, end_char int)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
AS $$
BEGIN
    PERFORM pgembed._turned(given, pg_catalog.pg_typeof(row_type), 'search_like');
END;
$$;

COMMENT ON FUNCTION pgembed.search_like(text, anyelement, int, text, jsonb, name, float8, float8, boolean, text) IS
    'refused, with a hint: the table comes first';

-- The pairs are found in Python, as places of rows or as keys, and come back a part at a time; places hold for the time of one statement:
-- these functions are STABLE, so all that they run sees the one snapshot of the calling statement. They run as the caller, and the condition
-- means what it means to the caller, so no search_path is pinned and everything else is schema-qualified.

CREATE OR REPLACE FUNCTION pgembed._join_begin(
    left_table regclass, right_table regclass, form text, left_column name, right_column name, k int, max_distance float8,
    mapping text, condition text, params jsonb, "precision" float8, recall float8, labels regclass, attributes jsonb, candidates text,
    join_type text, matches_only boolean, not_equal boolean, hub_correction text, search_recall float8, hubness name
)
RETURNS bigint
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 100000
AS $python$
from pgembed.udf import join
return join.begin(
    left_table, right_table, form, left_column, right_column, k, max_distance, mapping, condition, params, precision, recall, labels,
    attributes, candidates, join_type, matches_only, not_equal, hub_correction, search_recall, hubness
)
$python$;

COMMENT ON FUNCTION pgembed._join_begin(
    regclass, regclass, text, name, name, int, float8, text, text, jsonb, float8, float8, regclass, jsonb, text, text, boolean,
    boolean, text, float8, name
) IS 'internal: begins a semantic join and returns a number for _join_next()';

CREATE OR REPLACE FUNCTION pgembed._join_next(
    handle bigint, OUT statement text, OUT left_places text[], OUT right_places text[], OUT distances float8[], OUT ranks int[],
    OUT matches boolean[], OUT probabilities float8[], OUT evidences text[]
)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 100000
AS $python$
from pgembed.udf import join
return join.following(handle)
$python$;

COMMENT ON FUNCTION pgembed._join_next(bigint) IS
    'internal: the next part of a semantic join, and the statement that makes rows of it; NULLs at the end';

CREATE OR REPLACE FUNCTION pgembed.semantic_join(
    "left" anyelement, "right" anycompatible, left_column name DEFAULT NULL, right_column name DEFAULT NULL, k int DEFAULT 1,
    max_distance float8 DEFAULT NULL, mapping text DEFAULT 'many', condition text DEFAULT NULL, params jsonb DEFAULT NULL,
    "precision" float8 DEFAULT NULL, recall float8 DEFAULT NULL, labels regclass DEFAULT NULL, attributes jsonb DEFAULT NULL,
    candidates text DEFAULT 'dense', join_type text DEFAULT 'inner', matches_only boolean DEFAULT false,
    not_equal boolean DEFAULT false, hub_correction text DEFAULT 'auto', search_recall float8 DEFAULT 1, hubness name DEFAULT NULL
)
RETURNS TABLE (
    left_row anyelement, right_row anycompatible, distance float8, rank int, is_match boolean, probability float8, evidence text[]
)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
COST 100000 ROWS 1000
AS $$
DECLARE
    handle bigint;
    part record;
BEGIN
    handle := pgembed._join_begin(
        pgembed._relation_of(pg_catalog.pg_typeof("left")), pgembed._relation_of(pg_catalog.pg_typeof("right"), 'second'), 'rows',
        left_column, right_column, k, max_distance, mapping, condition, params, "precision", recall, labels, attributes, candidates,
        join_type, matches_only, not_equal, hub_correction, search_recall, hubness
    );
    LOOP
        SELECT * INTO part FROM pgembed._join_next(handle);
        EXIT WHEN part.statement IS NULL;
        RETURN QUERY EXECUTE part.statement USING
            part.left_places, part.right_places, part.distances, part.ranks, part.matches, part.probabilities, part.evidences;
    END LOOP;
END;
$$;

COMMENT ON FUNCTION pgembed.semantic_join(
    anyelement, anycompatible, name, name, int, float8, text, text, jsonb, float8, float8, regclass, jsonb, text, text, boolean,
    boolean, text, float8, name
) IS 'pairs of rows of two tables or views that mean the same: the k nearest right rows of each left row, and which of them are matches';

CREATE OR REPLACE FUNCTION pgembed.semantic_join(
    "left" text, "right" text, left_column name DEFAULT NULL, right_column name DEFAULT NULL, k int DEFAULT 1,
    max_distance float8 DEFAULT NULL, mapping text DEFAULT 'many', condition text DEFAULT NULL, params jsonb DEFAULT NULL,
    "precision" float8 DEFAULT NULL, recall float8 DEFAULT NULL, labels regclass DEFAULT NULL, attributes jsonb DEFAULT NULL,
    candidates text DEFAULT 'dense', join_type text DEFAULT 'inner', matches_only boolean DEFAULT false,
    not_equal boolean DEFAULT false, hub_correction text DEFAULT 'auto', search_recall float8 DEFAULT 1, hubness name DEFAULT NULL
)
RETURNS TABLE (left_row text, right_row text, distance float8, rank int, is_match boolean, probability float8, evidence text[])
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
AS $$
BEGIN
    PERFORM pgembed._no_row("left", 'semantic_join');
END;
$$;

COMMENT ON FUNCTION pgembed.semantic_join(
    text, text, name, name, int, float8, text, text, jsonb, float8, float8, regclass, jsonb, text, text, boolean, boolean, text, float8, name
) IS 'refused, with a hint: the tables are named by their row types, NULL::product';

CREATE OR REPLACE FUNCTION pgembed.semantic_join_keys(
    "left" regclass, "right" regclass, left_column name DEFAULT NULL, right_column name DEFAULT NULL, k int DEFAULT 1,
    max_distance float8 DEFAULT NULL, mapping text DEFAULT 'many', condition text DEFAULT NULL, params jsonb DEFAULT NULL,
    "precision" float8 DEFAULT NULL, recall float8 DEFAULT NULL, labels regclass DEFAULT NULL, attributes jsonb DEFAULT NULL,
    candidates text DEFAULT 'dense', join_type text DEFAULT 'inner', matches_only boolean DEFAULT false,
    not_equal boolean DEFAULT false, hub_correction text DEFAULT 'auto', search_recall float8 DEFAULT 1, hubness name DEFAULT NULL
)
RETURNS TABLE (left_key text, right_key text, distance float8, rank int, is_match boolean, probability float8, evidence text[])
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
COST 100000 ROWS 1000
AS $$
DECLARE
    handle bigint;
    part record;
BEGIN
    handle := pgembed._join_begin(
        "left", "right", 'keys',
        left_column, right_column, k, max_distance, mapping, condition, params, "precision", recall, labels, attributes, candidates,
        join_type, matches_only, not_equal, hub_correction, search_recall, hubness
    );
    LOOP
        SELECT * INTO part FROM pgembed._join_next(handle);
        EXIT WHEN part.statement IS NULL;
        RETURN QUERY EXECUTE part.statement USING
            part.left_places, part.right_places, part.distances, part.ranks, part.matches, part.probabilities, part.evidences;
    END LOOP;
END;
$$;

COMMENT ON FUNCTION pgembed.semantic_join_keys(
    regclass, regclass, name, name, int, float8, text, text, jsonb, float8, float8, regclass, jsonb, text, text, boolean, boolean,
    text, float8, name
) IS 'the keys of the pairs of semantic_join(), for callers who may not read every column; a composite key is a JSON array';

CREATE OR REPLACE FUNCTION pgembed._join_table(destination text, left_table regclass, right_table regclass, OUT made text, OUT filled text)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
AS $python$
from pgembed.udf import join
return join.table(destination, left_table, right_table)
$python$;

COMMENT ON FUNCTION pgembed._join_table(text, regclass, regclass) IS
    'internal: the statement that makes the table of semantic_join_into(), and what is selected into it';

CREATE OR REPLACE FUNCTION pgembed.semantic_join_into(
    destination text, "left" regclass, "right" regclass, left_column name DEFAULT NULL, right_column name DEFAULT NULL,
    k int DEFAULT 1, max_distance float8 DEFAULT NULL, mapping text DEFAULT 'many', condition text DEFAULT NULL,
    params jsonb DEFAULT NULL, "precision" float8 DEFAULT NULL, recall float8 DEFAULT NULL, labels regclass DEFAULT NULL,
    attributes jsonb DEFAULT NULL, candidates text DEFAULT 'dense', join_type text DEFAULT 'inner', matches_only boolean DEFAULT false,
    not_equal boolean DEFAULT false, hub_correction text DEFAULT 'auto', search_recall float8 DEFAULT 1, hubness name DEFAULT NULL
)
RETURNS bigint
LANGUAGE plpgsql
VOLATILE PARALLEL UNSAFE
AS $$
DECLARE
    plan record;
    rows bigint;
BEGIN
    SELECT * INTO plan FROM pgembed._join_table(destination, "left", "right");
    EXECUTE plan.made;
    EXECUTE plan.filled USING
        "left", "right", left_column, right_column, k, max_distance, mapping, condition, params, "precision", recall, labels,
        attributes, candidates, join_type, matches_only, not_equal, hub_correction, search_recall, hubness;
    GET DIAGNOSTICS rows = ROW_COUNT;
    RETURN rows;
END;
$$;

COMMENT ON FUNCTION pgembed.semantic_join_into(
    text, regclass, regclass, name, name, int, float8, text, text, jsonb, float8, float8, regclass, jsonb, text, text, boolean,
    boolean, text, float8, name
) IS 'semantic_join_keys() into a new table with typed keys; how far it is stands in pgembed.progress; returns the number of pairs';

CREATE OR REPLACE FUNCTION pgembed._explain_join(
    left_table regclass, right_table regclass, left_column name, right_column name, k int, max_distance float8, mapping text,
    condition text, params jsonb, "precision" float8, recall float8, labels regclass, attributes jsonb, candidates text,
    join_type text, matches_only boolean, not_equal boolean, hub_correction text, search_recall float8, hubness name, execute boolean
)
RETURNS TABLE (property text, value text)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 100000 ROWS 20
AS $python$
from pgembed.udf import join
return join.explain(
    left_table, right_table, left_column, right_column, k, max_distance, mapping, condition, params, precision, recall, labels,
    attributes, candidates, join_type, matches_only, not_equal, hub_correction, search_recall, hubness, execute
)
$python$;

COMMENT ON FUNCTION pgembed._explain_join(
    regclass, regclass, name, name, int, float8, text, text, jsonb, float8, float8, regclass, jsonb, text, text, boolean, boolean,
    text, float8, name, boolean
) IS 'internal: explain_join() of two relations';

CREATE OR REPLACE FUNCTION pgembed.explain_join(
    "left" anyelement, "right" anycompatible, left_column name DEFAULT NULL, right_column name DEFAULT NULL, k int DEFAULT 1,
    max_distance float8 DEFAULT NULL, mapping text DEFAULT 'many', condition text DEFAULT NULL, params jsonb DEFAULT NULL,
    "precision" float8 DEFAULT NULL, recall float8 DEFAULT NULL, labels regclass DEFAULT NULL, attributes jsonb DEFAULT NULL,
    candidates text DEFAULT 'dense', join_type text DEFAULT 'inner', matches_only boolean DEFAULT false,
    not_equal boolean DEFAULT false, hub_correction text DEFAULT 'auto', search_recall float8 DEFAULT 1, hubness name DEFAULT NULL,
    execute boolean DEFAULT true
)
RETURNS TABLE (property text, value text)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
COST 100000 ROWS 20
AS $$
BEGIN
    RETURN QUERY SELECT e.property, e.value FROM pgembed._explain_join(
        pgembed._relation_of(pg_catalog.pg_typeof("left")), pgembed._relation_of(pg_catalog.pg_typeof("right"), 'second'),
        left_column, right_column, k, max_distance, mapping, condition, params, "precision", recall, labels, attributes, candidates,
        join_type, matches_only, not_equal, hub_correction, search_recall, hubness, execute
    ) AS e;
END;
$$;

COMMENT ON FUNCTION pgembed.explain_join(
    anyelement, anycompatible, name, name, int, float8, text, text, jsonb, float8, float8, regclass, jsonb, text, text, boolean,
    boolean, text, float8, name, boolean
) IS 'how semantic_join() goes about it, and how good its matches are estimated to be; execute => false reads no rows';

CREATE OR REPLACE FUNCTION pgembed.explain_join(
    "left" text, "right" text, left_column name DEFAULT NULL, right_column name DEFAULT NULL, k int DEFAULT 1,
    max_distance float8 DEFAULT NULL, mapping text DEFAULT 'many', condition text DEFAULT NULL, params jsonb DEFAULT NULL,
    "precision" float8 DEFAULT NULL, recall float8 DEFAULT NULL, labels regclass DEFAULT NULL, attributes jsonb DEFAULT NULL,
    candidates text DEFAULT 'dense', join_type text DEFAULT 'inner', matches_only boolean DEFAULT false,
    not_equal boolean DEFAULT false, hub_correction text DEFAULT 'auto', search_recall float8 DEFAULT 1, hubness name DEFAULT NULL,
    execute boolean DEFAULT true
)
RETURNS TABLE (property text, value text)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
AS $$
BEGIN
    PERFORM pgembed._no_row("left", 'explain_join');
END;
$$;

COMMENT ON FUNCTION pgembed.explain_join(
    text, text, name, name, int, float8, text, text, jsonb, float8, float8, regclass, jsonb, text, text, boolean, boolean, text, float8,
    name, boolean
) IS 'refused, with a hint: the tables are named by their row types, NULL::product';

-- Linking one text. What carries a filter pins no search_path, for it means what it means to the caller; so everything else in it is
-- schema-qualified.

CREATE OR REPLACE FUNCTION pgembed._filter_links(target regclass, linker text, filter text, params jsonb)
RETURNS text[]
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 10000
AS $python$
from pgembed.udf import link
return link.passing(target, linker, filter, params)
$python$;

COMMENT ON FUNCTION pgembed._filter_links(regclass, text, text, jsonb) IS
    'internal: keys of the rows that pass a filter, as the caller; NULL where there is no filter';

CREATE OR REPLACE FUNCTION pgembed._find_links(
    target regclass, content text, linker text, spans int4range[], passing text[], "precision" float8, pronouns boolean,
    OUT mentions text[], OUT starts int[], OUT ends int[], OUT keys text[], OUT scores float8[], OUT margins float8[],
    OUT decisions text[], OUT seconds text[], OUT kinds text[], OUT statement text
)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 20000
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import link
return link.find(target, content, linker, spans, passing, precision, pronouns)
$python$;

COMMENT ON FUNCTION pgembed._find_links(regclass, text, text, int4range[], text[], float8, boolean) IS
    'internal: the mentions in a text, and the statement that fetches the rows they are linked to';

CREATE OR REPLACE FUNCTION pgembed.link(
    of anyelement, content text, linker text DEFAULT NULL, spans int4range[] DEFAULT NULL, filter text DEFAULT NULL,
    params jsonb DEFAULT NULL, "precision" float8 DEFAULT NULL, pronouns boolean DEFAULT false
)
RETURNS TABLE (
    mention text, start_char int, end_char int, entity anyelement, score float8, margin float8, decision text, runner_up anyelement,
    mention_type text
)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
COST 20000 ROWS 10
AS $$
DECLARE
    relation regclass := pgembed._relation_of(pg_catalog.pg_typeof(of));
    found record;
BEGIN
    SELECT * INTO found FROM pgembed._find_links(
        relation, content, linker, spans, pgembed._filter_links(relation, linker, filter, params), "precision", pronouns
    );
    RETURN QUERY EXECUTE found.statement USING
        found.mentions, found.starts, found.ends, found.keys, found.scores, found.margins, found.decisions, found.seconds, found.kinds;
END;
$$;

COMMENT ON FUNCTION pgembed.link(anyelement, text, text, int4range[], text, jsonb, float8, boolean) IS
    'mentions in a text and the rows they mean: decision is link, review or nil; offsets count characters from 1, the end is exclusive';

CREATE OR REPLACE FUNCTION pgembed.link(
    of text, content text, linker text DEFAULT NULL, spans int4range[] DEFAULT NULL, filter text DEFAULT NULL,
    params jsonb DEFAULT NULL, "precision" float8 DEFAULT NULL, pronouns boolean DEFAULT false
)
RETURNS TABLE (
    mention text, start_char int, end_char int, entity text, score float8, margin float8, decision text, runner_up text, mention_type text
)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
AS $$
BEGIN
    PERFORM pgembed._no_row(of, 'link');
END;
$$;

COMMENT ON FUNCTION pgembed.link(text, text, text, int4range[], text, jsonb, float8, boolean) IS
    'refused, with a hint: the table is named by its row type, NULL::product';

CREATE OR REPLACE FUNCTION pgembed.link(
    given text, row_type anyelement, linker text DEFAULT NULL, spans int4range[] DEFAULT NULL, filter text DEFAULT NULL,
    params jsonb DEFAULT NULL, "precision" float8 DEFAULT NULL, pronouns boolean DEFAULT false
)
RETURNS TABLE (
    mention text, start_char int, end_char int, entity anyelement, score float8, margin float8, decision text, runner_up text,
    mention_type text
)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
AS $$
BEGIN
    PERFORM pgembed._turned(given, pg_catalog.pg_typeof(row_type), 'link');
END;
$$;

COMMENT ON FUNCTION pgembed.link(text, anyelement, text, int4range[], text, jsonb, float8, boolean) IS
    'refused, with a hint: the table comes first';

CREATE OR REPLACE FUNCTION pgembed._link_keys(
    linker text, content text, spans int4range[], passing text[], "precision" float8, pronouns boolean
)
RETURNS TABLE (
    mention text, start_char int, end_char int, entity_table oid, entity_key text, score float8, margin float8, decision text,
    runner_up_table oid, runner_up_key text, mention_type text
)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 20000 ROWS 10
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import link
return link.keys(linker, content, spans, passing, precision, pronouns)
$python$;

COMMENT ON FUNCTION pgembed._link_keys(text, text, int4range[], text[], float8, boolean) IS 'internal: the mentions in a text, and keys of rows';

CREATE OR REPLACE FUNCTION pgembed.link_keys(
    linker text, content text, spans int4range[] DEFAULT NULL, filter text DEFAULT NULL, params jsonb DEFAULT NULL,
    "precision" float8 DEFAULT NULL, pronouns boolean DEFAULT false
)
RETURNS TABLE (
    mention text, start_char int, end_char int, entity_table regclass, entity_key text, score float8, margin float8, decision text,
    runner_up_table regclass, runner_up_key text, mention_type text
)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
COST 20000 ROWS 10
AS $$
BEGIN
    RETURN QUERY SELECT f.mention, f.start_char, f.end_char, f.entity_table::pg_catalog.regclass, f.entity_key, f.score, f.margin, f.decision,
        f.runner_up_table::pg_catalog.regclass, f.runner_up_key, f.mention_type
    FROM pgembed._link_keys(
        linker, content, spans, pgembed._filter_links(NULL, linker, filter, params), "precision", pronouns
    ) AS f;
END;
$$;

COMMENT ON FUNCTION pgembed.link_keys(text, text, int4range[], text, jsonb, float8, boolean) IS
    'mentions in a text, and table and key of the rows they mean, of all tables of a linker';

CREATE OR REPLACE FUNCTION pgembed._explain_link(
    linker text, content text, start_char int, end_char int, k int, passing text[], pronouns boolean
)
RETURNS TABLE (
    mention text, mention_start int, mention_end int, rank int, entity_table oid, entity_key text, entity_name text, probability float8,
    decision text, evidence text[]
)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 20000 ROWS 10
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import link
return link.explain(linker, content, start_char, end_char, k, passing, pronouns)
$python$;

COMMENT ON FUNCTION pgembed._explain_link(text, text, int, int, int, text[], boolean) IS 'internal: candidates of mentions, with the reasons';

-- the ends of a place are arguments and results
CREATE OR REPLACE FUNCTION pgembed.explain_link(
    linker text, content text, INOUT start_char int DEFAULT NULL, INOUT end_char int DEFAULT NULL, k int DEFAULT 3,
    filter text DEFAULT NULL, params jsonb DEFAULT NULL, pronouns boolean DEFAULT false,
    OUT mention text, OUT rank int, OUT entity_table regclass, OUT entity_key text, OUT entity_name text, OUT probability float8,
    OUT decision text, OUT evidence text[]
)
RETURNS SETOF record
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
COST 20000 ROWS 10
AS $$
BEGIN
    RETURN QUERY SELECT f.mention_start, f.mention_end, f.mention, f.rank, f.entity_table::pg_catalog.regclass, f.entity_key, f.entity_name,
        f.probability, f.decision, f.evidence
    FROM pgembed._explain_link(
        linker, content, start_char, end_char, k, pgembed._filter_links(NULL, linker, filter, params), pronouns
    ) AS f;
END;
$$;

COMMENT ON FUNCTION pgembed.explain_link(text, text, int, int, int, text, jsonb, boolean) IS
    'the rows that a mention may mean, the most probable first, with the reasons in words; without a place all mentions that are found';

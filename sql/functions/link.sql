CREATE OR REPLACE FUNCTION pgembed.create_linker(
    name text, target regclass, names text, aliases text DEFAULT NULL, context name DEFAULT NULL
)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
AS $python$
from pgembed.udf import link
return link.create_linker(name, target, names, aliases, context)
$python$;

COMMENT ON FUNCTION pgembed.create_linker(text, regclass, text, text, name) IS
    'declare how rows of a table are named in text: an expression for the name, one for a text[] of aliases, an embedded column as context';

CREATE OR REPLACE FUNCTION pgembed.drop_linker(name text)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
AS $python$
from pgembed.udf import link
return link.drop_linker(name)
$python$;

COMMENT ON FUNCTION pgembed.drop_linker(text) IS 'undo create_linker()';

CREATE OR REPLACE FUNCTION pgembed._find_links(
    target regclass, content text, linker text,
    OUT mentions text[], OUT starts int[], OUT ends int[], OUT tables oid[], OUT places text[], OUT scores float8[],
    OUT margins float8[], OUT decisions text[], OUT statement text
)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 20000
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import link
return link.find(target, content, linker)
$python$;

COMMENT ON FUNCTION pgembed._find_links(regclass, text, text) IS
    'internal: the mentions in a text, and the statement that fetches the rows they are linked to';

CREATE OR REPLACE FUNCTION pgembed.link(of anyelement, content text, linker text DEFAULT NULL)
RETURNS TABLE (mention text, start_char int, end_char int, entity anyelement, score float8, margin float8, decision text)
LANGUAGE plpgsql
STABLE PARALLEL UNSAFE
COST 20000 ROWS 10
AS $$
DECLARE
    found record;
BEGIN
    SELECT * INTO found FROM pgembed._find_links(pgembed._relation_of(pg_catalog.pg_typeof(of)), content, linker);
    RETURN QUERY EXECUTE found.statement USING
        found.mentions, found.starts, found.ends, found.tables, found.places, found.scores, found.margins, found.decisions;
END;
$$;

COMMENT ON FUNCTION pgembed.link(anyelement, text, text) IS
    'mentions in a text and the rows they mean: decision is link, review or nil; offsets count characters from 1, the end is exclusive';

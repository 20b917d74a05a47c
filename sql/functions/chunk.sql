CREATE OR REPLACE FUNCTION pgembed.chunk(content text, max_tokens int DEFAULT 200, overlap int DEFAULT 0, model text DEFAULT NULL)
RETURNS TABLE (ordinal int, start_char int, end_char int, content text)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 10000 ROWS 10
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import chunk
return chunk.chunk(content, max_tokens, overlap, model)
$python$;

COMMENT ON FUNCTION pgembed.chunk(text, int, int, text) IS
    'cuts a text at ends of paragraphs, sentences or words into slices of at most max_tokens; substr(content, start_char, end_char - start_char) is one';

-- A table of chunks shows what its row shows: where row security comes to the table later, it comes to the chunks too.
CREATE OR REPLACE FUNCTION pgembed._after_alter()
RETURNS event_trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    line record;
BEGIN
    IF to_regclass('pgembed._embedding') IS NULL THEN
        RETURN;  -- pgembed itself is being changed
    END IF;
    FOR line IN
        SELECT e.chunk_table, t.relrowsecurity AND NOT c.relrowsecurity AS enable, t.relforcerowsecurity AND NOT c.relforcerowsecurity AS force
        FROM pgembed._embedding AS e JOIN pg_class AS t ON t.oid = e.table_name JOIN pg_class AS c ON c.oid = e.chunk_table
        WHERE e.table_name IN (SELECT objid FROM pg_event_trigger_ddl_commands() WHERE classid = 'pg_class'::regclass)
    LOOP
        IF line.enable THEN
            EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', line.chunk_table);
        END IF;
        IF line.force THEN
            EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', line.chunk_table);
        END IF;
    END LOOP;
    IF to_regclass('pgembed._code') IS NOT NULL THEN
        PERFORM pgembed._code_attached(objid) FROM pg_event_trigger_ddl_commands() WHERE classid = 'pg_class'::regclass;
        PERFORM pgembed._codecs_moved(objid) FROM pg_event_trigger_ddl_commands() WHERE classid = 'pg_namespace'::regclass;
    END IF;
    PERFORM pgembed._names_follow(classid, objid, objsubid) FROM pg_event_trigger_ddl_commands();
END;
$$;

COMMENT ON FUNCTION pgembed._after_alter() IS
    'internal: gives tables of chunks the row security that their table was given, looks at partitions that were attached, and follows names';

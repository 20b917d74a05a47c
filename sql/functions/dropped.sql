-- A dropped table takes its columns and triggers along; what is left is the line in the registry, the functions made for it and its tables
-- of chunks.

CREATE OR REPLACE FUNCTION pgembed._forget_dropped()
RETURNS TABLE (kind text, called text)
LANGUAGE sql
VOLATILE PARALLEL UNSAFE SECURITY DEFINER  -- harmless to anybody: it deletes lines of tables that do not exist
SET search_path = pg_catalog, pg_temp
AS $$
    WITH embedding AS (
        DELETE FROM pgembed._embedding AS e WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = e.table_name)
        RETURNING e.source_function, e.trigger_function, e.chunk_table
    ), linker AS (
        DELETE FROM pgembed._linker AS l WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = l.target)
        RETURNING l.names_function
    ), code AS (
        DELETE FROM pgembed._code AS k WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = k.table_name)
        RETURNING k.trigger_function
    ), filter_log AS (
        DELETE FROM pgembed._filter_log AS f WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = f.target)
    ), kept AS (
        -- another table has codes of it: from now on it is that table's
        UPDATE pgembed._codec AS c SET table_name = k.table_name, column_name = k.embedding_column
        FROM (
            SELECT DISTINCT ON (k.codec) k.codec, k.table_name, k.embedding_column FROM pgembed._code AS k
            WHERE EXISTS (SELECT FROM pg_class WHERE oid = k.table_name) ORDER BY k.codec, k.table_name
        ) AS k
        WHERE k.codec = c.name AND NOT EXISTS (SELECT FROM pg_class WHERE oid = c.table_name)
    ), codec AS (
        DELETE FROM pgembed._codec AS c
        WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = c.table_name)
          AND NOT EXISTS (SELECT FROM pgembed._code AS k JOIN pg_class AS t ON t.oid = k.table_name WHERE k.codec = c.name)
        RETURNING c.constants_function, c.domain, (
            SELECT format('%s(%I.vector)', c.encoder, n.nspname)
            FROM pg_extension AS x JOIN pg_namespace AS n ON n.oid = x.extnamespace WHERE x.extname = 'vector'
        ) AS encoder
    )
    SELECT 'FUNCTION', f FROM embedding, unnest(ARRAY[source_function, trigger_function]) AS f WHERE f IS NOT NULL
    UNION ALL
    SELECT 'FUNCTION', names_function FROM linker
    UNION ALL
    SELECT 'FUNCTION', trigger_function FROM code WHERE trigger_function IS NOT NULL
    UNION ALL
    SELECT 'FUNCTION', f FROM codec, unnest(ARRAY[encoder, constants_function]) AS f WHERE f IS NOT NULL
    UNION ALL
    SELECT 'DOMAIN', domain FROM codec WHERE domain IS NOT NULL
    UNION ALL
    SELECT 'TABLE', chunk_table::text FROM embedding WHERE EXISTS (SELECT FROM pg_class WHERE oid = chunk_table)
$$;

COMMENT ON FUNCTION pgembed._forget_dropped() IS 'internal: forget tables that do not exist, and tell what was made for them';

-- Runs with the rights of whoever dropped the table, and these decide whether the functions can be dropped too.
CREATE OR REPLACE FUNCTION pgembed._after_drop()
RETURNS event_trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET client_min_messages = warning  -- what went along with its schema is not worth a word
AS $$
DECLARE
    left_over record;
BEGIN
    IF to_regclass('pgembed._embedding') IS NULL OR to_regclass('pgembed._linker') IS NULL OR to_regclass('pgembed._code') IS NULL
        OR to_regclass('pgembed._codec') IS NULL OR to_regclass('pgembed._filter_log') IS NULL THEN
        RETURN;  -- pgembed itself is being dropped
    END IF;
    FOR left_over IN SELECT kind, called FROM pgembed._forget_dropped() LOOP
        BEGIN
            EXECUTE format('DROP %s IF EXISTS %s', left_over.kind, left_over.called);
        EXCEPTION WHEN insufficient_privilege OR dependent_objects_still_exist OR wrong_object_type THEN
            NULL;  -- somebody else's now
        END;
    END LOOP;
END;
$$;

COMMENT ON FUNCTION pgembed._after_drop() IS 'internal: cleans up after a dropped table';

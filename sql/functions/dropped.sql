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
    )
    SELECT 'FUNCTION', f FROM embedding, unnest(ARRAY[source_function, trigger_function]) AS f WHERE f IS NOT NULL
    UNION ALL
    SELECT 'FUNCTION', names_function FROM linker
    UNION ALL
    SELECT 'TABLE', chunk_table::text FROM embedding WHERE EXISTS (SELECT FROM pg_class WHERE oid = chunk_table)
$$;

COMMENT ON FUNCTION pgembed._forget_dropped() IS 'internal: forget tables that do not exist, and tell what was made for them';

-- Runs with the rights of whoever dropped the table, and these decide whether the functions can be dropped too.
CREATE OR REPLACE FUNCTION pgembed._after_drop()
RETURNS event_trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    left_over record;
BEGIN
    IF to_regclass('pgembed._embedding') IS NULL OR to_regclass('pgembed._linker') IS NULL THEN
        RETURN;  -- pgembed itself is being dropped
    END IF;
    FOR left_over IN SELECT kind, called FROM pgembed._forget_dropped() LOOP
        BEGIN
            EXECUTE format('DROP %s IF EXISTS %s', left_over.kind, left_over.called);
        EXCEPTION WHEN insufficient_privilege OR dependent_objects_still_exist THEN
            NULL;  -- somebody else's now
        END;
    END LOOP;
END;
$$;

COMMENT ON FUNCTION pgembed._after_drop() IS 'internal: cleans up after a dropped table';

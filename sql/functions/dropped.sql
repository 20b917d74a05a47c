-- A dropped table takes its columns and triggers along; what is left is the line in the registry and the functions made for it.

CREATE OR REPLACE FUNCTION pgembed._forget_dropped()
RETURNS TABLE (function text)
LANGUAGE sql
VOLATILE PARALLEL UNSAFE SECURITY DEFINER  -- harmless to anybody: it deletes lines of tables that do not exist
SET search_path = pg_catalog, pg_temp
AS $$
    WITH embedding AS (
        DELETE FROM pgembed._embedding AS e WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = e.table_name)
        RETURNING e.source_function, e.trigger_function
    ), linker AS (
        DELETE FROM pgembed._linker AS l WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = l.target)
        RETURNING l.names_function
    )
    SELECT f FROM embedding, unnest(ARRAY[source_function, trigger_function]) AS f WHERE f IS NOT NULL
    UNION ALL
    SELECT names_function FROM linker
$$;

COMMENT ON FUNCTION pgembed._forget_dropped() IS 'internal: forget tables that do not exist, and tell which functions were made for them';

-- Runs with the rights of whoever dropped the table, and these decide whether the functions can be dropped too.
CREATE OR REPLACE FUNCTION pgembed._after_drop()
RETURNS event_trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    left_over text;
BEGIN
    IF to_regclass('pgembed._embedding') IS NULL OR to_regclass('pgembed._linker') IS NULL THEN
        RETURN;  -- pgembed itself is being dropped
    END IF;
    FOR left_over IN SELECT function FROM pgembed._forget_dropped() LOOP
        BEGIN
            EXECUTE format('DROP FUNCTION IF EXISTS %s', left_over);
        EXCEPTION WHEN insufficient_privilege OR dependent_objects_still_exist THEN
            NULL;  -- somebody else's now
        END;
    END LOOP;
END;
$$;

COMMENT ON FUNCTION pgembed._after_drop() IS 'internal: cleans up after a dropped table';

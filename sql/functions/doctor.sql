-- What is wrong in this database, and what mends it. It tells what the caller may see and can mend, and changes nothing.
CREATE OR REPLACE FUNCTION pgembed.doctor()
RETURNS TABLE (severity text, subject text, finding text, remedy text)
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE  -- for it looks at what other sessions are doing now
COST 100000 ROWS 10
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import doctor
return doctor.doctor()
$python$;

COMMENT ON FUNCTION pgembed.doctor() IS
    'what is wrong with columns, indexes, models, codecs and the queue, and the statement that mends it; errors first; no line: nothing is';

-- Its statements evaluate nothing of the caller's; what it creates names all schemas.
CREATE OR REPLACE FUNCTION pgembed.repair(target regclass DEFAULT NULL)
RETURNS TABLE (table_name regclass, column_name name, done text)
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
COST 10000 ROWS 10
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import doctor
return doctor.repair(target)
$python$;

COMMENT ON FUNCTION pgembed.repair(regclass) IS
    'make triggers, work indexes and registry lines of embedded columns anew where they are missing; nothing is embedded; NULL for all your tables';

CREATE OR REPLACE FUNCTION pgembed._column_renamed(relation oid, number int)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import doctor
return doctor.column_renamed(relation, number)
$python$;

COMMENT ON FUNCTION pgembed._column_renamed(oid, int) IS
    'internal: a column of an embedded table has a new name, by which the registry knows it from now on';

CREATE OR REPLACE FUNCTION pgembed._moved(relation oid)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import doctor
return doctor.moved(relation)
$python$;

COMMENT ON FUNCTION pgembed._moved(oid) IS 'internal: an embedded table, or what was made for it, is in a schema of another name';

-- Called after each ALTER TABLE, ALTER INDEX and ALTER SCHEMA, so it looks before it calls Python. A command on a column of a table that has
-- another number is its renaming; functions and indexes are known by name, which a schema's new name and SET SCHEMA change.
CREATE OR REPLACE FUNCTION pgembed._names_follow(class oid, object oid, number int)
RETURNS void
LANGUAGE plpgsql
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF class = 'pg_class'::regclass AND number > 0 THEN
        IF EXISTS (SELECT FROM pgembed._embedding AS e WHERE e.table_name = object)
            OR EXISTS (SELECT FROM pgembed._linker_target AS l WHERE l.target = object)
            OR EXISTS (SELECT FROM pgembed._linker_source AS s WHERE object IN (s.source, s.other))
            OR EXISTS (SELECT FROM pgembed._link_table AS l WHERE l.source = object) THEN
            PERFORM pgembed._column_renamed(object, number);
        END IF;
        RETURN;
    END IF;
    IF class <> 'pg_class'::regclass AND class <> 'pg_namespace'::regclass THEN
        RETURN;
    END IF;
    PERFORM pgembed._moved(t.oid)
    FROM pg_class AS t
    WHERE CASE WHEN class = 'pg_namespace'::regclass THEN t.relkind IN ('r', 'p')
            ELSE t.oid IN (object, (SELECT x.indrelid FROM pg_index AS x WHERE x.indexrelid = object)) END
      AND pg_has_role(t.relowner, 'USAGE')
      AND (
        EXISTS (
            SELECT FROM pgembed._embedding AS e
            WHERE e.table_name = t.oid AND (to_regproc(e.source_function) IS NULL AND e.source_function IS NOT NULL
                OR to_regproc(e.trigger_function) IS NULL AND e.trigger_function IS NOT NULL
                OR to_regclass(e.work_index) IS NULL AND e.work_index IS NOT NULL)
        )
        OR EXISTS (SELECT FROM pgembed._linker_target AS l WHERE l.target = t.oid AND to_regproc(l.read_function) IS NULL)
      );
EXCEPTION WHEN OTHERS THEN
    -- whoever alters the table must not suffer from that
    RAISE WARNING 'pgembed does not follow this change: %', SQLERRM USING HINT = 'SELECT * FROM pgembed.doctor() says what mends it.';
END;
$$;

COMMENT ON FUNCTION pgembed._names_follow(oid, oid, int) IS 'internal: lets the registry follow what ALTER has renamed or moved';

-- A dropped table takes its columns and triggers along; what is left is the line in the registry, the functions made for it and its tables
-- of chunks. A dropped column of vectors takes the index over rows that need work along.

CREATE OR REPLACE FUNCTION pgembed._forget_dropped()
RETURNS TABLE (kind text, called text)
LANGUAGE sql
VOLATILE PARALLEL UNSAFE SECURITY DEFINER  -- harmless to anybody: it deletes lines of tables that do not exist
SET search_path = pg_catalog, pg_temp
AS $$
    WITH embedding AS (
        DELETE FROM pgembed._embedding AS e WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = e.table_name)
        RETURNING e.source_function, e.trigger_function, e.chunk_table
    ), linker_target AS (
        DELETE FROM pgembed._linker_target AS t WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = t.target)
        RETURNING t.linker, t.number, t.read_function
    ), linker_source AS (
        DELETE FROM pgembed._linker_source AS s
        WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = s.source)
            OR s.other IS NOT NULL AND NOT EXISTS (SELECT FROM pg_class WHERE oid = s.other)
            OR NOT EXISTS (
                SELECT FROM pgembed._linker_target AS t JOIN pg_class AS c ON c.oid = t.target
                WHERE t.linker = s.linker AND t.number = s.number
            )
        RETURNING s.linker, s.names_function
    ), linker AS (
        DELETE FROM pgembed._linker AS l
        WHERE EXISTS (SELECT FROM linker_target AS g WHERE g.linker = l.name) AND NOT EXISTS (
            SELECT FROM pgembed._linker_target AS t JOIN pg_class AS c ON c.oid = t.target WHERE t.linker = l.name
        )
        RETURNING l.name
    ), linker_model AS (
        DELETE FROM pgembed._linker_model AS m USING linker AS l WHERE m.linker = l.name
    ), linker_table AS (
        DELETE FROM pgembed._linker_table AS w WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = w.table_name)
        RETURNING w.trigger_function
    ), linker_change AS (
        DELETE FROM pgembed._linker_change AS c WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = c.table_oid)
    ), code AS (
        DELETE FROM pgembed._code AS k WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = k.table_name)
        RETURNING k.trigger_function
    ), link_table AS (
        -- what people have said of links outlives these, and links outlive their texts: a table of texts that is made anew takes them on
        DELETE FROM pgembed._link_table AS l
        WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = l.destination) OR NOT EXISTS (SELECT FROM pg_class WHERE oid = l.source)
        RETURNING l.texts, l.destination
    ), filter_log AS (
        DELETE FROM pgembed._filter_log AS f WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = f.target)
    ), model_change AS (
        DELETE FROM pgembed._model_change AS m WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = m.table_name)
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
    SELECT 'FUNCTION', read_function FROM linker_target
    UNION ALL
    SELECT 'FUNCTION', trigger_function FROM linker_table
    UNION ALL
    SELECT 'FUNCTION', names_function FROM linker_source WHERE names_function IS NOT NULL
    UNION ALL
    SELECT 'FUNCTION', trigger_function FROM code WHERE trigger_function IS NOT NULL
    UNION ALL
    SELECT 'FUNCTION', f FROM codec, unnest(ARRAY[encoder, constants_function]) AS f WHERE f IS NOT NULL
    UNION ALL
    SELECT 'DOMAIN', domain FROM codec WHERE domain IS NOT NULL
    UNION ALL
    SELECT 'TABLE', chunk_table::text FROM embedding WHERE EXISTS (SELECT FROM pg_class WHERE oid = chunk_table)
    UNION ALL
    SELECT 'TABLE', texts::text FROM link_table
    WHERE EXISTS (SELECT FROM pg_class WHERE oid = texts) AND NOT EXISTS (SELECT FROM pg_class WHERE oid = destination)
$$;

-- Claims, failures and pauses speak of columns by name, as the registry does. No foreign keys: these would lock the registry's line.
CREATE OR REPLACE FUNCTION pgembed._work_follows()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM pgembed._claim AS w WHERE w.table_name = OLD.table_name AND w.column_name = OLD.column_name;
        DELETE FROM pgembed._failure AS w WHERE w.table_name = OLD.table_name AND w.column_name = OLD.column_name;
        DELETE FROM pgembed._pause AS w WHERE w.table_name = OLD.table_name AND w.column_name = OLD.column_name;
        DELETE FROM pgembed._model_change AS w WHERE w.table_name = OLD.table_name AND w.column_name = OLD.column_name;
    ELSIF NEW.column_name <> OLD.column_name THEN
        UPDATE pgembed._claim AS w SET column_name = NEW.column_name WHERE w.table_name = OLD.table_name AND w.column_name = OLD.column_name;
        UPDATE pgembed._failure AS w SET column_name = NEW.column_name WHERE w.table_name = OLD.table_name AND w.column_name = OLD.column_name;
        UPDATE pgembed._pause AS w SET column_name = NEW.column_name WHERE w.table_name = OLD.table_name AND w.column_name = OLD.column_name;
        IF NEW.role = OLD.role THEN  -- else two columns change places, and the change stays that of the name
            UPDATE pgembed._model_change AS w SET column_name = NEW.column_name
            WHERE w.table_name = OLD.table_name AND w.column_name = OLD.column_name;
            UPDATE pgembed._model_change AS w SET new_column = NEW.column_name
            WHERE w.table_name = OLD.table_name AND w.new_column = OLD.column_name;
        END IF;
    ELSIF (NEW.fingerprint, NEW.source_function) IS DISTINCT FROM (OLD.fingerprint, OLD.source_function) THEN
        -- what failed was another model, or another source
        DELETE FROM pgembed._pause AS w WHERE w.table_name = NEW.table_name AND w.column_name = NEW.column_name;
    END IF;
    RETURN NULL;
END;
$$;

COMMENT ON FUNCTION pgembed._work_follows() IS 'internal: what is known of the work on a column goes with its line in the registry';

-- pg_dump --schema leaves the registry behind and carries a table with its triggers and their comments. So what the registry says of a column is
-- said there too, and pgembed.repair() registers the column by it.
CREATE OR REPLACE FUNCTION pgembed._declare()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- in a restore of everything the triggers come later, and bring their comments along
    IF EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = NEW.table_name AND g.tgname = NEW.trigger_name) THEN
        EXECUTE format('COMMENT ON TRIGGER %I ON %s IS %L', NEW.trigger_name, NEW.table_name, 'pgembed: ' || (
            to_jsonb(NEW) - ARRAY['table_name', 'last_error'] || jsonb_build_object('chunk_table', (
                SELECT format('%I.%I', n.nspname, c.relname)
                FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = NEW.chunk_table
            ))
        )::text);
    END IF;
    RETURN NULL;
EXCEPTION WHEN insufficient_privilege THEN
    RETURN NULL;  -- pgembed was not installed by a superuser
END;
$$;

COMMENT ON FUNCTION pgembed._declare() IS 'internal: writes what the registry says of an embedded column as the comment of its trigger';

-- The caller owns the table, or could not have dropped its column; the Python code checks that.
CREATE OR REPLACE FUNCTION pgembed._column_dropped(relation oid, name text)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import doctor
return doctor.column_dropped(relation, name)
$python$;

COMMENT ON FUNCTION pgembed._column_dropped(oid, text) IS
    'internal: forgets an embedded column whose vectors were dropped, and drops what was made for it';

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
    IF to_regclass('pgembed._embedding') IS NULL OR to_regclass('pgembed._linker_table') IS NULL OR to_regclass('pgembed._code') IS NULL
        OR to_regclass('pgembed._codec') IS NULL OR to_regclass('pgembed._filter_log') IS NULL
        OR to_regclass('pgembed._link_table') IS NULL THEN
        RETURN;  -- pgembed itself is being dropped
    END IF;
    IF to_regprocedure('pgembed._column_dropped(oid, text)') IS NOT NULL THEN
        PERFORM pgembed._column_dropped(d.objid, d.address_names[3])
        FROM pg_event_trigger_dropped_objects() AS d
        JOIN pgembed._embedding AS e ON e.table_name = d.objid AND e.column_name = d.address_names[3] AND e.chunk_tokens IS NULL
        WHERE d.object_type = 'table column' AND EXISTS (SELECT FROM pg_class AS t WHERE t.oid = d.objid);
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

COMMENT ON FUNCTION pgembed._after_drop() IS 'internal: cleans up after a dropped table or column';

-- What was made for embedded columns is the tables' own and needs nothing of the extension's, so PostgreSQL would drop it without a word. It tells
-- an event trigger only that some extension is being dropped; which one stands in the statement.
CREATE OR REPLACE FUNCTION pgembed._before_drop_extension()
RETURNS event_trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    named constant text := 'drop\s+extension\s+(if\s+exists\s+)?([^;]*[\s,])?"?pgembed"?\s*(,[^;]*)?';
    along text;
BEGIN
    -- without CASCADE at its end
    IF current_query() !~* (named || '\s*(restrict\s*)?(;|$)') OR current_query() ~* (named || '\s*cascade') THEN
        RETURN;
    END IF;
    SELECT string_agg(l.line, E'\n' ORDER BY l.turn, l.line) INTO along
    FROM (
        SELECT 1 AS turn,
            format('column %I of table %s is not followed and not searched any more; its vectors stay', e.column_name, e.table_name) AS line
        FROM pgembed._embedding AS e JOIN pg_class AS t ON t.oid = e.table_name
        UNION ALL
        SELECT 2, format('column %I of table %s gets no codes any more', k.column_name, k.table_name)
        FROM pgembed._code AS k JOIN pg_class AS t ON t.oid = k.table_name
        UNION ALL
        SELECT 3, format('codec %s is forgotten, its function stays', c.name) FROM pgembed._codec AS c JOIN pg_class AS t ON t.oid = c.table_name
        UNION ALL
        SELECT 4, format('linker %s is forgotten', l.name) FROM pgembed.linkers AS l
        UNION ALL
        SELECT 5, format('table %s of links is kept up no more; its links stay', l.destination)
        FROM pgembed._link_table AS l JOIN pg_class AS t ON t.oid = l.destination
        UNION ALL
        SELECT 6, format('model %s is forgotten', m.name) FROM pgembed._model AS m WHERE m.is_current
    ) AS l;
    IF along IS NOT NULL THEN
        -- what PostgreSQL would have said
        along := concat_ws(E'\n', (
            SELECT string_agg(DISTINCT format('%s depends on %s', pg_describe_object(d.classid, d.objid, d.objsubid),
                pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid)), E'\n')
            FROM pg_extension AS x
            JOIN pg_depend AS m ON m.refclassid = 'pg_extension'::regclass AND m.refobjid = x.oid AND m.deptype = 'e'
            JOIN pg_depend AS d ON d.refclassid = m.classid AND d.refobjid = m.objid AND d.deptype = 'n'
            WHERE x.extname = 'pgembed' AND m.classid IN ('pg_proc'::regclass, 'pg_type'::regclass)
              AND (pg_identify_object(d.classid, d.objid, 0)).identity !~ ' on pgembed\.'
              AND NOT EXISTS (
                SELECT FROM pg_depend AS o WHERE o.classid = d.classid AND o.objid = d.objid AND o.deptype IN ('e', 'i')
              )
        ), along);
        RAISE dependent_objects_still_exist USING
            MESSAGE = 'cannot drop extension pgembed because it is used in this database', DETAIL = along,
            HINT = 'Use DROP EXTENSION pgembed CASCADE to drop it anyway; pgembed.drop_embedding() takes away what was made for a column first.';
    END IF;
END;
$$;

COMMENT ON FUNCTION pgembed._before_drop_extension() IS 'internal: refuses DROP EXTENSION pgembed without CASCADE while it is used, and says by what';

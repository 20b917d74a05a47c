-- Declaring linkers. What the caller wrote is evaluated or created: names in it mean what they mean to the caller, so no search_path is set.

CREATE OR REPLACE FUNCTION pgembed.create_linker(
    name text, target regclass, key text DEFAULT NULL, names text DEFAULT NULL, aliases text DEFAULT NULL, context text DEFAULT NULL,
    relations jsonb DEFAULT '[]', types text DEFAULT NULL, alias_tables jsonb DEFAULT '[]'
)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
AS $python$
from pgembed.udf import linkers
return linkers.create_linker(name, target, key, names, aliases, context, relations, types, alias_tables)
$python$;

COMMENT ON FUNCTION pgembed.create_linker(text, regclass, text, text, text, text, jsonb, text, jsonb) IS
    'declare how rows of a table are named in text: expressions for name, aliases and types, a context, relations to other rows, tables of aliases';

CREATE OR REPLACE FUNCTION pgembed.add_linker_target(
    linker text, target regclass, key text DEFAULT NULL, names text DEFAULT NULL, aliases text DEFAULT NULL, context text DEFAULT NULL,
    relations jsonb DEFAULT '[]', types text DEFAULT NULL, alias_tables jsonb DEFAULT '[]'
)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
AS $python$
from pgembed.udf import linkers
return linkers.add_linker_target(linker, target, key, names, aliases, context, relations, types, alias_tables)
$python$;

COMMENT ON FUNCTION pgembed.add_linker_target(text, regclass, text, text, text, text, jsonb, text, jsonb) IS
    'let a linker link to the rows of one more table';

CREATE OR REPLACE FUNCTION pgembed.alter_linker(
    name text, target regclass DEFAULT NULL, key text DEFAULT NULL, names text DEFAULT NULL, aliases text DEFAULT NULL,
    context text DEFAULT NULL, relations jsonb DEFAULT NULL, types text DEFAULT NULL, alias_tables jsonb DEFAULT NULL
)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
AS $python$
from pgembed.udf import linkers
return linkers.alter_linker(name, target, key, names, aliases, context, relations, types, alias_tables)
$python$;

COMMENT ON FUNCTION pgembed.alter_linker(text, regclass, text, text, text, text, jsonb, text, jsonb) IS
    'declare a target of a linker anew; what is not given stays, an empty text means none';

CREATE OR REPLACE FUNCTION pgembed.drop_linker_target(linker text, target regclass)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
AS $python$
from pgembed.udf import linkers
return linkers.drop_linker_target(linker, target)
$python$;

COMMENT ON FUNCTION pgembed.drop_linker_target(text, regclass) IS 'let a linker not link to the rows of a table any more';

CREATE OR REPLACE FUNCTION pgembed.drop_linker(name text)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
AS $python$
from pgembed.udf import linkers
return linkers.drop_linker(name)
$python$;

COMMENT ON FUNCTION pgembed.drop_linker(text) IS 'undo create_linker(), and forget what the linker has learned';

-- What the triggers of a table call: it takes values that they have read, and evaluates nothing. Whoever wrote a line without need would let
-- sessions read a few rows again. Old lines are put together by some of the writers, for who reads may not be able to write.
CREATE OR REPLACE FUNCTION pgembed._linker_changed(relation oid, columns name[], noted jsonb)
RETURNS void
LANGUAGE plpgsql
VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kept constant int := 256;
    mine bigint;
    gone bigint[];
BEGIN
    IF pg_trigger_depth() = 0 THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'pgembed._linker_changed() is called by triggers only', HINT = 'A linker sees for itself what has changed.';
    END IF;
    INSERT INTO pgembed._linker_change (table_oid, columns, noted) VALUES (relation, columns, noted) RETURNING id INTO mine;
    -- nobody waits: one writer at a time tidies up, and only where it would not be told that another has
    IF mine % kept = 0 AND current_setting('transaction_isolation') = 'read committed'
        AND pg_try_advisory_xact_lock(1885824365, 1818848875) THEN
        WITH old AS (
            DELETE FROM pgembed._linker_change AS c WHERE c.table_oid = relation AND c.id < (
                SELECT k.id FROM pgembed._linker_change AS k WHERE k.table_oid = relation ORDER BY k.id DESC OFFSET kept LIMIT 1
            ) RETURNING c.id
        )
        SELECT array_agg(id) INTO gone FROM old;
        IF gone IS NOT NULL THEN
            INSERT INTO pgembed._linker_change (table_oid, pruned) VALUES (relation, gone);
        END IF;
    END IF;
END;
$$;

COMMENT ON FUNCTION pgembed._linker_changed(oid, name[], jsonb) IS 'internal: notes which rows of a table that linkers read have changed';

-- Both leave what they read in the memory of the backend, where no SQL reaches it: keys and names of rows may be hidden from the caller.
-- Stable, so that they see what the caller's statement sees.
CREATE OR REPLACE FUNCTION pgembed._load_linker_changes(tables oid[])
RETURNS void
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import linkers
return linkers.load_changes(tables)
$python$;

COMMENT ON FUNCTION pgembed._load_linker_changes(oid[]) IS 'internal: lets pgembed know which changes of tables the snapshot sees';

CREATE OR REPLACE FUNCTION pgembed._load_linker_model(linker text)
RETURNS void
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import linkers
return linkers.load_model(linker)
$python$;

COMMENT ON FUNCTION pgembed._load_linker_model(text) IS 'internal: lets pgembed know what a linker has learned';

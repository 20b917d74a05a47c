-- Measured recall and costs of searches, see pgembed.calibration.

-- PostgreSQL's own counts say whether the data has moved: nothing is read, so a search may ask. A table whose rows nobody has counted yet
-- is not held to have moved.
CREATE OR REPLACE FUNCTION pgembed._calibrated(target regclass, column_name name)
RETURNS TABLE (points jsonb, costs jsonb, k int, stale text[], why text)
LANGUAGE plpgsql  -- keeps its plan for the session
STABLE PARALLEL SAFE
COST 1000 ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    measured pgembed._calibration;
    embedded record;
    code record;
    held float8;
    trained timestamptz;
    code_index text;
    vector_index text;
BEGIN
    SELECT * INTO measured FROM pgembed._calibration AS m WHERE m.table_name = target AND m.column_name = _calibrated.column_name;
    IF NOT found THEN
        RETURN;
    END IF;
    SELECT * INTO embedded FROM pgembed._describe(target) AS d WHERE d.column_name = _calibrated.column_name::text;
    SELECT * INTO code FROM pgembed._describe_codes(target) AS d
    WHERE d.embedding_column = _calibrated.column_name::text AND d.is_active;
    SELECT c.trained_at INTO trained FROM pgembed._codec AS c WHERE c.name = code.codec;
    code_index := pgembed._index_definition(target, code.index_name);
    vector_index := pgembed._index_definition(target, embedded.index_name);
    SELECT sum(greatest(c.reltuples, 0)) INTO held FROM pg_class AS c
    WHERE c.oid = target OR c.oid IN (SELECT p.relid FROM pg_partition_tree(target) AS p WHERE p.isleaf);
    -- of a partitioned table PostgreSQL counts the whole and the parts
    IF (SELECT c.relkind FROM pg_class AS c WHERE c.oid = target) = 'p' THEN
        SELECT sum(greatest(c.reltuples, 0)) INTO held FROM pg_class AS c
        WHERE c.oid IN (SELECT p.relid FROM pg_partition_tree(target) AS p WHERE p.isleaf);
    END IF;
    points := measured.points;
    costs := measured.costs;
    k := measured.k;
    stale := '{}';
    IF embedded.fingerprint IS DISTINCT FROM measured.fingerprint OR embedded.metric IS DISTINCT FROM measured.metric THEN
        why := 'the vectors are of another model or metric';
        stale := '{exact,covering,scan,code,index,partial}';
    ELSIF held > 0 AND abs(held - measured.rows) > 0.2 * measured.rows THEN
        why := format('the table had %s rows, and has about %s', measured.rows, held::bigint);
        stale := '{exact,covering,scan,code,index,partial}';
    ELSE
        IF (code.codec, trained) IS DISTINCT FROM (measured.codec, measured.trained_at) THEN
            why := 'searches use other codes';
            stale := stale || '{covering,scan,code}'::text[];
        ELSIF code_index IS DISTINCT FROM measured.code_index THEN
            why := 'the index on the codes is another one';
            stale := stale || '{code}'::text[];
        END IF;
        IF vector_index IS DISTINCT FROM measured.vector_index THEN
            why := concat_ws('; ', why, 'the index on the vectors is another one');
            stale := stale || '{index}'::text[];
        END IF;
    END IF;
    RETURN NEXT;
END;
$$;

COMMENT ON FUNCTION pgembed._calibrated(regclass, name) IS
    'internal: what was measured of searches on a column, and the paths for which that does not hold any more';

CREATE OR REPLACE FUNCTION pgembed._index_definition(target regclass, index_name text)
RETURNS text
LANGUAGE sql
STABLE PARALLEL SAFE
RETURN (
    -- its name and its options; a schema may be renamed, and is not what was measured
    SELECT concat_ws(' ', i.relname, m.amname, i.reloptions::text)
    FROM pg_class AS t
    JOIN pg_index AS x ON x.indrelid = t.oid
    JOIN pg_class AS i ON i.oid = x.indexrelid
    JOIN pg_am AS m ON m.oid = i.relam
    WHERE t.oid = target AND i.relname = index_name
);

COMMENT ON FUNCTION pgembed._index_definition(regclass, text) IS 'internal: what makes an index of a table another one';

-- A procedure with a SET clause could not commit, which it does after each column; its statements name all schemas.
CREATE OR REPLACE PROCEDURE pgembed.calibrate(
    target regclass DEFAULT NULL, column_name name DEFAULT NULL, queries regclass DEFAULT NULL, queries_column name DEFAULT NULL,
    sample int DEFAULT 1000, seed int DEFAULT 1
)
LANGUAGE plpython3u
AS $python$
from pgembed.udf import calibrate
return calibrate.calibrate(target, column_name, queries, queries_column, sample, seed)
$python$;

COMMENT ON PROCEDURE pgembed.calibrate(regclass, name, regclass, name, int, int) IS
    'measure recall and time of searches on an embedded column, by which searches then choose; without a target, of all your columns that were never measured or have changed since';

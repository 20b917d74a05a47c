-- Columns of codes: what is known of them, and what makes and fills them.

-- A table's columns of codes and their codecs, in one look at the catalogs. No index is named of a column that is not of the codec's own type:
-- another type's operators may run its owner's code with the caller's rights. A column without what keeps it is not filled: nor is one whose
-- trigger is not enabled for all sessions, or whose table has children by inheritance, which the trigger does not see.
CREATE OR REPLACE FUNCTION pgembed._describe_codes(target regclass)
RETURNS TABLE (
    column_name text, embedding_column text, is_generated boolean, trigger_name text, trigger_function text, is_active boolean,
    is_filled boolean, column_type text, is_sound boolean, index_name text, index_method text, covering_index text, codec text
)
LANGUAGE plpgsql  -- keeps its plan for the session
STABLE PARALLEL SAFE
COST 1000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT
        e.column_name::text, e.embedding_column::text, e.is_generated, e.trigger_name::text, e.trigger_function, e.is_active,
        e.is_filled AND CASE
            WHEN e.is_generated THEN coalesce(a.attgenerated = 's', false)
            ELSE EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = t.oid AND g.tgname = e.trigger_name AND g.tgenabled = 'A')
                AND (t.relkind = 'p' OR NOT EXISTS (SELECT FROM pg_inherits AS h WHERE h.inhparent = t.oid))
        END,
        CASE WHEN a.attnum IS NOT NULL THEN format_type(a.atttypid, a.atttypmod) END, s.attnum IS NOT NULL, i.index_name, i.index_method,
        v.covering_index, e.codec
    FROM pgembed._code AS e
    JOIN pg_class AS t ON t.oid = e.table_name
    LEFT JOIN pgembed._codec AS c ON c.name = e.codec
    LEFT JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attname = e.column_name AND NOT a.attisdropped
    LEFT JOIN LATERAL (
        SELECT a.attnum
        FROM pg_type AS y
        JOIN pg_namespace AS n ON n.oid = y.typnamespace
        WHERE y.oid = a.atttypid AND CASE c.kind
            WHEN 'bits' THEN a.atttypmod = c.length
                AND (n.nspname = 'pg_catalog' AND y.typname = 'bit' OR n.nspname = 'pgembed' AND y.typname = 'binvec')
            WHEN 'halfvec' THEN a.atttypmod = c.length AND y.typname = 'halfvec'
                AND n.oid = (SELECT extnamespace FROM pg_extension WHERE extname = 'vector')
            ELSE y.typbasetype = 'bytea'::regtype AND c.domain IN (format('%I.%I', n.nspname, y.typname), format('"%s"."%s"',
                replace(n.nspname, '"', '""'), replace(y.typname, '"', '""')))
        END
    ) AS s ON true
    LEFT JOIN LATERAL (
        SELECT ic.relname::text AS index_name, am.amname::text AS index_method
        FROM pg_index AS x
        JOIN pg_class AS ic ON ic.oid = x.indexrelid
        JOIN pg_am AS am ON am.oid = ic.relam
        JOIN pg_opclass AS oc ON oc.oid = x.indclass[0]
        WHERE x.indrelid = t.oid AND x.indisvalid AND x.indisready AND x.indpred IS NULL AND x.indnatts = 1 AND x.indkey[0] = s.attnum
          AND am.amname IN ('hnsw', 'ivfflat')
          AND oc.opcnamespace = (SELECT extnamespace FROM pg_extension WHERE extname = 'vector')
          AND oc.opcname = CASE
              WHEN c.kind = 'bits' THEN 'bit_hamming_ops'
              WHEN c.metric = 'cosine' THEN 'halfvec_cosine_ops'
              WHEN c.metric = 'l2' THEN 'halfvec_l2_ops'
              ELSE 'halfvec_ip_ops'
          END
        ORDER BY am.amname, ic.relname
        LIMIT 1
    ) AS i ON true
    LEFT JOIN LATERAL (
        SELECT ic.relname::text AS covering_index
        FROM pg_index AS x
        JOIN pg_class AS ic ON ic.oid = x.indexrelid
        JOIN pg_am AS am ON am.oid = ic.relam
        WHERE x.indrelid = t.oid AND x.indisvalid AND x.indisready AND x.indpred IS NULL AND am.amname = 'btree'
          AND s.attnum = ANY (x.indkey)
        ORDER BY x.indnkeyatts, ic.relname
        LIMIT 1
    ) AS v ON true
    WHERE e.table_name = target
    ORDER BY e.column_name;
END;
$$;

COMMENT ON FUNCTION pgembed._describe_codes(regclass) IS 'internal: a table''s columns of codes, from the catalogs';

CREATE OR REPLACE FUNCTION pgembed.add_code(
    target regclass, codec text, column_name name DEFAULT NULL, is_generated boolean DEFAULT NULL, embedding_column name DEFAULT NULL
)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import codes
return codes.add_code(target, codec, column_name, is_generated, embedding_column)
$python$;

COMMENT ON FUNCTION pgembed.add_code(regclass, text, name, boolean, name) IS
    'give a table a column of codes of its vectors; where the table has rows already, then CALL pgembed.fill_code()';

-- A procedure with a SET clause could not commit; its statements name all schemas.
CREATE OR REPLACE PROCEDURE pgembed.fill_code(target regclass, column_name name DEFAULT NULL, batch_size int DEFAULT 5000)
LANGUAGE plpython3u
AS $python$
from pgembed.udf import codes
return codes.fill_code(target, column_name, batch_size)
$python$;

COMMENT ON PROCEDURE pgembed.fill_code(regclass, name, int) IS
    'compute the codes that are missing in batches, committing after each; writers go on meanwhile';

CREATE OR REPLACE FUNCTION pgembed.use_code(target regclass, column_name name DEFAULT NULL)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import codes
return codes.use_code(target, column_name)
$python$;

COMMENT ON FUNCTION pgembed.use_code(regclass, name) IS 'let searches use this column of codes, instead of another one of the same vectors';

CREATE OR REPLACE FUNCTION pgembed.drop_code(target regclass, column_name name DEFAULT NULL)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import codes
return codes.drop_code(target, column_name)
$python$;

COMMENT ON FUNCTION pgembed.drop_code(regclass, name) IS 'undo add_code(): drop a column of codes, its trigger and its indexes';

CREATE OR REPLACE FUNCTION pgembed.code_indexes(target regclass, column_name name DEFAULT NULL, covering name[] DEFAULT NULL)
RETURNS SETOF text
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 10000 ROWS 3
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import codes
return codes.code_indexes(target, column_name, covering)
$python$;

COMMENT ON FUNCTION pgembed.code_indexes(regclass, name, name[]) IS
    'statements that build the missing indexes on a column of codes without blocking writers; psql''s \gexec runs them';

-- Called by the generated triggers, with the rights of the table's owner.
CREATE OR REPLACE FUNCTION pgembed._code_missed(relation oid, column_name name, said text)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import codes
return codes.code_missed(relation, column_name, said)
$python$;

COMMENT ON FUNCTION pgembed._code_missed(oid, name, text) IS 'internal: a row could not be encoded, so its column of codes is not filled';

-- While the trigger of a table, or that of one of its partitions, is not enabled for all sessions, rows are written without codes. And a
-- partition that was attached in this transaction brings rows along that no trigger of ours has seen: what is visible and has no older number
-- than this transaction is its own.
CREATE OR REPLACE FUNCTION pgembed._code_attached(parent oid)
RETURNS void
LANGUAGE sql
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT pgembed._code_missed(i.inhrelid, k.column_name, 'a partition of rows without codes was attached')
    FROM pg_inherits AS i
    JOIN pg_class AS t ON t.oid = i.inhparent AND t.relkind = 'p'
    JOIN pgembed._code AS k ON k.table_name IN (SELECT relid FROM pg_partition_ancestors(i.inhrelid)) AND k.is_filled AND NOT k.is_generated
    WHERE i.inhparent = parent AND age(i.xmin) <= age(pg_current_xact_id()::xid)
      AND EXISTS (SELECT FROM pg_partition_tree(i.inhrelid) AS p WHERE p.isleaf AND pg_relation_size(p.relid) > 0);

    SELECT pgembed._code_missed(g.tgrelid, k.column_name, format('the trigger %I is not enabled for all sessions', g.tgname))
    FROM pg_trigger AS g
    JOIN pgembed._code AS k ON k.trigger_name = g.tgname AND k.is_filled
    WHERE g.tgrelid = parent AND g.tgenabled <> 'A'
      AND (k.table_name = parent OR k.table_name IN (SELECT relid FROM pg_partition_ancestors(parent)));
$$;

COMMENT ON FUNCTION pgembed._code_attached(oid) IS
    'internal: columns of codes are not filled any more where a partition with rows was attached, or a trigger disabled';

CREATE OR REPLACE FUNCTION pgembed._codes()
RETURNS TABLE (table_name regclass, column_name name, rows bigint, pending bigint)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 100000
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import codes
return codes.states()
$python$;

COMMENT ON FUNCTION pgembed._codes() IS 'internal: counts for pgembed.codes, as the caller';

CREATE OR REPLACE FUNCTION pgembed._index_size(namespace oid, index_name text)
RETURNS bigint
LANGUAGE sql
STABLE STRICT PARALLEL SAFE
RETURN (
    SELECT coalesce((SELECT sum(pg_relation_size(p.relid)) FROM pg_partition_tree(c.oid) AS p), pg_relation_size(c.oid))::bigint
    FROM pg_class AS c WHERE c.relnamespace = namespace AND c.relname = index_name
);

COMMENT ON FUNCTION pgembed._index_size(oid, text) IS 'internal: bytes of an index, of a partitioned one those of its parts';

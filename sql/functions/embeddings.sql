-- Everything that planner, refresh and the rest need to know of a table's embedded columns, in one look at the catalogs: a line per
-- embedded column, or one line with column_name NULL where there is none.
CREATE OR REPLACE FUNCTION pgembed._describe(target regclass)
RETURNS TABLE (
    vector_schema text, table_oid oid, schema_name text, table_name text, relkind text, owner text, may_own boolean, reltuples float8,
    key_columns text[], key_types text[], column_name text, source text, source_function text, source_columns text[],
    trigger_columns text[], hash_column text, trigger_name text, trigger_function text, model text,
    fingerprint text, metric text, sync text, adopted boolean, column_type text, dim int, index_name text, index_method text,
    chunk_tokens int, chunk_overlap int, chunk_schema text, chunk_name text, chunk_keys text[], chunk_lines float8,
    by_hand text, work_index text, role text, change_of text, column_now text, hash_now text,
    column_number int
)
LANGUAGE plpgsql  -- keeps its plan for the session; a function in SQL would plan these joins at every call
STABLE PARALLEL SAFE
COST 1000
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT
        (SELECT quote_ident(v.nspname) FROM pg_namespace AS v JOIN pg_extension AS x ON x.extnamespace = v.oid WHERE x.extname = 'vector'),
        t.oid, n.nspname::text, t.relname::text, t.relkind::text, pg_get_userbyid(t.relowner)::text,
        pg_has_role(current_user, t.relowner, 'USAGE'),
        -- a partitioned table is analysed by hand alone, its partitions by themselves
        CASE WHEN t.relkind = 'p' THEN coalesce((SELECT sum(l.reltuples) FROM pg_partition_tree(t.oid) AS p JOIN pg_class AS l ON l.oid = p.relid
            WHERE p.isleaf AND l.reltuples > 0), -1) ELSE t.reltuples END::float8, k.key_columns, k.key_types,
        e.column_name::text, e.source, e.source_function, e.source_columns::text[],
        g.trigger_columns, e.hash_column::text, e.trigger_name::text, e.trigger_function, e.model,
        e.fingerprint, e.metric, e.sync, e.adopted, y.typname::text, nullif(a.atttypmod, -1), i.index_name, i.index_method,
        e.chunk_tokens, e.chunk_overlap, cn.nspname::text, c.relname::text, f.chunk_keys, c.reltuples::float8,
        e.by_hand, e.work_index, e.role, e.change_of::text,
        -- Statements are parsed with the names of the moment; all else here is as the snapshot sees it, which may be older than a switch.
        CASE WHEN e.chunk_tokens IS NULL THEN (pg_identify_object_as_address('pg_class'::regclass, t.oid, a.attnum)).object_names[3]
            -- over chunks it is their table that has another name
            ELSE (pg_identify_object_as_address('pg_class'::regclass, c.oid, 0)).object_names[2] END,
        (pg_identify_object_as_address('pg_class'::regclass, t.oid, h.attnum)).object_names[3],
        CASE WHEN e.chunk_tokens IS NULL THEN a.attnum::int END
    FROM pg_class AS t
    JOIN pg_namespace AS n ON n.oid = t.relnamespace
    LEFT JOIN pgembed._embedding AS e ON e.table_name = t.oid
    LEFT JOIN pg_class AS c ON c.oid = e.chunk_table
    LEFT JOIN pg_namespace AS cn ON cn.oid = c.relnamespace
    LEFT JOIN pg_attribute AS a ON a.attrelid = CASE WHEN e.chunk_tokens IS NULL THEN t.oid ELSE c.oid END
        AND a.attname = CASE WHEN e.chunk_tokens IS NULL THEN e.column_name ELSE 'embedding' END AND NOT a.attisdropped
    LEFT JOIN pg_attribute AS h ON h.attrelid = t.oid AND h.attname = e.hash_column AND NOT h.attisdropped
    -- No type but pgvector's own, and no hash column but bytea: another type's casts would run its owner's code with the caller's rights.
    LEFT JOIN pg_type AS y ON y.oid = a.atttypid
        AND y.typnamespace = (SELECT x.extnamespace FROM pg_extension AS x WHERE x.extname = 'vector')
        AND (e.hash_column IS NULL OR h.atttypid = 'bytea'::regtype)
    LEFT JOIN LATERAL (
        SELECT array_agg(ka.attname::text ORDER BY ordinality) AS key_columns,
               array_agg(format_type(ka.atttypid, ka.atttypmod) ORDER BY ordinality) AS key_types,
               array_agg(ka.attnum ORDER BY ordinality) AS key_numbers
        FROM pg_index AS x
        CROSS JOIN unnest(x.indkey) WITH ORDINALITY AS u (attnum, ordinality)
        JOIN pg_attribute AS ka ON ka.attrelid = t.oid AND ka.attnum = u.attnum
        WHERE x.indrelid = t.oid AND x.indisprimary AND ordinality <= x.indnkeyatts
    ) AS k ON true
    LEFT JOIN LATERAL (
        SELECT array_agg(ta.attname::text ORDER BY ordinality) AS trigger_columns
        FROM pg_trigger AS tg
        CROSS JOIN unnest(tg.tgattr) WITH ORDINALITY AS u (attnum, ordinality)
        JOIN pg_attribute AS ta ON ta.attrelid = t.oid AND ta.attnum = u.attnum
        WHERE tg.tgrelid = t.oid AND tg.tgname = e.trigger_name
    ) AS g ON true
    LEFT JOIN LATERAL (
        -- the foreign key knows its columns, whatever they are called by now
        SELECT array_agg(fa.attname::text ORDER BY ordinality) AS chunk_keys
        FROM (
            SELECT p.conkey FROM pg_constraint AS p
            WHERE p.conrelid = c.oid AND p.confrelid = t.oid AND p.contype = 'f' AND p.confkey = k.key_numbers
            ORDER BY p.oid LIMIT 1
        ) AS p
        CROSS JOIN unnest(p.conkey) WITH ORDINALITY AS u (attnum, ordinality)
        JOIN pg_attribute AS fa ON fa.attrelid = c.oid AND fa.attnum = u.attnum
    ) AS f ON true
    LEFT JOIN LATERAL (
        -- a whole index over the column with the metric's own operator class serves the search
        SELECT ic.relname::text AS index_name, am.amname::text AS index_method
        FROM pg_index AS x
        JOIN pg_class AS ic ON ic.oid = x.indexrelid
        JOIN pg_am AS am ON am.oid = ic.relam
        JOIN pg_opclass AS oc ON oc.oid = x.indclass[0]
        WHERE x.indrelid = a.attrelid AND x.indisvalid AND x.indisready AND x.indpred IS NULL AND x.indnatts = 1
          AND x.indkey[0] = a.attnum AND am.amname IN ('hnsw', 'ivfflat')
          AND oc.opcname = y.typname || CASE e.metric WHEN 'cosine' THEN '_cosine_ops' WHEN 'l2' THEN '_l2_ops' ELSE '_ip_ops' END
        ORDER BY am.amname, ic.relname
        LIMIT 1
    ) AS i ON true
    WHERE t.oid = target
    ORDER BY e.column_name;
END;
$$;

COMMENT ON FUNCTION pgembed._describe(regclass) IS 'internal: a table and its embedded columns, from the catalogs';

-- Writes the registry as the owner of the extension. Callable by everybody and useless to all but the extension's own Python code, which
-- has checked the caller's rights with current_user and left the statement in the memory of this backend, where no SQL reaches.
CREATE OR REPLACE FUNCTION pgembed._write_registry()
RETURNS bigint
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import registry
return registry.write()
$python$;

COMMENT ON FUNCTION pgembed._write_registry() IS 'internal: writes what pgembed has checked into its registry';

-- The functions below evaluate or create what the caller wrote: names in it mean what they mean to the caller, so no search_path is set.

CREATE OR REPLACE FUNCTION pgembed.add_embedding(
    target regclass, source text, model text DEFAULT NULL, column_name name DEFAULT 'embedding', sync text DEFAULT 'auto',
    metric text DEFAULT 'cosine', chunk_tokens int DEFAULT NULL, chunk_overlap int DEFAULT NULL, by_hand text DEFAULT 'mark'
)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
AS $python$
from pgembed.udf import embeddings
return embeddings.add_embedding(target, source, model, column_name, sync, metric, chunk_tokens, chunk_overlap, by_hand)
$python$;

COMMENT ON FUNCTION pgembed.add_embedding(regclass, text, text, name, text, text, int, int, text) IS
    'give a table a column of embeddings of a source expression; with chunk_tokens a table of several for each row; CALL pgembed.refresh() embeds the rows that are there';

CREATE OR REPLACE FUNCTION pgembed.adopt_embedding(
    target regclass, column_name name, model text DEFAULT NULL, source text DEFAULT NULL, metric text DEFAULT NULL,
    sync text DEFAULT 'auto', by_hand text DEFAULT 'mark'
)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
AS $python$
from pgembed.udf import embeddings
return embeddings.adopt_embedding(target, column_name, model, source, metric, sync, by_hand)
$python$;

COMMENT ON FUNCTION pgembed.adopt_embedding(regclass, name, text, text, text, text, text) IS
    'declare a column of vectors that exists already, so that search and joins serve it; model is the one that made it';

CREATE OR REPLACE FUNCTION pgembed.alter_embedding(
    target regclass, column_name name DEFAULT NULL, source text DEFAULT NULL, model text DEFAULT NULL, metric text DEFAULT NULL,
    sync text DEFAULT NULL, chunk_tokens int DEFAULT NULL, chunk_overlap int DEFAULT NULL, by_hand text DEFAULT NULL
)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
AS $python$
from pgembed.udf import embeddings
return embeddings.alter_embedding(target, column_name, source, model, metric, sync, chunk_tokens, chunk_overlap, by_hand)
$python$;

COMMENT ON FUNCTION pgembed.alter_embedding(regclass, name, text, text, text, text, int, int, text) IS
    'change source, model, metric, sync, by_hand or the limits of chunks of an embedded column; what is NULL stays';

CREATE OR REPLACE FUNCTION pgembed.drop_embedding(target regclass, column_name name DEFAULT NULL, keep_column boolean DEFAULT NULL)
RETURNS void
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
AS $python$
from pgembed.udf import embeddings
return embeddings.drop_embedding(target, column_name, keep_column)
$python$;

COMMENT ON FUNCTION pgembed.drop_embedding(regclass, name, boolean) IS
    'undo add_embedding() or adopt_embedding(); an adopted column is kept unless keep_column is false, a table of chunks if it is true';

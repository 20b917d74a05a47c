-- Columns of codes: what is known of them, and what makes and fills them.

-- A table's columns of codes and their codecs, in one look at the catalogs. Neither a column nor an index is named that is not of the
-- codec's own type: another type's operators may run its owner's code with the caller's rights.
CREATE OR REPLACE FUNCTION pgembed._describe_codes(target regclass)
RETURNS TABLE (
    column_name text, embedding_column text, is_generated boolean, trigger_name text, trigger_function text, is_active boolean,
    column_type text, index_name text, index_method text, covering_index text, codec text
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
        CASE WHEN a.attnum IS NOT NULL THEN format_type(a.atttypid, a.atttypmod) END, i.index_name, i.index_method, v.covering_index, e.codec
    FROM pgembed._code AS e
    JOIN pg_class AS t ON t.oid = e.table_name
    LEFT JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attname = e.column_name AND NOT a.attisdropped
    LEFT JOIN LATERAL (
        SELECT ic.relname::text AS index_name, am.amname::text AS index_method
        FROM pg_index AS x
        JOIN pg_class AS ic ON ic.oid = x.indexrelid
        JOIN pg_am AS am ON am.oid = ic.relam
        JOIN pg_opclass AS oc ON oc.oid = x.indclass[0]
        WHERE x.indrelid = t.oid AND x.indisvalid AND x.indisready AND x.indpred IS NULL AND x.indnatts = 1 AND x.indkey[0] = a.attnum
          AND am.amname IN ('hnsw', 'ivfflat')
          AND oc.opcnamespace = (SELECT extnamespace FROM pg_extension WHERE extname = 'vector')
          AND oc.opcname = ANY (ARRAY['bit_hamming_ops', 'halfvec_cosine_ops', 'halfvec_l2_ops', 'halfvec_ip_ops']::name[])
        ORDER BY am.amname, ic.relname
        LIMIT 1
    ) AS i ON true
    LEFT JOIN LATERAL (
        SELECT ic.relname::text AS covering_index
        FROM pg_index AS x
        JOIN pg_class AS ic ON ic.oid = x.indexrelid
        JOIN pg_am AS am ON am.oid = ic.relam
        WHERE x.indrelid = t.oid AND x.indisvalid AND x.indisready AND x.indpred IS NULL AND am.amname = 'btree'
          AND a.attnum = ANY (x.indkey)
        ORDER BY x.indnkeyatts, ic.relname
        LIMIT 1
    ) AS v ON true
    WHERE e.table_name = target
    ORDER BY e.column_name;
END;
$$;

COMMENT ON FUNCTION pgembed._describe_codes(regclass) IS 'internal: a table''s columns of codes, from the catalogs';

-- Counts are NULL where the caller may not read the columns, or where row security hides rows from the caller.
CREATE OR REPLACE VIEW pgembed.embeddings AS
SELECT
    e.table_name, e.column_name, e.source, e.model, s.rows, s.fresh, s.stale, s.pending, s.failed, e.last_error, s.null_source,
    e.metric, e.sync, e.adopted, e.hash_column, e.fingerprint,
    s.truncated, e.chunk_table, e.chunk_tokens, e.chunk_overlap, s.chunks, s.by_hand, e.role, e.change_of
FROM pgembed._embedding AS e
JOIN pg_catalog.pg_class AS t ON t.oid = e.table_name
LEFT JOIN pgembed._embeddings() AS s ON s.table_name = e.table_name AND s.column_name = e.column_name;

COMMENT ON VIEW pgembed.embeddings IS 'a line per embedded column: what it is made of and how fresh its rows are';

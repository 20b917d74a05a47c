-- Counts are NULL where the caller may not read the columns, or where row security hides rows from the caller.
CREATE OR REPLACE VIEW pgembed.embeddings AS
SELECT
    e.table_name, e.column_name, e.model, s.rows, s.fresh, s.stale, s.pending, s.failed, s.null_source, e.source, e.last_error,
    e.metric, e.sync, e.adopted, e.hash_column, e.fingerprint,
    s.truncated, e.chunk_table, e.chunk_tokens, e.chunk_overlap, s.chunks, s.by_hand, e.role, e.change_of
FROM pgembed._embedding AS e
JOIN pg_catalog.pg_class AS t ON t.oid = e.table_name
LEFT JOIN pgembed._embeddings() AS s ON s.table_name = e.table_name AND s.column_name = e.column_name;

COMMENT ON VIEW pgembed.embeddings IS 'a line per embedded column: what it is made of and how fresh its rows are';
COMMENT ON COLUMN pgembed.embeddings.table_name IS 'the table';
COMMENT ON COLUMN pgembed.embeddings.column_name IS 'its embedded column';
COMMENT ON COLUMN pgembed.embeddings.model IS 'whose vectors they are';
COMMENT ON COLUMN pgembed.embeddings.rows IS 'of the table; counts are NULL where you may not read all of it';
COMMENT ON COLUMN pgembed.embeddings.fresh IS 'rows whose vector is that of their text';
COMMENT ON COLUMN pgembed.embeddings.stale IS 'rows whose vector is of an older text';
COMMENT ON COLUMN pgembed.embeddings.pending IS 'rows that have no vector yet';
COMMENT ON COLUMN pgembed.embeddings.failed IS 'rows that could not be embedded: see pgembed.failures';
COMMENT ON COLUMN pgembed.embeddings.null_source IS 'rows whose source is NULL, which have no vector';
COMMENT ON COLUMN pgembed.embeddings.source IS 'SQL that is embedded; NULL: vectors come from elsewhere';
COMMENT ON COLUMN pgembed.embeddings.last_error IS 'why the last row failed';
COMMENT ON COLUMN pgembed.embeddings.metric IS 'by which vectors are compared: cosine, l2 or inner_product';
COMMENT ON COLUMN pgembed.embeddings.sync IS 'who embeds written rows: auto, immediate, queued or manual';
COMMENT ON COLUMN pgembed.embeddings.adopted IS 'whether the column was there before pgembed';
COMMENT ON COLUMN pgembed.embeddings.hash_column IS 'the column that tells fresh rows from stale ones';
COMMENT ON COLUMN pgembed.embeddings.fingerprint IS 'of the model that the vectors are of';
COMMENT ON COLUMN pgembed.embeddings.truncated IS 'rows of whose text the model did not read the end';
COMMENT ON COLUMN pgembed.embeddings.chunk_table IS 'the table of parts, where texts are embedded in parts';
COMMENT ON COLUMN pgembed.embeddings.chunk_tokens IS 'tokens of a part at most';
COMMENT ON COLUMN pgembed.embeddings.chunk_overlap IS 'tokens that a part shares with the next one';
COMMENT ON COLUMN pgembed.embeddings.chunks IS 'parts of all rows';
COMMENT ON COLUMN pgembed.embeddings.by_hand IS 'rows whose vector somebody else wrote';
COMMENT ON COLUMN pgembed.embeddings.role IS 'in a change of its model: current, next or previous';
COMMENT ON COLUMN pgembed.embeddings.change_of IS 'the column whose model is changed, of those two';

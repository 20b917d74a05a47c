-- Counts are NULL where the caller may not read the columns, or where row security hides rows from the caller.
CREATE OR REPLACE VIEW pgembed.codes AS
SELECT
    e.table_name, e.column_name, e.embedding_column, e.codec, e.is_active, d.is_filled, s.rows, s.pending,
    d.column_type AS code_type, e.is_generated, d.index_name, pgembed._index_size(t.relnamespace, d.index_name) AS index_bytes,
    d.covering_index, pgembed._index_size(t.relnamespace, d.covering_index) AS covering_bytes
FROM pgembed._code AS e
JOIN pg_catalog.pg_class AS t ON t.oid = e.table_name
JOIN LATERAL pgembed._describe_codes(e.table_name) AS d ON d.column_name = e.column_name
LEFT JOIN pgembed._codes() AS s ON s.table_name = e.table_name AND s.column_name = e.column_name;

COMMENT ON VIEW pgembed.codes IS 'a line per column of codes: of what it is made, what is missing in it, and its indexes';
COMMENT ON COLUMN pgembed.codes.table_name IS 'the table';
COMMENT ON COLUMN pgembed.codes.column_name IS 'its column of codes';
COMMENT ON COLUMN pgembed.codes.embedding_column IS 'the vectors that are encoded';
COMMENT ON COLUMN pgembed.codes.codec IS 'by which they are';
COMMENT ON COLUMN pgembed.codes.is_active IS 'whether searches use it';
COMMENT ON COLUMN pgembed.codes.is_filled IS 'whether every row with a vector has its code';
COMMENT ON COLUMN pgembed.codes.rows IS 'rows with a vector; NULL where you may not know';
COMMENT ON COLUMN pgembed.codes.pending IS 'rows whose code is missing';
COMMENT ON COLUMN pgembed.codes.code_type IS 'type of the column';
COMMENT ON COLUMN pgembed.codes.is_generated IS 'whether PostgreSQL computes it; else a trigger does';
COMMENT ON COLUMN pgembed.codes.index_name IS 'of the index on the codes';
COMMENT ON COLUMN pgembed.codes.index_bytes IS 'its size';
COMMENT ON COLUMN pgembed.codes.covering_index IS 'of an index of codes behind columns of filters';
COMMENT ON COLUMN pgembed.codes.covering_bytes IS 'its size';

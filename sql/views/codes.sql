-- Counts are NULL where the caller may not read the columns, or where row security hides rows from the caller.
CREATE OR REPLACE VIEW pgembed.codes AS
SELECT
    e.table_name, e.column_name, e.embedding_column, e.codec, d.column_type AS code_type, e.is_generated, e.is_active, d.is_filled,
    s.rows, s.pending, d.index_name, pgembed._index_size(t.relnamespace, d.index_name) AS index_bytes,
    d.covering_index, pgembed._index_size(t.relnamespace, d.covering_index) AS covering_bytes
FROM pgembed._code AS e
JOIN pg_catalog.pg_class AS t ON t.oid = e.table_name
JOIN LATERAL pgembed._describe_codes(e.table_name) AS d ON d.column_name = e.column_name
LEFT JOIN pgembed._codes() AS s ON s.table_name = e.table_name AND s.column_name = e.column_name;

COMMENT ON VIEW pgembed.codes IS
    'a line per column of codes: what it is made of, whether searches use it, what is missing in it, and its indexes';

-- Counts are for those who could count: who may read the column, and from whom no policy hides rows.
CREATE OR REPLACE VIEW pgembed.freshness_log WITH (security_barrier) AS
SELECT l.table_name, l.column_name, l.at, l.rows, l.fresh, l.stale, l.pending, l.failed, l.null_source
FROM pgembed._freshness_log AS l
JOIN pgembed._embedding AS e ON e.table_name = l.table_name AND e.column_name = l.column_name
JOIN pg_catalog.pg_class AS t ON t.oid = l.table_name
WHERE NOT row_security_active(l.table_name::oid)
  AND has_schema_privilege(t.relnamespace, 'USAGE')
  AND NOT EXISTS (
      SELECT FROM pg_catalog.pg_attribute AS a
      WHERE a.attrelid = l.table_name::oid AND a.attname IN (l.column_name, e.hash_column) AND NOT a.attisdropped
        AND NOT has_column_privilege(l.table_name::oid, a.attnum, 'SELECT')
  );

COMMENT ON VIEW pgembed.freshness_log IS
    'how many rows of an embedded column were fresh, stale, pending and failed, and when: at most a line a minute of the last day, a line an'
    ' hour of the last 30 days; written at the end of refresh(), by workers and by pgembed report';
COMMENT ON COLUMN pgembed.freshness_log.table_name IS 'the table';
COMMENT ON COLUMN pgembed.freshness_log.column_name IS 'its embedded column';
COMMENT ON COLUMN pgembed.freshness_log.at IS 'when they were counted';
COMMENT ON COLUMN pgembed.freshness_log.rows IS 'of the table';
COMMENT ON COLUMN pgembed.freshness_log.fresh IS 'rows whose vector was that of their text';
COMMENT ON COLUMN pgembed.freshness_log.stale IS 'rows whose vector was of an older text';
COMMENT ON COLUMN pgembed.freshness_log.pending IS 'rows that had no vector yet';
COMMENT ON COLUMN pgembed.freshness_log.failed IS 'rows that could not be embedded';
COMMENT ON COLUMN pgembed.freshness_log.null_source IS 'rows whose source was NULL';

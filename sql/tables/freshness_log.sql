-- How fresh embedded columns were: counts now and then, no value of a row. Lines of a column go with it.
CREATE TABLE pgembed._freshness_log (
    table_name regclass NOT NULL,
    column_name name NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    rows bigint NOT NULL,
    fresh bigint NOT NULL,
    stale bigint NOT NULL,
    pending bigint NOT NULL,
    failed bigint NOT NULL,
    null_source bigint NOT NULL,
    ms float8 NOT NULL,              -- that it took to count
    FOREIGN KEY (table_name, column_name) REFERENCES pgembed._embedding ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE INDEX ON pgembed._freshness_log (table_name, column_name, at);

COMMENT ON TABLE pgembed._freshness_log IS 'counts of embedded rows over time, read through the view pgembed.freshness_log';

-- Those of the columns that are dumped, see _embedding.
SELECT pg_catalog.pg_extension_config_dump('pgembed._freshness_log', 'WHERE EXISTS (SELECT FROM pgembed._embedding AS e WHERE e.table_name = _freshness_log.table_name AND e.column_name = _freshness_log.column_name AND EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = e.table_name) AND (e.chunk_table IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = e.chunk_table)))');

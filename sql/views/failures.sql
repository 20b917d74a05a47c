-- Errors may quote rows, so only those read them who own the table. A line without a key is about the whole column.
CREATE OR REPLACE VIEW pgembed.failures WITH (security_barrier) AS
SELECT f.table_name, f.column_name, f.key, f.attempts, f.sqlstate, f.error, f.failed_at, f.next_try
FROM pgembed._failure AS f
JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) f.table_name
WHERE pg_catalog.pg_has_role(t.relowner, 'USAGE')
UNION ALL
SELECT p.table_name, p.column_name, NULL, p.attempts, p.sqlstate, p.error, p.failed_at, p.until
FROM pgembed._pause AS p
JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) p.table_name
WHERE pg_catalog.pg_has_role(t.relowner, 'USAGE');

COMMENT ON VIEW pgembed.failures IS
    'rows of your tables that could not be embedded, why, and when they are tried again (NULL: not before pgembed.retry_failed());'
    ' a line without a key is about a whole column';

-- Which rows are being embedded, and by whom.
CREATE OR REPLACE VIEW pgembed.work_in_progress WITH (security_barrier) AS
SELECT
    c.table_name, c.column_name, c.id AS claim, pg_catalog.cardinality(c.keys) AS rows, nullif(c.worker, '') AS worker, c.pid, c.attempts,
    c.claimed_at, c.expires_at,
    c.worker OPERATOR(pg_catalog.<>) '' AND c.expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp()
        AND EXISTS (SELECT FROM pg_catalog.pg_stat_get_activity(c.pid)) AS is_live
FROM pgembed._claim AS c
JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) c.table_name
WHERE pg_catalog.pg_has_role(t.relowner, 'USAGE');

COMMENT ON VIEW pgembed.work_in_progress IS 'batches of rows of your tables that are being embedded; one that is not live any more is taken over by whoever works next';

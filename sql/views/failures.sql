-- Errors may quote rows, so only those read them who own the table. A line without a key is about the whole column.
CREATE OR REPLACE VIEW pgembed.failures WITH (security_barrier) AS
SELECT f.table_name, f.column_name, f.key, f.attempts, f.sqlstate, f.next_try, f.error, f.failed_at
FROM pgembed._failure AS f
JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) f.table_name
WHERE pg_catalog.pg_has_role(t.relowner, 'USAGE')
UNION ALL
SELECT p.table_name, p.column_name, NULL, p.attempts, p.sqlstate, p.until, p.error, p.failed_at
FROM pgembed._pause AS p
JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) p.table_name
WHERE pg_catalog.pg_has_role(t.relowner, 'USAGE');

COMMENT ON VIEW pgembed.failures IS 'rows of your tables that could not be embedded, why, and when they are tried again; without a key: a whole column';
COMMENT ON COLUMN pgembed.failures.table_name IS 'the table';
COMMENT ON COLUMN pgembed.failures.column_name IS 'its embedded column';
COMMENT ON COLUMN pgembed.failures.key IS 'of the row; NULL: it is about the whole column';
COMMENT ON COLUMN pgembed.failures.attempts IS 'how often it was tried';
COMMENT ON COLUMN pgembed.failures.sqlstate IS 'of the error';
COMMENT ON COLUMN pgembed.failures.next_try IS 'when it is tried again; NULL: not before pgembed.retry_failed()';
COMMENT ON COLUMN pgembed.failures.error IS 'what went wrong';
COMMENT ON COLUMN pgembed.failures.failed_at IS 'when it last did';

-- Which rows are being embedded, and by whom.
CREATE OR REPLACE VIEW pgembed.work_in_progress WITH (security_barrier) AS
SELECT
    c.table_name, c.column_name, pg_catalog.cardinality(c.keys) AS rows, nullif(c.worker, '') AS worker,
    c.worker OPERATOR(pg_catalog.<>) '' AND c.expires_at OPERATOR(pg_catalog.>) pg_catalog.clock_timestamp()
        AND EXISTS (SELECT FROM pg_catalog.pg_stat_get_activity(c.pid)) AS is_live,
    c.attempts, c.pid, c.id AS claim, c.claimed_at, c.expires_at
FROM pgembed._claim AS c
JOIN pg_catalog.pg_class AS t ON t.oid OPERATOR(pg_catalog.=) c.table_name
WHERE pg_catalog.pg_has_role(t.relowner, 'USAGE');

COMMENT ON VIEW pgembed.work_in_progress IS 'batches of rows of your tables that are being embedded, and by whom';
COMMENT ON COLUMN pgembed.work_in_progress.table_name IS 'the table';
COMMENT ON COLUMN pgembed.work_in_progress.column_name IS 'its embedded column';
COMMENT ON COLUMN pgembed.work_in_progress.rows IS 'in the batch';
COMMENT ON COLUMN pgembed.work_in_progress.worker IS 'who embeds them; NULL: a session does';
COMMENT ON COLUMN pgembed.work_in_progress.is_live IS 'whether somebody still is at it';
COMMENT ON COLUMN pgembed.work_in_progress.attempts IS 'how often the batch was begun';
COMMENT ON COLUMN pgembed.work_in_progress.pid IS 'of the session';
COMMENT ON COLUMN pgembed.work_in_progress.claim IS 'number of the batch';
COMMENT ON COLUMN pgembed.work_in_progress.claimed_at IS 'when it was begun';
COMMENT ON COLUMN pgembed.work_in_progress.expires_at IS 'from when on another one may take it over';

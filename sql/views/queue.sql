-- What doctor needs to know of the work on columns. Of the caller's own tables alone: an error may quote a row.
CREATE OR REPLACE VIEW pgembed._queue WITH (security_barrier) AS
SELECT
    e.table_name, e.column_name, p.until AS paused_until, p.attempts AS pauses, p.sqlstate || ', ' || p.error AS paused_because,
    c.expired, c.oldest, f.parked, w.workers
FROM pgembed._embedding AS e
JOIN pg_class AS t ON t.oid = e.table_name
LEFT JOIN pgembed._pause AS p ON p.table_name = e.table_name AND p.column_name = e.column_name AND p.until > now()
CROSS JOIN LATERAL (
    SELECT count(*) AS expired, min(c.claimed_at) AS oldest FROM pgembed._claim AS c
    WHERE c.table_name = e.table_name AND c.column_name = e.column_name AND c.expires_at < clock_timestamp()
) AS c
CROSS JOIN LATERAL (
    SELECT count(*) AS parked FROM pgembed._failure AS f
    WHERE f.table_name = e.table_name AND f.column_name = e.column_name AND f.next_try IS NULL
) AS f
CROSS JOIN LATERAL (
    -- those that may work on the table, and whose sessions are there
    SELECT count(*) AS workers FROM pgembed._worker AS w JOIN pg_stat_activity AS a ON a.pid = w.pid
    WHERE pg_has_role(a.usesysid, t.relowner, 'USAGE')
) AS w
WHERE pg_has_role(t.relowner, 'USAGE');

COMMENT ON VIEW pgembed._queue IS 'internal: the state of the work on the caller''s own embedded columns';

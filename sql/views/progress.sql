-- A long call writes into its session's application_name how far it is (see pgembed/progress.py). That everybody sees of every session, so
-- this view has no rights of its own; the counts tell no more of a table than what PostgreSQL last counted, which everybody may read too.
CREATE OR REPLACE VIEW pgembed.progress AS
SELECT
    a.pid, m.said[1] AS what, m.said[2] AS target, s.done, s.total,
    -- of calls that go on as fast as they have begun
    CASE WHEN s.done > 0 AND s.done <= s.total
        THEN s.started_at + (clock_timestamp() - s.started_at) * (s.total::float8 / s.done) END AS eta,
    a.usename AS role, s.started_at
FROM pg_catalog.pg_stat_activity AS a
CROSS JOIN LATERAL regexp_match(a.application_name, '^pgembed (\w+) (.*) (\d{1,18})/(\d{1,18}|\?) @([0-9a-z]{1,9})$') AS m (said)
CROSS JOIN LATERAL (
    SELECT
        m.said[3]::bigint AS done, nullif(m.said[4], '?')::bigint AS total,
        -- to the base of 36, for the name is short
        to_timestamp((
            SELECT sum((strpos('0123456789abcdefghijklmnopqrstuvwxyz', d.digit) - 1) * power(36::float8, length(m.said[5]) - d.place))
            FROM regexp_split_to_table(m.said[5], '') WITH ORDINALITY AS d (digit, place)
        )) AS started_at
) AS s
WHERE a.datname = current_database() AND m.said IS NOT NULL;

COMMENT ON VIEW pgembed.progress IS 'a line per long call of pgembed that runs in this database, and when it may end';
COMMENT ON COLUMN pgembed.progress.pid IS 'of the session';
COMMENT ON COLUMN pgembed.progress.what IS 'the call, in a word';
COMMENT ON COLUMN pgembed.progress.target IS 'what it works on';
COMMENT ON COLUMN pgembed.progress.done IS 'of total';
COMMENT ON COLUMN pgembed.progress.total IS 'rows, queries or steps; NULL: not known yet';
COMMENT ON COLUMN pgembed.progress.eta IS 'when it ends, if it goes on as it did';
COMMENT ON COLUMN pgembed.progress.role IS 'who called';
COMMENT ON COLUMN pgembed.progress.started_at IS 'when it began';

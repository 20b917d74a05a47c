CREATE OR REPLACE VIEW pgembed.workers AS
SELECT
    w.name,
    CASE
        WHEN NOT EXISTS (SELECT FROM pg_stat_get_activity(w.pid)) THEN 'gone'
        WHEN w.is_asleep THEN 'asleep'
        WHEN w.doing IS NULL THEN 'waiting'
        ELSE 'working'
    END AS state,
    w.rows_done, w.rows_failed, w.pid, w.host, w.doing, w.problem, w.started_at, w.seen_at
FROM pgembed._worker AS w;

COMMENT ON VIEW pgembed.workers IS 'the processes "pgembed worker", and what they are at';
COMMENT ON COLUMN pgembed.workers.name IS 'of the process';
COMMENT ON COLUMN pgembed.workers.state IS 'working, waiting, asleep or gone';
COMMENT ON COLUMN pgembed.workers.rows_done IS 'rows it has embedded';
COMMENT ON COLUMN pgembed.workers.rows_failed IS 'rows that it could not';
COMMENT ON COLUMN pgembed.workers.pid IS 'of its session here';
COMMENT ON COLUMN pgembed.workers.host IS 'the machine it runs on';
COMMENT ON COLUMN pgembed.workers.doing IS 'what it is at';
COMMENT ON COLUMN pgembed.workers.problem IS 'what keeps it from working';
COMMENT ON COLUMN pgembed.workers.started_at IS 'when it began';
COMMENT ON COLUMN pgembed.workers.seen_at IS 'when it last told of itself';

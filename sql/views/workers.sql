CREATE OR REPLACE VIEW pgembed.workers AS
SELECT
    w.name, w.host, w.pid,
    CASE
        WHEN NOT EXISTS (SELECT FROM pg_stat_get_activity(w.pid)) THEN 'gone'
        WHEN w.is_asleep THEN 'asleep'
        WHEN w.doing IS NULL THEN 'waiting'
        ELSE 'working'
    END AS state,
    w.doing, w.problem, w.rows_done, w.rows_failed, w.started_at, w.seen_at
FROM pgembed._worker AS w;

COMMENT ON VIEW pgembed.workers IS
    'the processes "pgembed worker": working, waiting (for a moment, looking often), asleep (until a writer wakes it), or gone without a word';

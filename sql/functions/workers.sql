-- What a process that embeds rows says of itself, and how a writer wakes one. See pgembed/worker.

-- Whether a worker sleeps, a writer learns without a query, from advisory locks: they are in shared memory, and gone with their session. Their
-- first key is 'pgem', as a number: 1885824365. The second one is
--   'wake', 2002873189: held by a worker that sleeps, for all that do. A writer that leaves work behind takes it shared until it commits, so no
--       worker falls asleep before it can see what is there. Whoever does not get it rings.
--   'bell', 1650814060: held by a writer that rings, until it commits. Notifications make writers commit one after another, so only one of
--       them sends any at a time. A worker that wakes lets go of 'wake'; the session of one that is stopped is ended after a while.
-- Nobody waits for them. Anybody may take them, as all advisory locks: then workers look more often, or writers ring for nobody.

-- It has the caller's rights.
CREATE OR REPLACE FUNCTION pgembed._wake_workers()
RETURNS void
LANGUAGE plpgsql
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF pg_try_advisory_xact_lock_shared(1885824365, 2002873189) THEN
        RETURN;
    END IF;
    IF pg_try_advisory_xact_lock(1885824365, 1650814060) THEN
        PERFORM pg_notify('pgembed_work', '');
    END IF;
END;
$$;

COMMENT ON FUNCTION pgembed._wake_workers() IS 'internal: sends a notification on the channel pgembed_work, where a worker sleeps';

-- Called in the session of a worker that has nothing to do. It may sleep where writers ring from now on, for itself or for another worker;
-- not while a writer is at it who does not know. What is written before is committed, so that one look more finds it.
CREATE OR REPLACE FUNCTION pgembed._begin_sleep(OUT sleeps boolean, OUT holds boolean)
LANGUAGE plpgsql
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    holds := pg_try_advisory_lock(1885824365, 2002873189);
    sleeps := holds OR EXISTS (
        SELECT FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
        WHERE l.locktype = 'advisory' AND l.classid = 1885824365 AND l.objid = 2002873189 AND l.objsubid = 2
          AND l.mode = 'ExclusiveLock' AND l.granted AND d.datname = current_database()
    );
END;
$$;

COMMENT ON FUNCTION pgembed._begin_sleep() IS
    'internal: whether writers notify the calling session from now on, and whether that is because it holds a lock now, which it must let go of';

CREATE OR REPLACE FUNCTION pgembed._end_sleep()
RETURNS void
LANGUAGE plpgsql
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_unlock(1885824365, 2002873189);
END;
$$;

COMMENT ON FUNCTION pgembed._end_sleep() IS 'internal: lets go of the lock that pgembed._begin_sleep() has taken, so that writers notify nobody';

-- The line of a worker, for the session that calls; false where a living worker has that name. Names and hosts are shown to everybody. Only
-- whoever has something to embed may be a worker.
CREATE OR REPLACE FUNCTION pgembed._start_worker(name text, host text, old_pid int)
RETURNS boolean
LANGUAGE plpgsql
VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- session_user, for here current_user is the owner of this function
    IF NOT EXISTS (SELECT FROM pg_database AS d WHERE d.datname = current_database() AND pg_has_role(session_user, d.datdba, 'USAGE'))
        AND NOT EXISTS (
            SELECT FROM pgembed._embedding AS e JOIN pg_class AS t ON t.oid = e.table_name
            WHERE pg_has_role(session_user, t.relowner, 'USAGE')
        )
    THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('role "%s" owns no table with an embedded column', session_user),
            HINT = 'A worker connects as the role that owns the tables, or a member of it, or a superuser.';
    END IF;
    DELETE FROM pgembed._worker AS w WHERE NOT EXISTS (SELECT FROM pg_stat_get_activity(w.pid));
    INSERT INTO pgembed._worker AS w (name, pid, host) VALUES (_start_worker.name, pg_backend_pid(), _start_worker.host)
    ON CONFLICT ON CONSTRAINT _worker_pkey DO UPDATE
    SET pid = excluded.pid, host = excluded.host, seen_at = clock_timestamp(), is_asleep = false, doing = NULL, problem = NULL
    -- a machine that has vanished leaves a backend that waits for it for hours
    WHERE w.pid = old_pid OR w.pid = excluded.pid OR w.seen_at < clock_timestamp() - interval '2 minutes';
    RETURN FOUND;
END;
$$;

COMMENT ON FUNCTION pgembed._start_worker(text, text, int) IS 'internal: makes the calling session the one that a worker tells of itself in';

-- What a worker is at; false where the line is gone, or another session's. Claims that are less than an hour old live on with the worker.
CREATE OR REPLACE FUNCTION pgembed._tell_worker(
    name text, is_asleep boolean, doing text, problem text, rows_done bigint, rows_failed bigint, lease interval
)
RETURNS boolean
LANGUAGE plpgsql
VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE pgembed._worker AS w
    SET seen_at = clock_timestamp(), is_asleep = _tell_worker.is_asleep, doing = _tell_worker.doing, problem = _tell_worker.problem,
        rows_done = _tell_worker.rows_done, rows_failed = _tell_worker.rows_failed
    WHERE w.name = _tell_worker.name AND w.pid = pg_backend_pid();
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- one that is being released is not waited for
    UPDATE pgembed._claim AS c SET expires_at = clock_timestamp() + least(lease, interval '1 hour')
    WHERE c.id IN (
        SELECT o.id FROM pgembed._claim AS o
        WHERE o.worker = _tell_worker.name AND o.expires_at > clock_timestamp() AND o.claimed_at > clock_timestamp() - interval '1 hour'
        FOR UPDATE SKIP LOCKED
    );
    RETURN true;
END;
$$;

COMMENT ON FUNCTION pgembed._tell_worker(text, boolean, text, text, bigint, bigint, interval) IS
    'internal: what the worker of the calling session is at; extends its claims';

CREATE OR REPLACE FUNCTION pgembed._end_worker(name text)
RETURNS void
LANGUAGE plpgsql
VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM pgembed._worker AS w WHERE w.name = _end_worker.name AND w.pid = pg_backend_pid();
    -- writers may know of this one alone; the others take its place when they fall asleep again
    IF FOUND AND EXISTS (SELECT FROM pgembed._worker AS w WHERE w.is_asleep) THEN
        PERFORM pg_notify('pgembed_work', '');
    END IF;
END;
$$;

COMMENT ON FUNCTION pgembed._end_worker(text) IS 'internal: takes away the line of the worker of the calling session';

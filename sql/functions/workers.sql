-- What a process that embeds rows says of itself, and how a writer wakes one. See pgembed/worker.

-- Called by every statement of a writer that leaves work behind, so the usual case, that nobody sleeps, is one look at a table of a page. It
-- has the caller's rights and reads what everybody may read. A notification makes all writers commit one after another, so it is sent only
-- where a worker sleeps: one that is seen lately and whose backend is there, for a dead one stays asleep.
CREATE OR REPLACE FUNCTION pgembed._wake_workers()
RETURNS void
LANGUAGE plpgsql
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM pgembed._worker AS w WHERE w.is_asleep AND w.seen_at > clock_timestamp() - interval '1 minute') THEN
        -- apart, for this costs more
        IF EXISTS (SELECT FROM pgembed._worker AS w WHERE w.is_asleep AND EXISTS (SELECT FROM pg_stat_get_activity(w.pid))) THEN
            PERFORM pg_notify('pgembed_work', '');
        END IF;
    END IF;
END;
$$;

COMMENT ON FUNCTION pgembed._wake_workers() IS 'internal: sends a notification on the channel pgembed_work, where a worker sleeps';

-- The line of a worker, for the session that calls; false where a living worker has that name. Names and hosts are shown to everybody. Only
-- whoever has something to embed may be a worker: one that claims to be asleep slows writers down.
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
END;
$$;

COMMENT ON FUNCTION pgembed._end_worker(text) IS 'internal: takes away the line of the worker of the calling session';

-- Work on embedded columns: who is at it, what went wrong, and when it is tried again. The rows that need work are not listed here: they say
-- so themselves (see pgembed.freshness), and an index over them alone finds them. So what is lost here costs time, never a row.

-- Rows that somebody is embedding. One claim is one batch; it is made and committed before the work begins, so a death in the middle leaves it
-- behind, and whoever takes the rows over when it has expired knows how often they were tried.
CREATE TABLE pgembed._claim (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name regclass NOT NULL,
    column_name name NOT NULL,
    keys text[] NOT NULL,        -- as Table.key_text writes them
    worker text NOT NULL,        -- '': nobody; the rest of a batch whose worker died
    pid int NOT NULL DEFAULT pg_backend_pid(),  -- of its backend: while that lives, and until the lease ends, the claim holds
    attempts int NOT NULL CHECK (attempts > 0),
    claimed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX ON pgembed._claim (table_name, column_name);

COMMENT ON TABLE pgembed._claim IS 'internal: batches of rows that are being embedded';
COMMENT ON SEQUENCE pgembed._claim_id_seq IS 'internal: numbers of claims';

-- Rows that failed. The row itself says no more than that it failed; errors may quote its text, so only its owner reads them.
CREATE TABLE pgembed._failure (
    table_name regclass NOT NULL,
    column_name name NOT NULL,
    key text NOT NULL,
    attempts int NOT NULL CHECK (attempts > 0),
    sqlstate text NOT NULL,
    error text NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    next_try timestamptz,        -- NULL: parked, until pgembed.retry_failed()
    PRIMARY KEY (table_name, column_name, key)
);
CREATE INDEX ON pgembed._failure (next_try) WHERE next_try IS NOT NULL;

COMMENT ON TABLE pgembed._failure IS 'internal: rows that could not be embedded, read through the view pgembed.failures';

-- Claims, pauses and workers are of the moment and not dumped.
SELECT pg_catalog.pg_extension_config_dump('pgembed._failure', 'WHERE EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = table_name)');

-- Columns that nobody works on for a while: their model is missing, their endpoint is down. Their rows are not to blame.
CREATE TABLE pgembed._pause (
    table_name regclass NOT NULL,
    column_name name NOT NULL,
    attempts int NOT NULL CHECK (attempts > 0),
    sqlstate text NOT NULL,
    error text NOT NULL,
    failed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    until timestamptz NOT NULL,
    PRIMARY KEY (table_name, column_name)
);

COMMENT ON TABLE pgembed._pause IS 'internal: embedded columns whose work is put off, and why';

-- Processes that work, as they are shown. How writers know that one sleeps is in functions/workers.sql.
CREATE TABLE pgembed._worker (
    name text PRIMARY KEY,
    pid int NOT NULL,            -- of its backend
    host text,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    is_asleep boolean NOT NULL DEFAULT false,
    doing text,
    problem text,                -- why it leaves some column to others
    rows_done bigint NOT NULL DEFAULT 0,
    rows_failed bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

COMMENT ON TABLE pgembed._worker IS 'internal: processes that embed rows, read through the view pgembed.workers';

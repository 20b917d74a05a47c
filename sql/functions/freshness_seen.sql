-- Freshness as callers see it: counts of rows by state, and waiting for it.

CREATE OR REPLACE FUNCTION pgembed._embeddings()
RETURNS TABLE (
    table_name regclass, column_name name, rows bigint, fresh bigint, stale bigint, pending bigint, failed bigint, null_source bigint,
    truncated bigint, chunks bigint, by_hand bigint
)
LANGUAGE plpython3u
STABLE PARALLEL UNSAFE
COST 100000
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import freshness_seen
return freshness_seen.states()
$python$;

COMMENT ON FUNCTION pgembed._embeddings() IS 'internal: counts for pgembed.embeddings, as the caller';

-- Volatile: each look at the rows sees what others have committed by then.
CREATE OR REPLACE FUNCTION pgembed.wait_for(target regclass, timeout interval DEFAULT '1 min', column_name name DEFAULT NULL)
RETURNS boolean
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
COST 100000
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import freshness_seen
return freshness_seen.wait_for(target, timeout, column_name)
$python$;

COMMENT ON FUNCTION pgembed.wait_for(regclass, interval, name) IS
    'wait until workers have embedded every row of a table that is pending or stale: true, or false when the time is over';

-- The caller's own counts; only an owner of the table writes them down.
CREATE OR REPLACE FUNCTION pgembed._note_freshness(target regclass, column_name name, apart interval DEFAULT '0')
RETURNS boolean
LANGUAGE plpython3u
VOLATILE PARALLEL UNSAFE
COST 100000
SET search_path = pg_catalog, pg_temp
AS $python$
from pgembed.udf import freshness_seen
return freshness_seen.note(target, column_name, apart)
$python$;

COMMENT ON FUNCTION pgembed._note_freshness(regclass, name, interval) IS
    'internal: write down how fresh an embedded column is, unless that was done so short a time ago; whether a line was written';
